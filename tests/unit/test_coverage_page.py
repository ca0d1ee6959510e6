"""docs/coverage.md names tests that exist: a page that rots proves nothing."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"((?:unit|api|twin|verify|live)/[\w/]+\.py)?(?:::((?:Test\w+::)?test_\w+))?")


def references() -> list[tuple[str, str]]:
    """(file, test or nothing) of every reference; `::name` alone continues the file before it."""
    found, file = [], ""
    for match in REFERENCE.finditer(PAGE):
        file = match[1] or file
        if match[1] or match[2]:
            found.append((file, match[2] or ""))
    return found


@cache
def names_in(file: str) -> frozenset[str]:
    """A file's tests as pytest takes them after `FILE::`: those of a class with its name before."""
    found = set()
    for node in ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        before = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {before + each.name for each in inner if isinstance(each, ast.FunctionDef)}
    return frozenset(found)


@pytest.mark.parametrize(("file", "test"), sorted(set(references())))
def test_it_exists(file: str, test: str) -> None:
    assert (ROOT / "tests" / file).is_file(), f"{file} does not exist"
    assert not test or test in names_in(file), f"{file} has no {test}"


def test_there_are_references() -> None:
    assert len(references()) > 100
