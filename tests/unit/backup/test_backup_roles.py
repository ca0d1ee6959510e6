"""The roles of backups: what they write, whom they let in, and what they refuse."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ops_kit import Absent, preparing
from role_kit import PROJECT, FakeRun, fleet, group_data, guest

from hearth.backup.entries import entries
from hearth.backup.schedule import calendar, retention
from hearth.errors import HearthError
from hearth.fleet.model import Guest, Tailnet
from hearth.role.declaration import Directory, Role
from hearth.role.here import Here
from hearth.role.order import in_order
from hearth.secrets import Secret
from hearth.secrets.rotation import Rotation, encode, entry_of

pytestmark = pytest.mark.slow

DATA = guest("data", 139, "state", "config_backup", "cloud_data_sync")
COMMS = guest("comms", 135, "state", "mosquitto", "ai_automation")


def a_run(*guests: Guest) -> FakeRun:
    return FakeRun(fleet(*(guests or (COMMS, DATA))))


def planned(run: FakeRun, name: str, *roles: str, **data: Any) -> dict[str, bool]:
    """The operations of roles on a guest that does not exist."""
    there = run.fleet.guest(name)
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data(**data)
        for role in roles:
            deployer = run.roles[role].deployer
            assert deployer
            deployer(Here(run, there, host, run.roles[role]))
        return {
            next(iter(host.state.get_op_meta(key).names)): bool(data.operation_meta.will_change)
            for key, data in host.state.ops[host].items()
        }


# -------------------------------------------------------------------------- state


def test_every_state_of_the_roles_is_in_the_guests_settings() -> None:
    run = a_run()
    found = entries(COMMS, run.roles)
    assert [entry["name"] for entry in found] == ["mosquitto-0", "ai_automation-0"]
    assert found[0]["units"] == ["mosquitto.service"]
    assert found[0]["before"]


def test_every_role_with_state_says_how_it_rests_or_dumps() -> None:
    """Files that are put back under a running service would be lost again when it ends."""
    for role in a_run().roles.values():
        for state in role.state:
            assert state.units or state.dump, role.name


def test_every_guest_gets_the_program_before_any_role_with_a_state() -> None:
    roles = a_run().roles
    order = in_order(roles)
    assert "state" in roles["base"].companions
    for name, role in roles.items():
        if role.state:
            assert order.index("state") < order.index(name)


def test_half_a_way_back_is_refused() -> None:
    with pytest.raises(ValueError, match="must be restored"):
        Directory("/x", dump="dump")


def test_the_collector_is_let_in_with_one_command_from_its_own_addresses() -> None:
    run = a_run()
    from roles.state import key_line

    line = key_line(run.here("comms", "state"))
    assert line.startswith(
        'restrict,from="192.168.1.139",command="sudo -n /usr/local/sbin/hearth-state dump" ssh-ed25519 '
    )
    assert line.count("\n") == 1


def test_without_a_collector_nobody_is_let_in() -> None:
    run = a_run(COMMS)
    found = planned(run, "comms", "state")
    assert "Let its key in" not in found
    assert "Let nobody collect the state" in found
    assert "Let its key in" in planned(a_run(), "comms", "state")


def test_sudo_accepts_the_rule(tmp_path: Path) -> None:
    a_run()
    from roles.state import COMMAND, USER

    rule = tmp_path / "rule"
    rule.write_text(f"Defaults:{USER} !use_pty\n{USER} ALL=(root) NOPASSWD: {COMMAND} dump\n")
    done = (
        subprocess.run(["visudo", "-cqf", rule], check=False) if Path("/usr/sbin/visudo").exists() else None
    )
    assert done is None or done.returncode == 0


# ------------------------------------------------------------------- config_backup


def test_it_collects_every_guest_with_a_state_at_its_address() -> None:
    bare = guest("bare", 150)
    run = a_run(COMMS, bare, DATA)
    from roles.config_backup import settings

    found = settings(run.here("data", "config_backup"))
    assert found["guests"] == [{"name": "comms", "address": "192.168.1.135"}]
    assert found["retention"] == {"daily": 7, "weekly": 5, "monthly": 6}


def test_its_settings_are_what_the_program_reads() -> None:
    from hearth.backup.onguest.keeper import Keeper

    run = a_run()
    from roles.config_backup import settings

    keeper = Keeper(settings(run.here("data", "config_backup")))
    assert keeper.local.where == "/var/lib/hearth-backup/repository"
    assert keeper.local.password_file == Path("/etc/hearth/backup/password")


def test_a_second_one_is_refused() -> None:
    run = a_run(DATA, guest("other", 150, "state", "config_backup"))
    with pytest.raises(HearthError, match="data, other have the role"):
        planned(run, "data", "config_backup")


def test_secrets_show_in_no_file_that_others_read() -> None:
    run = a_run()
    from roles.config_backup import settings_files

    files = {file.path: file for file in settings_files(run.here("data", "config_backup"))}
    for name in ("password", "ssh-key"):
        file = files[f"/etc/hearth/backup/{name}"]
        assert (file.mode, file.user, file.secret) == ("600", "hearth-keeper", True)
    others = [file for file in files.values() if not file.secret]
    password = run.secrets.get("restic/password").reveal()
    assert all(password not in file.text for file in others)


def units(run: FakeRun, role: str, tmp_path: Path, **data: Any) -> list[Path]:
    here = run.here("data", role, **data)
    if role == "config_backup":
        from roles.config_backup import unit_files

        files = unit_files(here)
    else:
        from roles.cloud_data_sync import JOBS
        from roles.cloud_data_sync import unit_files as cloud_files

        files = [file for job in JOBS for file in cloud_files(here, job)]
    made = []
    for file in files:
        path = tmp_path / Path(file.path).name
        path.write_text(file.text.replace("/usr/local/sbin/hearth-backup", "/bin/true"))
        made.append(path)
    return made


@pytest.mark.parametrize("role", ["config_backup", "cloud_data_sync"])
def test_systemd_accepts_the_units(role: str, tmp_path: Path) -> None:
    found = units(a_run(), role, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *found],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Unknown" not in done.stderr
    assert all("$" not in path.read_text() for path in found), "systemd would put its own variables there"
    for path in found:
        if path.suffix == ".timer":
            text = path.read_text()
            assert "Persistent=true" in text
            assert "RandomizedDelaySec=" in text
            at = text.partition("OnCalendar=")[2].splitlines()[0]
            subprocess.run(["systemd-analyze", "calendar", at], capture_output=True, check=True)


@pytest.mark.parametrize("role", ["config_backup", "cloud_data_sync"])
def test_the_jobs_are_confined(role: str, tmp_path: Path) -> None:
    """What systemd itself thinks of the walls: 0 (none is missing) to 10, as for every other service."""
    for path in units(a_run(), role, tmp_path):
        if path.suffix == ".service":
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=50", path],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout[-400:] + done.stderr
            assert "User=hearth-keeper" in path.read_text()


@pytest.mark.parametrize("wrong", ["25:00", "tomorrow", "3", 330, None, "03:10; rm -rf /", "Foo 03:10"])
def test_a_time_that_is_none(wrong: Any) -> None:
    with pytest.raises(HearthError, match="config_backup_at"):
        calendar("config_backup_at", wrong)


@pytest.mark.parametrize("right", ["03:10", "Sun 05:10", "Mon..Fri 03:10", "Mon,Thu 03:10", "daily"])
def test_a_time_that_systemd_takes(right: str) -> None:
    subprocess.run(["systemd-analyze", "calendar", calendar("x", right)], capture_output=True, check=True)


@pytest.mark.parametrize("wrong", [{}, None, {"daily": 0}, {"daily": "7"}, {"dayly": 7}, {"daily": True}])
def test_a_retention_that_keeps_nothing(wrong: Any) -> None:
    with pytest.raises(HearthError, match="x_retention"):
        retention("x_retention", wrong)


# ----------------------------------------------------------------- cloud_data_sync

S3 = {
    "cloud_data_sync_repository": "s3:https://s3.example.org/bucket/home",
    "cloud_data_sync_environment": {"AWS_ACCESS_KEY_ID": "id"},
    "cloud_data_sync_secrets": {"AWS_SECRET_ACCESS_KEY": "restic/s3-key"},
    "cloud_data_sync_limit_upload": 500,
}


def remote_json(run: FakeRun, **data: Any) -> dict[str, Any]:
    from roles.cloud_data_sync import remote_of, settings_files

    here = run.here("data", "cloud_data_sync", **data)
    there = remote_of(here)
    assert there
    files = settings_files(here, there)
    assert all(file.secret and file.mode == "600" for file in files)
    return dict(json.loads(files[0].text))


def test_s3_with_its_secrets_and_a_limit() -> None:
    run = a_run()
    run.secrets.put("restic/s3-key", "very secret")
    found = remote_json(run, **S3)
    assert found["environment"] == {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "very secret"}
    assert found["options"] == ["--limit-upload=500"]


def test_a_password_in_a_url_is_a_secret() -> None:
    run = a_run()
    run.secrets.put("restic/rest", "pass")
    found = remote_json(run, cloud_data_sync_repository="rest:https://home:{restic/rest}@host:8000/home")
    assert found["repository"] == "rest:https://home:pass@host:8000/home"


def test_rclone_brings_its_configuration_and_itself() -> None:
    run = a_run()
    run.secrets.put("restic/rclone", "[cloud]\ntype = local\n")
    data = {"cloud_data_sync_repository": "rclone:cloud:home", "cloud_data_sync_rclone": "restic/rclone"}
    assert remote_json(run, **data)["environment"] == {
        "RCLONE_CONFIG": "/etc/hearth/backup/remote/rclone.conf"
    }
    assert "Install rclone" in planned(run, "data", "cloud_data_sync", **data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"cloud_data_sync_repository": 7}, "cloud_data_sync_repository is 7"),
        ({"cloud_data_sync_repository": "somewhere"}, "somewhere"),
        ({"cloud_data_sync_repository": "rest:{restic/none}"}, "restic/none"),
        ({**S3, "cloud_data_sync_limit_upload": -1}, "limit_upload is -1"),
        ({**S3, "cloud_data_sync_environment": {"RESTIC_PASSWORD": "x"}}, "RESTIC_PASSWORD"),
        ({**S3, "cloud_data_sync_environment": {"path": "x"}}, "path"),
        ({"cloud_data_sync_repository": "sftp:u@host:/x"}, "cloud_data_sync_sftp"),
        ({**S3, "cloud_data_sync_check_percent": 101}, "check_percent: it is 101"),
        ({**S3, "cloud_data_sync_retention": {}}, "retention"),
        ({**S3, "cloud_data_sync_copy_at": "noon"}, "copy_at is 'noon'"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_changed(data: dict[str, Any], words: str) -> None:
    run = a_run()
    run.secrets.put("restic/s3-key", "x")
    with pytest.raises(HearthError) as caught:
        planned(run, "data", "cloud_data_sync", **data)
    assert words.replace("copy_at is 'noon'", "noon") in str(caught.value)


def test_alone_it_has_nothing_to_copy() -> None:
    run = a_run(guest("data", 139, "state", "cloud_data_sync"))
    with pytest.raises(HearthError, match="config_backup"):
        planned(run, "data", "cloud_data_sync", **S3)


def test_without_a_place_nothing_is_copied() -> None:
    found = planned(a_run(), "data", "cloud_data_sync")
    assert list(found) == ["Have no copy elsewhere: cloud_data_sync_repository is not set"]


# ------------------------------------------------------------------------ rotation


@pytest.mark.parametrize(
    ("phase", "other", "words"),
    [
        ("offered", "new", "accept"),
        ("switched", "old", "accept"),
        ("withdrawn", "old", "refuse"),
    ],
)
def test_while_the_password_is_rotated_both_repositories_follow(phase: Any, other: str, words: str) -> None:
    run = a_run()
    run.secrets.put("restic/s3-key", "x")
    run.secrets.put("restic/password", "current")
    rotation = Rotation("restic/password", phase, {"restic/password": Secret(other)})
    run.secrets.put(entry_of("restic/password"), encode(rotation))
    found = planned(run, "data", "config_backup", "cloud_data_sync", **S3)
    for name in ("local", "remote"):
        assert f"Have the {name} repository {words} the other password" in found
    assert "Have the local repository" not in found


# --------------------------------------------------------------- what roles are told


class Told:
    """Notes where roles ask for their state."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def state(self, here: Here) -> None:
        self.asked.append(here.role.name)

    def done(self, here: Here) -> None:
        self.asked.append(f"{here.role.name} done")


def test_a_role_gets_its_state_once_and_only_when_it_is_restored() -> None:
    run = a_run()
    here = run.here("comms", "mosquitto")
    here.restore_state()
    run.restoring = told = Told()
    here = run.here("comms", "mosquitto")
    here.restore_state()
    here.restore_state()
    assert told.asked == ["mosquitto"]
    other = Here(run, COMMS, SimpleNamespace(data=group_data(), name="comms"), Role(name="bare"))
    other.restore_state()
    assert told.asked == ["mosquitto"]


BEFORE_START = {
    "tailscale": "Run Tailscale",
    "mosquitto": "Run Mosquitto",
    "zigbee2mqtt": "Run Zigbee2MQTT",
    "vaultwarden": "Run Vaultwarden",
    "headscale": "Run headscale",
    "ai_automation": "Run AI automation",
    "home_assistant": "Run Home Assistant",
}


@pytest.mark.parametrize("role", BEFORE_START)
def test_a_state_is_back_before_its_service_first_starts(role: str) -> None:
    device = {"devices": ("/dev/serial/by-id/usb-ITead_Sonoff",)} if role == "zigbee2mqtt" else {}
    there = guest("here", 134, "state", "front", "mosquitto", role, tun=True, **device)
    run = FakeRun(fleet(there).model_copy(update={"tailnet": Tailnet(domain="tail.home.arpa")}))
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data(home_assistant_install="core")
        deployer = run.roles[role].deployer
        assert deployer

        def names() -> list[str]:
            return [next(iter(host.state.get_op_meta(key).names)) for key in host.op_hash_order]

        marked: list[int] = []
        run.restoring = SimpleNamespace(
            state=lambda here: marked.append(len(host.op_hash_order)), done=lambda here: None
        )
        with contextlib.suppress(AttributeError, HearthError):  # what looks into the service afterwards
            deployer(Here(run, there, host, run.roles[role]))
        found = names()
    assert len(marked) == 1
    assert marked[0] <= found.index(BEFORE_START[role])
    if role == "tailscale":
        assert marked[0] <= found.index("Join the tailnet")


def test_the_default_fleet_loads_with_the_roles_switched_on(tmp_path: Path) -> None:
    from hearth.fleet.loader import load_fleet

    text = (PROJECT / "inventory" / "fleet.yaml").read_text()
    switched = text.replace(
        "roles: [postgresql]\n\n  security",
        "roles: [postgresql, cloud_data_sync, config_backup]\n\n  security",
    )
    path = tmp_path / "fleet.yaml"
    path.write_text(switched)
    home = load_fleet(path, a_run().roles)
    assert all("state" in each.roles for each in home.guests if not each.appliance)
