"""`hearth secrets`: in by stdin, out only when asked."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hearth.secrets.age import generate_identity, recipient_of

Hearth = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def filled(hearth: Hearth) -> Hearth:
    assert hearth("secrets", "set", "mqtt/kitchen", stdin="canary-kitchen\n").returncode == 0
    return hearth


def test_set_and_show(filled: Hearth) -> None:
    assert filled("secrets", "show", "mqtt/kitchen").stdout == "canary-kitchen\n"


@pytest.mark.parametrize(
    ("typed", "kept"), [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\nb\n", "a\nb"), (" a ", " a ")]
)
def test_only_the_last_lines_end_is_taken_off(hearth: Hearth, typed: str, kept: str) -> None:
    hearth("secrets", "set", "x", stdin=typed)
    assert hearth("secrets", "show", "x").stdout == kept + "\n"


def test_list_shows_names_and_no_values(filled: Hearth) -> None:
    done = filled("secrets", "list")
    assert "mqtt/kitchen" in done.stdout
    assert "canary" not in done.stdout


def test_list_of_nothing_makes_nothing(hearth: Hearth, project: Path) -> None:
    assert hearth("secrets", "list").returncode == 0
    assert not (project / "inventory" / "secrets.age").exists()
    assert not (project / "config").exists()


@pytest.mark.parametrize("arguments", [["set", "a", "value"], ["set", "a=value"], ["show", "a", "b"]])
def test_a_value_on_the_command_line_is_refused(hearth: Hearth, project: Path, arguments: list[str]) -> None:
    assert hearth("secrets", *arguments, stdin="x").returncode != 0
    assert not (project / "inventory" / "secrets.age").exists()


@pytest.mark.parametrize("typed", ["", "\n"])
def test_an_empty_value_is_refused(hearth: Hearth, typed: str) -> None:
    done = hearth("secrets", "set", "x", stdin=typed)
    assert done.returncode == 1
    assert "empty" in done.stderr


def test_remove(filled: Hearth) -> None:
    assert filled("secrets", "remove", "mqtt/kitchen").returncode == 0
    assert filled("secrets", "show", "mqtt/kitchen").returncode == 1
    assert filled("secrets", "remove", "mqtt/kitchen").returncode == 1


def test_the_environment_wins_and_is_named(filled: Hearth) -> None:
    done = filled("secrets", "set", "proxmox/token", stdin="from-file", PROXMOX_VE_API_TOKEN="canary-env")
    assert "PROXMOX_VE_API_TOKEN" in done.stderr
    done = filled("secrets", "list", PROXMOX_VE_API_TOKEN="canary-env")
    assert "PROXMOX_VE_API_TOKEN is set" in done.stdout
    assert "canary" not in done.stdout + done.stderr
    assert filled("secrets", "show", "proxmox/token", PROXMOX_VE_API_TOKEN="from-env").stdout == "from-env\n"
    assert filled("secrets", "show", "proxmox/token").stdout == "from-file\n"


def test_public_of_what_has_no_public_part(filled: Hearth) -> None:
    done = filled("secrets", "public", "mqtt/kitchen")
    assert done.returncode == 1
    assert "canary" not in done.stdout + done.stderr


def test_recipients(filled: Hearth, project: Path) -> None:
    paper = generate_identity()
    assert filled("secrets", "recipients", "add", recipient_of(paper)).returncode == 0
    listed = filled("secrets", "recipients", "list").stdout.splitlines()
    assert [line.split()[0][:4] for line in listed] == ["age1", "age1"]
    assert listed[1] == recipient_of(paper)
    other = project / "paper.key"
    other.touch(mode=0o600)
    other.write_text(paper.reveal())
    read = filled("secrets", "show", "mqtt/kitchen", HEARTH_AGE_KEY_FILE=str(other))
    assert read.stdout == "canary-kitchen\n"


def test_a_second_machine_does_not_lock_the_first_one_out(filled: Hearth, project: Path) -> None:
    second = generate_identity()
    key = project / "second.key"
    key.touch(mode=0o600)
    key.write_text(second.reveal())
    filled("secrets", "recipients", "add", recipient_of(second))
    there = {"HEARTH_AGE_KEY_FILE": str(key)}
    assert filled("secrets", "set", "by-second", stdin="canary-2", **there).returncode == 0
    assert filled("secrets", "show", "by-second").stdout == "canary-2\n"


def test_recipient_removed(filled: Hearth, project: Path) -> None:
    identity = generate_identity()
    paper = recipient_of(identity)
    key = project / "paper.key"
    key.touch(mode=0o600)
    key.write_text(identity.reveal())
    filled("secrets", "recipients", "add", paper)
    removed = filled("secrets", "recipients", "remove", paper)
    assert removed.returncode == 0
    assert "Git" in removed.stderr
    assert "rotate" in removed.stderr
    assert paper not in filled("secrets", "recipients", "list").stdout
    read = filled("secrets", "show", "mqtt/kitchen", HEARTH_AGE_KEY_FILE=str(key))
    assert (read.returncode, read.stdout) == (1, "")
    assert filled("secrets", "recipients", "remove", paper).returncode == 1


def test_this_machines_own_key_is_not_removed(filled: Hearth) -> None:
    own = filled("secrets", "recipients", "list").stdout.split()[0]
    done = filled("secrets", "recipients", "remove", own)
    assert done.returncode == 1
    assert "own" in done.stderr
    assert filled("secrets", "show", "mqtt/kitchen").returncode == 0


@pytest.mark.parametrize("text", ["age1nonsense", "AGE-SECRET-KEY-1CANARY"])
def test_bad_recipient(filled: Hearth, text: str) -> None:
    done = filled("secrets", "recipients", "add", text)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_identity_that_others_can_read(filled: Hearth, project: Path) -> None:
    (project / "config" / "age.key").chmod(0o644)
    done = filled("secrets", "show", "mqtt/kitchen")
    assert (done.returncode, done.stdout) == (1, "")
    assert "chmod 600" in done.stderr


def test_git_could_hold_the_file(filled: Hearth, project: Path) -> None:
    data = (project / "inventory" / "secrets.age").read_bytes()
    assert data.isascii()
    assert b"canary" not in data
