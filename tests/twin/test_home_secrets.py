"""No secret shows: not in what a run says, not among processes, not in logs, not in Git, not in open files.

What is legitimate: the API token in the environment of the run and of what it starts, where an admin (here
`twin exec`) puts it; no other secret there. And root-only files: each secret where it is used.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.twin.annex_kit import Annex, git
from tests.twin.canary_kit import EVERYBODYS, forms, grep
from twin.state import read_json

LARGEST = 64 << 20  # bytes of a file that is searched; larger ones are guests' disks
# What leaves this machine in no form, for nobody.
NEVER_SENT = ("proxmox/token", "ssh/deploy", "ssh/node", "ca/key", "ca/backup-key", "age identity")


@pytest.fixture(scope="module")
def canaries(annex: Annex) -> dict[str, set[bytes]]:
    """Every secret that the run had, in all its forms, by name."""
    store = annex.home.secrets
    public = ("ca/cert", "tls/annex/cert")
    known = {name: store.get(name).reveal() for name in store.names() if name not in public}
    known["the old mqtt/echo-annex"] = annex.old_password
    known["proxmox/token"] = read_json(annex.home.twin.twin.private / "tokens.json")["hearth"].partition("=")[
        2
    ]
    identity = annex.home.age_key.read_text()
    known["age identity"] = next(line for line in identity.splitlines() if line.startswith("AGE-SECRET-KEY"))
    salts = {name for name in known if name.startswith("mqtt-salt/")}
    found = {name: set(forms(secret)) for name, secret in known.items() if name not in salts}
    expected = {"mqtt/garden-sensor", "mqtt/echo-annex", "tls/annex/key", *NEVER_SENT}
    assert expected <= found.keys()
    assert all(found.values())
    return found


def shown(canaries: dict[str, set[bytes]], text: bytes, but: Iterable[str] = ()) -> set[str]:
    """The names of the secrets that a text shows."""
    return {
        name
        for name, patterns in canaries.items()
        if name not in but and any(pattern in text for pattern in patterns)
    }


def test_the_search_finds_what_it_should(canaries: dict[str, set[bytes]], annex: Annex) -> None:
    key = annex.home.secret("ssh/deploy")
    for text in (key, json.dumps(key), quote(key), base64.b64encode(b"x" + key.encode()).decode()):
        assert shown(canaries, b"before " + text.encode() + b" after") == {"ssh/deploy"}
    assert shown(canaries, b"nothing") == set()


def test_nothing_shows_in_what_the_runs_said(annex: Annex, canaries: dict[str, set[bytes]]) -> None:
    for run in (annex.first, annex.rotated):
        assert run.code == 0, run.text
        assert shown(canaries, run.out.encode()) == set()
        assert shown(canaries, run.err.encode()) == set()
    assert "/etc/mosquitto/passwords (content not shown)" in annex.first.text
    changed = json.loads(annex.rotated.out)["results"]["operations"]
    assert {"Mosquitto | Configure Mosquitto", "Echo | Configure echo"} <= {
        operation["name"] for operation in changed if operation["success"]
    }


def test_nothing_shows_among_the_processes(annex: Annex, canaries: dict[str, set[bytes]]) -> None:
    watch = annex.watch
    for inside, program in ((True, b"mosquitto"), (True, b"apt-get"), (False, b"pyinfra")):
        assert any(program in line for line in watch.texts("cmdline", inside)), "the watch saw too little"
    for inside in (True, False):
        assert shown(canaries, b"\n".join(watch.texts("cmdline", inside))) == set()
    # Echo's own service has its password in its environment: its unit says so (EnvironmentFile).
    in_guests = [text for text in watch.texts("environ", True) if b"MQTT_USER=" not in text]
    assert in_guests
    assert shown(canaries, b"\n".join(in_guests)) == set()
    assert shown(canaries, b"\n".join(watch.texts("environ", False))) == set()
    assert watch.handed_down
    assert shown(canaries, b"\n".join(watch.handed_down)) == {"proxmox/token"}


@pytest.fixture(scope="module", params=["annex", "ct152"])
def guest(request: pytest.FixtureRequest) -> str:
    """Each guest of the small home."""
    return str(request.param)


def all_of(canaries: dict[str, set[bytes]], *names: str) -> set[bytes]:
    """The forms of some secrets, of all without a name."""
    found = {form for name, those in canaries.items() if name in names or not names for form in those}
    assert not any(b"\n" in form for form in found)
    return found


def test_no_secret_is_in_a_file_that_everybody_in_a_guest_may_read(
    annex: Annex, canaries: dict[str, set[bytes]], guest: str
) -> None:
    assert grep(annex.home, guest, {b"root:x:0:0:"}, EVERYBODYS), "the search finds nothing at all"
    assert grep(annex.home, guest, all_of(canaries), EVERYBODYS) == []


def test_no_secret_is_in_a_guests_journal_and_logs(
    annex: Annex, canaries: dict[str, set[bytes]], guest: str
) -> None:
    text = "journalctl --no-pager -a -o export > /run/journal; find /run/journal /var/log -type f -print0"
    assert grep(annex.home, guest, {b"systemd"}, text), "the search finds nothing at all"
    assert grep(annex.home, guest, all_of(canaries), text) == []
    annex.home.said(guest, "rm /run/journal")


def test_what_only_this_machine_needs_is_in_no_file_of_a_guest(
    annex: Annex, canaries: dict[str, set[bytes]], guest: str
) -> None:
    every = "find / /run /tmp /dev/shm -xdev -type f -print0"
    assert grep(annex.home, guest, all_of(canaries, *NEVER_SENT), every) == []


def test_nothing_is_left_on_the_way(annex: Annex, guest: str) -> None:
    assert (
        annex.home.said(guest, "find /run/hearth/stage -type f 2>/dev/null; ls -d /tmp/pyinfra* || :") == ""
    )


def test_nothing_shows_in_the_logs_of_node_and_proxy(annex: Annex, canaries: dict[str, set[bytes]]) -> None:
    logs = [path for path in annex.home.twin.twin.logs.iterdir() if path.is_file()]
    assert any(path.stat().st_size for path in logs)
    for path in logs:
        assert shown(canaries, path.read_bytes()) == set(), path


def test_nothing_shows_in_a_repository_that_keeps_all(annex: Annex, canaries: dict[str, set[bytes]]) -> None:
    project = annex.home.project
    annex.git("add", "-A")
    annex.git("commit", "-q", "--allow-empty", "-m", "what a deploy leaves")
    assert b"inventory/secrets.age" in annex.git("ls-files")
    objects = git(project, "cat-file", "--batch-all-objects", "--batch")
    assert b"echo_nice" in objects
    assert shown(canaries, objects) == set()


def test_no_secret_is_in_an_open_file_of_this_machine(annex: Annex, canaries: dict[str, set[bytes]]) -> None:
    since = (annex.home.place / "private").stat().st_ctime - 60
    places = [annex.home.place, annex.home.twin.twin.dir, Path("/tmp"), Path("/var/tmp"), Path("/var/log")]
    files = {path for place in places for path in open_files(place, since)}
    assert annex.home.fleet_file in files
    assert {path for path in files if shown(canaries, still(path))} == set()


def still(path: Path) -> bytes:
    """What is in a file of somebody's; nothing where it is gone by now, as files of a machine in use are."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def open_files(top: Path, since: float) -> Iterator[Path]:
    """Files below a folder that everybody may read and that are newer; guests' own are searched inside."""
    for folder, below, names in os.walk(top):
        below[:] = [name for name in below if name not in ("guests", ".git", "node", "ns")]
        for name in names:
            path = Path(folder, name)
            try:
                facts = path.lstat()
            except FileNotFoundError:
                continue
            fresh = facts.st_ctime > since and facts.st_size < LARGEST
            if stat.S_ISREG(facts.st_mode) and facts.st_mode & stat.S_IROTH and fresh:
                yield path


def test_what_hearth_keeps_here_is_for_its_owner_only(annex: Annex) -> None:
    home = annex.home
    for path in (home.age_key, home.state_dir):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
