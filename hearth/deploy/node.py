"""What a node must hold before its guests can be made: templates and cloud images."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyinfra import context
from pyinfra.api import FunctionCommand, operation

from hearth import run as runs
from hearth.deploy.outcome import told


def prepare() -> None:
    """Have every template and image on this node that a guest to be made there needs. Nothing on guests."""
    run = runs.current()
    host = context.host
    if run.is_guest(host.name):
        return
    # What --limit leaves out, or cannot be reached, needs no images. The guests' own files may come later.
    run.survey.choose(host.name for host in context.state.activated_hosts)
    fetched(name="Templates and images for new guests")


@operation()
def fetched() -> Generator[FunctionCommand, None, None]:
    """Let the node download what is missing: one GET of its storage where a guest will be made, else none."""
    run = runs.current()
    for image in run.convergence.missing_images(context.host.name):
        yield FunctionCommand(_fetch, (image.name,), {})


@told
def _fetch(state: Any, host: Any, image: str) -> None:
    runs.current().convergence.fetch_image(host.name, image, host.log)
