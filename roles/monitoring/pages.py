"""The pages of docs/runbooks, as Prometheus itself can show them."""

from __future__ import annotations

import html
from pathlib import Path

from hearth.ops.files import File
from hearth.role.here import Here

from .exporters import FOLDER

CONSOLES = f"{FOLDER}/consoles"


def page_url(here: Here) -> str:
    """Where an alert's page is: among Prometheus' own consoles, which need no Internet."""
    return f"https://{here.guest.name}:{here.port('web').number}/consoles/{{name}}.html"


def runbooks(here: Here) -> tuple[File, ...]:
    """The pages of docs/runbooks, as Prometheus can show them: its consoles are Go templates."""
    pages = sorted((here.run.project / "docs/runbooks").glob("*.md"))
    return tuple(File(f"{CONSOLES}/{page.stem}.html", _page(page)) for page in pages)


def _page(page: Path) -> str:
    # In a raw string of Go's template language nothing is evaluated; it cannot hold a backquote itself.
    text = html.escape(page.read_text(encoding="utf-8")).replace("`", "&#96;")
    style = (
        "body{max-width:45em;margin:1em auto;padding:0 1em;color-scheme:light dark}pre{white-space:pre-wrap}"
    )
    head = (
        f"<title>{page.stem}</title><meta name=viewport content='width=device-width'><style>{style}</style>"
    )
    whole = f"<!doctype html>{head}<pre>{text}</pre>"
    return "{{ safeHtml `" + whole + "` }}\n"
