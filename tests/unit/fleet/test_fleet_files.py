"""Files that are no fleet files at all, or want to hurt: refused at once, each with its reason."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_cases import ROLES, WHOLE

from hearth.errors import HearthError
from hearth.fleet import mistakes as mistakes_module
from hearth.fleet.loader import FleetError, load_fleet
from hearth.fleet.mistakes import Mistake

Mistakes = Callable[..., tuple[Mistake, ...]]
LAUGHS = "\n".join(
    ["a0: &a0 lol", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)), ""]
)


@pytest.mark.parametrize(
    ("content", "line", "wrong"),
    [
        (b"", 0, "empty"),
        (b"\n \n\t\n", 0, "empty"),
        (b"# only a comment\n", 0, "empty"),
        (b"---\n...\n", 0, "empty"),
        (b"guests: [\n", 2, "not YAML"),
        (b"nodes:\n  a: b: c\n", 2, "not YAML"),
        (b"nodes:\n\tpve: {}\n", 2, "not YAML"),
        (b"nodes: {}\n---\nguests: {}\n", 2, "not YAML"),
        (b"just words\n", 1, "not a mapping"),
        (b"- a\n- b\n", 1, "not a mapping"),
        (b"a: 1\nb: \xff\xfe\n", 2, "UTF-8"),
        (WHOLE.encode("utf-16"), 1, "UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00\x00\n", 1, "no text has"),
        (b"a: b\nc: \x00\n", 2, "no text has"),
        (b'a: "\\UFFFFFFFF"\n', 1, "not YAML"),
        (b"%YAML 1." + b"9" * 5000 + b"\n---\na: b\n", 1, "not YAML"),
        (b"!!python/object/apply:os.system [id]\n", 1, "!!python/object"),
        (b"[" * 100_000, 1, "deeper than 16"),
        (b"".join(b" " * n + b"a:\n" for n in range(100)), 16, "deeper than 16"),
        (b"a: [" + b"1, " * 30_000 + b"]\n", 1, "more than 20000"),
    ],
)
def test_no_fleet_file(content: bytes, line: int, wrong: str, mistakes: Mistakes) -> None:
    (mistake,) = mistakes(content)
    assert mistake.line == line
    assert wrong in mistake.wrong
    assert mistake.right


def test_ten_megabytes_are_refused_without_parsing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yaml.SafeLoader.get_single_node", lambda _: pytest.fail("parsed"))
    file.write_bytes(b"a: b\n" * 2_000_000)
    start = time.monotonic()
    with pytest.raises(FleetError) as caught:
        load_fleet(file, ROLES)
    assert time.monotonic() - start < 1
    (mistake,) = caught.value.mistakes
    assert "1 MiB" in mistake.wrong


def test_a_megabyte_and_not_a_byte_more(mistakes: Mistakes) -> None:
    full = WHOLE.encode() + b"#" * (1024 * 1024 - len(WHOLE))
    (mistake,) = mistakes(full + b"#")
    assert "larger than 1 MiB" in mistake.wrong


def test_a_full_megabyte_is_read(load: Callable[..., object]) -> None:
    assert load(WHOLE.encode() + b"#" * (1024 * 1024 - len(WHOLE)))


def test_billion_laughs(mistakes: Mistakes) -> None:
    start = time.monotonic()
    found = mistakes(LAUGHS)
    assert time.monotonic() - start < 1
    assert {(mistake.line, mistake.field) for mistake in found} >= {(n + 1, f"a{n}") for n in range(10)}


def test_many_mistakes_end_somewhere(mistakes: Mistakes) -> None:
    start = time.monotonic()
    found = mistakes("guests:\n" + "".join(f"  g{n}: {{kidn: lxc}}\n" for n in range(3000)))
    assert time.monotonic() - start < 5
    assert len(found) <= mistakes_module.MOST + 1
    assert any("more than" in mistake.wrong for mistake in found)


@pytest.mark.parametrize("make", ["absent", "folder", "under a file", "pipe", "loop", "long", "null"])
def test_paths_that_are_no_file(make: str, file: Path) -> None:
    path, wrong = (
        file,
        {"absent": "no such file", "folder": "folder", "pipe": "regular file"}.get(make, "read"),
    )
    if make == "folder":
        file.mkdir()
    elif make == "under a file":
        file.touch()
        path = file / "fleet.yaml"
    elif make == "pipe":
        os.mkfifo(file)
    elif make == "loop":
        file.symlink_to(file)
    elif make == "long":
        path = file.with_name("x" * 5000)
    elif make == "null":
        path = Path("a\0b")
    with pytest.raises(FleetError) as caught:
        load_fleet(path, ROLES)
    (mistake,) = caught.value.mistakes
    assert (mistake.file, mistake.line) == (str(path), 0)
    assert wrong in mistake.wrong


def test_no_permission(file: Path) -> None:
    file.write_text(WHOLE)
    file.chmod(0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(FleetError) as caught:
            load_fleet(file, ROLES)
    finally:
        os.seteuid(before)
    (mistake,) = caught.value.mistakes
    assert "may not be read" in mistake.wrong


def test_printed_one_a_line(mistakes: Mistakes, file: Path) -> None:
    text = WHOLE.replace("cores: 2", "memory: 2 GB of").replace("1.136", "1.1360")
    file.write_text(text)
    with pytest.raises(HearthError) as caught:
        load_fleet(file, ROLES)
    first, *lines = str(caught.value).splitlines()
    assert str(file) in first and "2 mistakes" in first
    assert lines == [str(mistake) for mistake in caught.value.mistakes]  # type: ignore[attr-defined]
    number = text[: text.index("2 GB of")].count("\n") + 1
    expected = f'{file}:{number}: guests.comms.memory: "2 GB of" is no size (write e.g. "2 GiB" or "512 MiB")'
    assert lines[0] == expected


def test_no_mistake_hides_another(mistakes: Mistakes) -> None:
    """A mistake in each section and of each layer (YAML, values, references, between guests)."""
    text = (
        WHOLE.replace("storage: local-lvm", "storage: [a]")
        .replace("gateway: 192.168.1.1\n", "gateway: 10.0.0.1\n")
        .replace("kind: lxc\n    url: http", "kidn: lxc\n    url: ftp")
        .replace("user: anna", "user: root")
        .replace("memory: 512 MiB", "memory: 512")
        .replace("cores: 2", "cores: two")
        .replace("[broker]", "[hub, hbu]")
        .replace("192.168.1.136", "192.168.1.135")
        .replace("disk: 32 GiB", "disk: &d 32 GiB")
        .replace("vmid: 1000", "vmid: 135")
    )
    assert {mistake.field for mistake in mistakes(text)} == {
        "nodes.pve.storage",
        "networks.lan.gateway",
        "images.debian-12.kidn",
        "images.debian-12.kind",
        "images.debian-12.url",
        "admin.user",
        "defaults.memory",
        "guests.comms.cores",
        "guests.comms.roles",
        "guests.comms.roles.1",
        "guests.database.address",
        "guests.database.disk",
        "guests.haos.vmid",
    }


def test_the_terminal_is_safe(mistakes: Mistakes) -> None:
    found = mistakes(WHOLE.replace("cores: 2", r'"\e[31m": 1' + '\n    pool: "\\u202e\\ud800\\n"'))
    for mistake in found:
        assert str(mistake).isprintable()
        str(mistake).encode()
