"""The page: whole, escaped, from nowhere else; and as a real browser shows it, in every size and colour."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from report_kit import EVIL, NAMES, NOW, Browser, a_browser, a_guest, a_node, full, unknown, well

from hearth.drift.finding import Drift, Finding, Trouble
from hearth.outdated.pins import Pin
from hearth.outdated.sources import PyPI
from hearth.report import alerts, backups, drill, topology
from hearth.report.asked import Asked
from hearth.report.gather import CertificatePart, GuestPart, NodePart
from hearth.report.page import html, tiles

pytestmark = pytest.mark.slow

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Reader(HTMLParser):
    """Reads the page as a tree: what is open, and what there is of each kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


PAGES = {"full": full, "well": well, "unknown": unknown}


@pytest.mark.parametrize("name", PAGES)
def test_it_is_well_formed(name: str) -> None:
    text = html(PAGES[name]())
    assert text.startswith("<!doctype html>")
    read = Reader(text)
    assert (read.wrong, read.open) == ([], [])


@pytest.mark.parametrize("name", PAGES)
def test_it_needs_nothing_from_elsewhere_and_runs_nothing(name: str) -> None:
    read = Reader(html(PAGES[name]()))
    assert not {tag for tag, _ in read.tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
    }
    for _, attrs in read.tags:
        assert not [
            key for key in attrs if key.startswith("on") or key in ("src", "srcset", "action", "data")
        ]
        assert str(attrs.get("href", "#")).startswith("#")
    policy = [
        each.get("content") for each in read.of("meta") if each.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "url(" not in re.sub(r"url\(#\w+\)", "", html(PAGES[name]()))


def test_headings_links_and_tables_are_what_they_say() -> None:
    read = Reader(html(full()))
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for a in read.of("a")} <= set(ids)
    assert all(th.get("scope") in ("col", "row") for th in read.of("th"))
    assert len(read.of("caption")) == len(read.of("table")) > 5
    assert read.of("html") == [{"lang": "en"}]
    svg = read.of("svg")[0]
    assert svg["role"] == "img" and set(str(svg["aria-labelledby"]).split()) <= set(ids)


def evil_pages() -> Iterator[tuple[str, Any]]:
    """The page with something evil in each place where data comes from."""
    guest = a_guest("x", 1).model_copy(update={"name": EVIL, "roles": (EVIL,)})
    last = backups.Last(1, EVIL, NOW, EVIL)
    yield "guest", full(guests=(GuestPart(guest, EVIL, EVIL, None, last),))
    yield "node", full(nodes=(NodePart(a_node().model_copy(update={"name": EVIL}), Asked(why=EVIL)),))
    edge = topology.Edge(EVIL, "b", (EVIL,))
    yield "drawing", full(drawing=Asked(topology.draw({EVIL: [EVIL, "b"]}, {EVIL: EVIL}, [edge])))
    finding = Finding(EVIL, "file", EVIL, EVIL, EVIL, EVIL, EVIL)
    yield "drift", full(drift=Asked(Drift((finding,), (finding,), (Trouble(EVIL, EVIL),))))
    yield "versions", full(versions=Asked([Pin(EVIL, EVIL, EVIL, PyPI(EVIL))]))
    yield "jobs", full(jobs=Asked((backups.Job(EVIL, EVIL, EVIL, EVIL, False),)))
    yield "drill", full(drill=Asked(drill.Drill(NOW, (drill.Stage(EVIL, 0, 1, False, EVIL),), 1)))
    yield "certificates", full(certificates=Asked((CertificatePart(EVIL, (EVIL,), NOW, -1),)))
    yield "alerts", full(alerts=Asked((alerts.Alert(EVIL, EVIL, EVIL, EVIL, None, False),)))
    yield "unknown", unknown()


@pytest.mark.parametrize(
    ("place", "page"), list(evil_pages()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_whatever_is_data_is_escaped(place: str, page: Any) -> None:
    text = html(page)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    read = Reader(text)
    assert (read.wrong, read.open) == ([], [])
    assert not [attrs for _, attrs in read.tags if any(key.startswith("on") for key in attrs)]


def test_each_section_says_in_words_how_it_is() -> None:
    states = {tile.anchor: tile.state for tile in tiles(full())}
    assert set(states.values()) - {"good"} == {"bad", "unknown"}
    assert states["drift"] == "unknown"  # something was not looked at
    assert {tile.state for tile in tiles(well())} == {"good"}
    assert {tile.state for tile in tiles(unknown())} == {"unknown", "none"}
    for tile in tiles(full()):
        assert tile.word in html(full())


@pytest.mark.parametrize(
    ("parts", "anchor", "state"),
    [
        ({"drift": Asked(Drift((Finding("a", "file", "b"),)))}, "drift", "bad"),
        ({"certificates": Asked(())}, "certificates", "none"),
        ({"jobs": Asked(()), "guests": ()}, "backups", "none"),
        ({"alerts": Asked((alerts.Alert("a", "b", "c", "d", None, True),))}, "alerts", "good"),
    ],
)
def test_tiles(parts: dict[str, Any], anchor: str, state: str) -> None:
    assert {tile.anchor: tile.state for tile in tiles(full(**parts))}[anchor] == state


# ------------------------------------------------------------------------ browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as found:
        yield found


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_as_a_browser_shows_it(browser: Browser, tmp_path: Path, name: str, dark: bool, width: int) -> None:
    file = tmp_path / "page.html"
    file.write_text(html(PAGES[name]()))
    seen = browser.look(file.as_uri(), width, 900, dark, tmp_path / "page.png")
    assert seen["scroll"] <= width, seen["wide"]
    assert seen["wide"] == []
    assert seen["worst"] >= 4.5, seen["where"]  # WCAG 2.2, 1.4.3
    assert seen["asked"] == [file.as_uri()]
    assert seen["log"] == []
    bright = sum(int(part) for part in re.findall(r"\d+", seen["background"])[:3]) > 380
    assert bright != dark
    assert all(guest in seen["text"] for guest in NAMES)
    assert (tmp_path / "page.png").stat().st_size > 10_000
