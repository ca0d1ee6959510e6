"""The whole way on one machine: the roles' files at their places, sshd, sudo, the users, restic, and back.

In namespaces of its own (as_on_a_guest.py), where the home's addresses are loopback's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backup_kit import key_pair
from role_kit import FakeRun, fleet, guest

from hearth.backup import keeping
from hearth.known_hosts import KnownHosts
from hearth.ops.files import File
from hearth.role.declaration import Directory, Role

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
TEXT = "what must not be lost"
KEPT = "/var/lib/greeter"
SSH = (
    "ssh -F /dev/null -T -b {source} -i /etc/hearth/backup/ssh-key -o IdentitiesOnly=yes -o BatchMode=yes "
    "-o UserKnownHostsFile=/etc/hearth/backup/known_hosts {user}@192.168.1.135 {command}"
)


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    if os.geteuid() or not shutil.which("sudo"):
        pytest.skip("needs root and sudo")
    found = Path(tempfile.mkdtemp(prefix="hearth-whole-"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


def roles_files(work: Path) -> list[File]:
    """What the roles put on comms and on data; here one machine is both."""
    run = FakeRun(
        fleet(
            guest("comms", 135, "state", "greeter"),
            guest("data", 139, "state", "config_backup"),
        ),
        known_hosts=KnownHosts(work / "known_hosts"),
    )
    run.roles["greeter"] = Role(name="greeter", state=(Directory(KEPT, units=("greeter.service",)),))
    from roles import config_backup, state

    here, keeper = run.here("comms", "state"), run.here("data", "config_backup")
    settings = json.dumps({"guest": "comms", "state": state.entries(here.guest, run.roles)})
    rule = f"Defaults:{state.USER} !use_pty\n{state.USER} ALL=(root) NOPASSWD: {state.COMMAND} dump\n"
    return [
        here.template("hearth-state.sh", state.COMMAND, mode="755"),
        *state.programs(*state.MODULES),
        File(state.SETTINGS, settings),
        File(state.SUDO, rule, mode="440"),
        File(state.KEYS, state.key_line(here)),
        *config_backup.program(keeper),
        *config_backup.settings_files(keeper),
    ]


@pytest.fixture(scope="module")
def answers(work: Path) -> dict[str, dict[str, Any]]:
    """What each command said, by name."""
    public = key_pair(work / "host")
    kind, key = public.split()[:2]
    (work / "known_hosts").write_text(f"192.168.1.135 {kind} {key}\n")
    files = [
        {"path": file.path, "content": file.text, "user": file.user, "group": file.group, "mode": file.mode}
        for file in roles_files(work)
    ]
    files.append(
        {
            "path": "/etc/ssh/host",
            "content": (work / "host").read_text(),
            "user": "root",
            "group": "root",
            "mode": "600",
        }
    )
    from roles import state

    before = [
        state.CREATE,
        keeping.CREATE,
        f"install -d -m 700 -o nobody {KEPT}; echo '{TEXT}' >{KEPT}/file; chown nobody {KEPT}/file",
        # A systemctl that knows no unit: there is no systemd here.
        "mkdir -p /usr/local/bin; printf '#!/bin/sh\\nexit 3\\n' >/usr/local/bin/systemctl; "
        "chmod 755 /usr/local/bin/systemctl",
    ]
    dump = SSH.format(source="192.168.1.139", user="hearth-backup", command="cat /etc/shadow")
    commands = {
        "collect": "/usr/local/sbin/hearth-backup collect",
        "again": "/usr/local/sbin/hearth-backup collect",
        "owner": "find /var/lib/hearth-backup ! -user hearth-keeper",
        "modes": "find /var/lib/hearth-backup -perm /077 ! -path '*/metrics/*' | head",
        "listed": "/usr/local/sbin/hearth-backup restic local ls latest",
        "metrics": "cat /var/lib/hearth-backup/metrics/hearth_backup.prom",
        "anything": f"{dump} | tar -tf - | tail -n 1",
        "elsewhere": SSH.format(source="192.168.1.200", user="hearth-backup", command=""),
        "root": SSH.format(source="192.168.1.139", user="root", command="id"),
        "more": "su hearth-backup -s /bin/sh -c 'sudo -n /usr/local/sbin/hearth-state restore'",
        "other": "su hearth-backup -s /bin/sh -c 'sudo -n id'",
        "keeper": "su hearth-keeper -s /bin/sh -c 'sudo -n id'",
        "lost": f"echo broken >{KEPT}/file; "
        "/usr/bin/python3 -c \"import sys; sys.path.insert(0, '/usr/local/lib/hearth'); "
        "from hearth_backup.stream import Writer, read_manifest; from pathlib import Path; "
        "kept = Path('/var/lib/hearth-backup/current/guests/comms'); "
        "piece = read_manifest((kept / 'manifest.json').read_bytes()).pieces[0]; "
        "writer = Writer(sys.stdout.buffer, 'comms'); "
        "writer.note(writer.add(piece, (kept / piece.name).open('rb'))); writer.end()\" "
        "| /usr/local/sbin/hearth-state restore greeter",
        "back": f"cat {KEPT}/file; stat -c '%U %a' {KEPT}",
    }
    (work / "files.json").write_text(json.dumps(files))
    (work / "addresses.json").write_text(json.dumps(["192.168.1.135", "192.168.1.139", "192.168.1.200"]))
    (work / "steps.json").write_text(json.dumps({"before": before, "commands": list(commands.values())}))
    done = subprocess.run(
        [
            *("unshare", "--mount", "--net", "--propagation", "private"),
            *("/usr/bin/python3", "-B", HERE / "as_on_a_guest.py", work),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, json.loads((work / "answers.json").read_text()), strict=True))


def test_the_state_is_collected_by_a_user_without_rights(answers: dict[str, dict[str, Any]]) -> None:
    for name in ("collect", "again"):
        assert answers[name]["code"] == 0, answers[name]["err"]
    assert "/current/guests/comms/greeter-0" in answers["listed"]["out"]
    assert 'hearth_backup_guest_ok{guest="comms"} 1' in answers["metrics"]["out"]
    assert answers["owner"]["out"] == ""
    assert answers["modes"]["out"] == ""


def test_its_key_runs_the_dump_whatever_is_asked_for(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["anything"]["out"].strip() == "manifest.json", answers["anything"]["err"]


@pytest.mark.parametrize("who", ["elsewhere", "root"])
def test_its_key_opens_nothing_from_elsewhere_and_for_nobody_else(
    answers: dict[str, dict[str, Any]], who: str
) -> None:
    assert answers[who]["code"] != 0
    assert "Permission denied" in answers[who]["err"]


@pytest.mark.parametrize("what", ["more", "other", "keeper"])
def test_sudo_allows_the_dump_and_nothing_else(answers: dict[str, dict[str, Any]], what: str) -> None:
    assert answers[what]["code"] != 0
    assert "password is required" in answers[what]["err"] or "not allowed" in answers[what]["err"]


def test_what_was_lost_is_back_with_its_owner(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["lost"]["code"] == 0, answers["lost"]["err"]
    assert answers["back"]["out"].splitlines() == [TEXT, "nobody 700"]
