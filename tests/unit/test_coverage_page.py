"""docs/coverage.md names tests that exist: a page that rots proves nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"((?:unit|api|twin|verify|live)/[\w/]+\.py)?(?:::(test_\w+))?")


def references() -> list[tuple[str, str]]:
    """(file, test or nothing) of every reference; `::name` alone continues the file before it."""
    found, file = [], ""
    for match in REFERENCE.finditer(PAGE):
        file = match[1] or file
        if match[1] or match[2]:
            found.append((file, match[2] or ""))
    return found


@pytest.mark.parametrize(("file", "test"), sorted(set(references())))
def test_it_exists(file: str, test: str) -> None:
    path = ROOT / "tests" / file
    assert path.is_file(), f"{file} does not exist"
    assert not test or f"def {test}(" in path.read_text(encoding="utf-8"), f"{file} has no {test}"


def test_there_are_references() -> None:
    assert len(references()) > 100
