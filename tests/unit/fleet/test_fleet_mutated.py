"""Thousands of spoiled fleet files: each gives a fleet or its mistakes, never anything else.

The guard of conftest.py fails the test on any look at the network.
"""

from __future__ import annotations

import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet_cases import ROLES, WHOLE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hearth
from hearth.fleet.loader import FleetError, load_fleet
from hearth.fleet.model import Fleet

DEFAULT = (Path(hearth.__file__).parent.parent / "inventory" / "fleet.yaml").read_text()
FILES = (WHOLE, DEFAULT)
SECONDS = 10.0  # of the processor, for one file of some KiB

thoroughly = settings(
    max_examples=800, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
medium = settings(thoroughly, max_examples=500)
slower = settings(thoroughly, max_examples=220)
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

WORDS = r"""
    ~ null yes no on -1 0 1e309 .inf .nan 0x10 1_0 1:30 2001-01-01 dhcp auto 192.168.1.185 fd00::
    ::ffff:1.2.3.4 1.2.3.4/33 0.0.0.0/0 255.255.255.255 fe80::1%eth0 mp0 base broker [ { } ] << = | >
    !!int !<x> &a *a %YAML @ ` ' " "\x00" "\ud800" "\UFFFFFFFF" http://[::1 http://a:b@c/
    https://x:99999/ /dev/../x Europe/Zurich/..
"""
PHRASES = ["", " ", "- -", "? a", "1e9 GiB", "99999999999 TiB", "0 MiB", "ssh-rsa AAAA", "ssh-rsa ä"]
STRANGE = ["\u202e", "\u0661", "\u0131", "\U0001f3e0", "\u2028", "\x85"]
NASTY = st.sampled_from(
    [*WORDS.split(), *PHRASES, *STRANGE, "9" * 30, "9" * 5000, "1." + "0" * 400, "a" * 300]
)


def outcome(content: bytes, file: Path) -> Fleet | FleetError:
    """What the loader makes of the content; anything but a fleet or its mistakes fails the test."""
    file.write_bytes(content)
    start = time.thread_time()
    try:
        return load_fleet(file, ROLES)
    except FleetError as error:
        assert error.mistakes
        total = content.count(b"\n") + content.count(b"\r") + 1 + 3 * content.count(b"\xe2\x80")
        total += content.count(b"\xc2\x85")
        for mistake in error.mistakes:
            assert mistake.wrong and mistake.right
            assert 0 <= mistake.line <= total
        str(error).encode()
        return error
    finally:
        assert time.thread_time() - start < SECONDS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated") / "fleet.yaml"


@thoroughly
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
def test_flipped_bytes(place: Path, text: str, flips: list[tuple[float, int]]) -> None:
    raw = bytearray(text.encode())
    for where, byte in flips:
        raw[int(where * len(raw))] = byte
    outcome(bytes(raw), place)


@medium
@given(st.sampled_from(FILES), st.data())
def test_deleted_doubled_and_moved_lines(place: Path, text: str, data: st.DataObject) -> None:
    lines = text.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 6))):
        index = data.draw(st.integers(0, len(lines) - 1))
        line = lines.pop(index)
        change = data.draw(st.sampled_from(["delete", "double", "move", "indent"]))
        if change == "double":
            lines[index:index] = [line, line]
        elif change == "move":
            lines.insert(data.draw(st.integers(0, len(lines))), line)
        elif change == "indent":
            lines.insert(index, data.draw(st.sampled_from([" " + line, line[1:], "\t" + line])))
    outcome("".join(lines).encode(), place)


@medium
@given(st.sampled_from(FILES), st.data())
def test_replaced_words(place: Path, text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text) - 1))
        while start and not text[start - 1].isspace():
            start -= 1
        end = start
        while end < len(text) and not text[end].isspace():
            end += 1
        text = text[:start] + data.draw(NASTY) + text[end:]
        if not text:
            break
    outcome(text.encode("utf-8", "surrogatepass"), place)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    NASTY,
    st.dates(),
    st.binary(max_size=4),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NASTY, inner, max_size=3),
    max_leaves=6,
)


def dumped(tree: Any) -> bytes:
    text: str = yaml.dump(tree, Dumper=Dumper, allow_unicode=True)
    return text.encode("utf-8", "surrogatepass")


def places(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every node below the top."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found.append((*here, key))
        found += places(value, (*here, key))
    return found


def at(tree: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        tree = tree[key]
    return tree


@slower
@given(st.sampled_from(FILES), st.data())
def test_changed_trees(place: Path, text: str, data: st.DataObject) -> None:
    tree = yaml.safe_load(text)
    for _ in range(data.draw(st.integers(1, 5))):
        ways = places(tree)
        if not ways:
            break
        *above, key = data.draw(st.sampled_from(ways))
        parent = at(tree, tuple(above))
        change = data.draw(st.sampled_from(["remove", "replace", "swap", "rename", "wrap"]))
        if change == "remove":
            del parent[key]
        elif change == "replace":
            parent[key] = data.draw(TREES)
        elif change == "swap":
            parent[key] = deepcopy(at(tree, data.draw(st.sampled_from(ways))))
        elif change == "rename" and isinstance(parent, dict):
            parent[data.draw(NASTY)] = parent.pop(key)
        else:
            parent[key] = data.draw(
                st.sampled_from([[parent[key]], {"mp0": parent[key]}, {"size": parent[key]}])
            )
    outcome(dumped(tree), place)


@thoroughly
@given(st.one_of(st.text(), st.lists(NASTY).map(" ".join), st.lists(NASTY).map("\n".join)))
def test_random_text(place: Path, text: str) -> None:
    outcome(text.encode("utf-8", "surrogatepass"), place)


@thoroughly
@given(st.binary())
def test_random_bytes(place: Path, content: bytes) -> None:
    outcome(content, place)


KEYS = [
    "kind",
    "node",
    "vmid",
    "network",
    "address",
    "address6",
    "mac",
    "cores",
    "memory",
    "swap",
    "disk",
    "storage",
    "image",
    "unprivileged",
    "features",
    "mounts",
    "disks",
    "devices",
    "tun",
    "tags",
    "pool",
    "onboot",
    "startup",
    "description",
    "protection",
    "restart",
    "appliance",
    "roles",
]


@slower
@given(st.dictionaries(st.sampled_from(KEYS), TREES), st.dictionaries(st.sampled_from(KEYS), TREES))
def test_any_value_at_any_key(place: Path, guest: dict[str, Any], defaults: dict[str, Any]) -> None:
    tree = yaml.safe_load(WHOLE)
    tree["guests"]["comms"] |= guest
    tree["defaults"] |= defaults
    outcome(dumped(tree), place)


def test_the_mutations_reach_both_ends(place: Path) -> None:
    """The files that are mutated are whole to begin with, and a mistake is one."""
    assert isinstance(outcome(WHOLE.encode(), place), Fleet)
    assert isinstance(outcome(WHOLE.replace("lxc", "lcx").encode(), place), FleetError)
