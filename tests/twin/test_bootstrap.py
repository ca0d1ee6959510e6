"""bootstrap.py in a twin of its own: root makes Hearth's rights and key, then a deploy lives on them.

The API enforces each right at each call, the node's SSH is OpenSSH, and the container gets its tun through
the wrapper that bootstrap.py installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from hearth.bootstrap.rights import TOKEN
from hearth.errors import HearthError
from tests.twin.handle import NODE, TwinHandle, new_key
from tests.twin.home_kit import WHOLE, Done, Home
from twin.down import down
from twin.home import PROJECT
from twin.state import Twin, read_json

ADDRESS = "192.168.1.160"
FLEET = {
    "nodes": {"pve": {"address": NODE, "storage": "local-lvm", "images": "local"}},
    "networks": {"lan": {"bridge": "vmbr0", "subnet": "192.168.1.0/24", "gateway": "192.168.1.1"}},
    "images": {
        "debian-12": {"kind": "lxc", "url": "http://example.org/debian-12-standard_12.12-1_amd64.tar.zst"}
    },
    "guests": {
        "outpost": {
            "kind": "lxc",
            "network": "lan",
            "address": ADDRESS,
            "image": "debian-12",
            "unprivileged": True,
            "features": {"nesting": True},
            "memory": "256 MiB",
            "disk": "4 GiB",
            "pool": "home",
            "tun": True,
            "appliance": True,
        }
    },
}


class Bootstrapped(Home):
    """A home in a twin that had never heard of Hearth; root's token is there only where it is asked for."""

    def as_root(self, *arguments: str) -> Done:
        """`python bootstrap.py --yes ARGUMENTS` with root's token and the admin's own SSH key."""
        token = read_json(self.twin.twin.private / "tokens.json")["root"]
        command = (sys.executable, "bootstrap.py", "--yes", "--ssh-key", str(self.twin.key), *arguments)
        return self.run("env", f"PROXMOX_VE_API_TOKEN={token}", *command)

    def alone(self, *command: str) -> Done:
        """A command that has only what the secrets hold."""
        return self.run("env", "-u", "PROXMOX_VE_API_TOKEN", *command)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bootstrapped]:
    """The small home, on a node that has never heard of Hearth."""
    place = tmp_path_factory.mktemp("bootstrap")
    fleet = place / "fleet.yaml"
    fleet.write_text(yaml.safe_dump(FLEET, sort_keys=False))
    with unheard_of("bootstrap", place, fleet) as home:
        yield home


@contextmanager
def unheard_of(name: str, place: Path, fleet: Path) -> Iterator[Bootstrapped]:
    """A twin without the user, token and role that it makes by itself; the admin's key opens the node."""
    twin = Twin.named(f"test-{os.getpid()}-{name}")
    handle = TwinHandle(twin, new_key(place))
    try:
        done = handle.command("up", timeout=900, HEARTH_FLEET=str(fleet))
        assert done.returncode == 0, done.stdout + done.stderr
        handle.as_root("DELETE", "/access/users/hearth@pve")
        handle.as_root("DELETE", "/access/roles/Hearth")
        with twin.node_keys.open("a") as keys:
            keys.write(f"{handle.public}\n")
        yield Bootstrapped(handle, place, fleet_file=fleet)
    finally:
        handle.close()
        with suppress(HearthError):
            down(twin)
    assert not twin.dir.exists()


@pytest.fixture(scope="module")
def made(fresh: Bootstrapped) -> Bootstrapped:
    """The same, bootstrapped and deployed."""
    fresh.as_root().went_well()
    fresh.alone("pyinfra", "inventory", "deploy.py", "-y").went_well()
    return fresh


def node_key(home: Home) -> Path:
    """Hearth's key for the node, as a file."""
    key = home.place / "node_key"
    key.touch(mode=0o600)
    key.write_text(home.secret("ssh/node"))
    return key


def test_dry_changes_nothing(fresh: Bootstrapped) -> None:
    keys = fresh.twin.twin.node_keys.read_text()
    dry = fresh.as_root("--dry").went_well()
    assert dry.writes == []
    assert "on pve: let Hearth's key run /usr/local/sbin/hearth-node, and nothing else" in dry.out
    assert fresh.twin.twin.node_keys.read_text() == keys
    assert not fresh.secrets_file.exists()


def test_the_deploy_lives_on_the_new_token_and_the_wrapper_alone(made: Bootstrapped) -> None:
    assert made.secret("proxmox/token").startswith(f"{TOKEN}=")
    calls = [row for row in made.requests() if row["path"].startswith("/nodes/")]
    by_root = {(row["method"], row["path"]) for row in calls if row["user"] == "root@pam"}
    assert {row["user"] for row in calls} == {TOKEN, "root@pam"}
    assert {method for method, _ in by_root} <= {"GET", "PUT"}
    assert {path for _, path in by_root} == {"/nodes/pve/lxc/160/config"}, "only the node's own pct"
    assert not [row for row in calls if row["status"] == 403]
    config = made.twin.as_root("GET", "/nodes/pve/lxc/160/config")
    assert config["dev0"] == "/dev/net/tun,mode=0666"
    assert made.door.said(ADDRESS, "ip tuntap add mode tun t0 && ip -br link show t0").startswith("t0")
    assert [row["vmid"] for row in made.twin.as_root("GET", "/pools/home")["members"]] == [160]


def test_a_second_time_nothing_is_to_do(made: Bootstrapped) -> None:
    again = made.as_root().went_well()
    assert again.writes == []
    assert "nothing to do" in again.out
    made.alone("pyinfra", "inventory", "deploy.py", "-y").silent()


def test_the_doctor_finds_token_wrapper_and_device_as_they_should_be(made: Bootstrapped) -> None:
    said = made.alone("hearth", "doctor").out
    assert f"ok   token: {TOKEN} may do what the fleet needs, and nothing else" in said, said
    assert "ok   wrapper: the SSH wrapper of pve answers" in said
    assert "ok   device: /dev/net/tun of outpost is there" in said


def test_without_a_privilege_the_deploy_says_so_and_root_mends_it(made: Bootstrapped) -> None:
    role = made.twin.as_root("GET", "/access/roles/HearthVms")
    made.twin.as_root(
        "PUT", "/access/roles/HearthVms", privs=",".join(sorted({*role} - {"VM.Config.Memory"}))
    )
    file = yaml.safe_load(made.fleet_file.read_text())
    file["guests"]["outpost"]["memory"] = "384 MiB"
    made.fleet_file.write_text(yaml.safe_dump(file, sort_keys=False))
    made.alone("pyinfra", "inventory", "deploy.py", "-y").refused("VM.Config.Memory", "hearth doctor")
    assert "lacks on /vms: VM.Config.Memory" in made.alone("hearth", "doctor").out
    assert "change role HearthVms: +VM.Config.Memory" in made.as_root().went_well().out
    made.alone("pyinfra", "inventory", "deploy.py", "-y").went_well()
    assert made.twin.as_root("GET", "/nodes/pve/lxc/160/config")["memory"] == 384


@pytest.mark.slow
def test_the_whole_default_fleet_is_made_with_the_new_token_and_no_other_right(tmp_path: Path) -> None:
    with unheard_of("rights", tmp_path, PROJECT / "inventory/fleet.yaml") as home:
        home.as_root().went_well()
        deploy = ("env", "-u", "PROXMOX_VE_API_TOKEN", "pyinfra", "inventory", "deploy.py", "-y")
        done = home.run(*deploy, patience=WHOLE).went_well()
        assert {row["status"] for row in done.requests} & {401, 403} == set()
        calls = [row for row in done.requests if row["path"].startswith("/nodes/")]
        assert {row["user"] for row in calls} == {TOKEN, "root@pam"}, "root@pam: the node's own pct"
        made = {
            row["vmid"] for kind in ("lxc", "qemu") for row in home.twin.as_root("GET", f"/nodes/pve/{kind}")
        }
        assert made == {guest.vmid for guest in home.fleet.guests}
        home.run(*deploy).silent()
        said = home.alone("hearth", "doctor").out
        assert f"ok   token: {TOKEN} may do what the fleet needs, and nothing else" in said, said


# ------------------------------------------------------------------ the key, at a real sshd


def over_ssh(home: Home, *arguments: str, program: str = "ssh") -> subprocess.CompletedProcess[str]:
    """An OpenSSH program in the twin with Hearth's key for the node, and nothing else."""
    argv = [
        *("nsenter", f"--net={home.twin.twin.netns_file}", "--", program, "-i", str(node_key(home))),
        *("-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=no", "-oConnectTimeout=5"),
        *("-oUserKnownHostsFile=/dev/null", "-oExitOnForwardFailure=yes", *arguments),
    ]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL, cwd=PROJECT
    )


WHERE = f"root@{NODE}"


def test_the_key_asks_for_devices(made: Bootstrapped) -> None:
    done = over_ssh(made, WHERE, "devices")
    assert done.returncode == 0
    assert "/dev/net/tun" in done.stdout


@pytest.mark.parametrize(
    "command",
    ["", "sh", "pct stop 160", "pct set 160 --memory 64", "pct set 161 --features nesting=1", "devices; id"],
)
def test_the_key_runs_no_other_command(made: Bootstrapped, command: str) -> None:
    done = over_ssh(made, WHERE, *([command] if command else []))
    assert done.returncode == 1
    assert "hearth-node: " in done.stderr
    assert done.stdout == ""


def test_the_key_gets_no_terminal(made: Bootstrapped) -> None:
    done = over_ssh(made, "-tt", WHERE, "sh")
    assert "PTY allocation request failed" in done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize(
    "options", [("-W", "127.0.0.1:22"), ("-N", "-R", "127.0.0.1:9998:127.0.0.1:22"), ("-N", "-w", "any:any")]
)
def test_the_key_forwards_nothing(made: Bootstrapped, options: tuple[str, ...]) -> None:
    done = over_ssh(made, *options, WHERE)
    assert done.returncode == 255
    assert "prohibited" in done.stderr or "failed" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("scp", (f"{WHERE}:/etc/shadow",)),
        ("scp", ("-O", f"{WHERE}:/etc/shadow")),
        ("sftp", (f"{WHERE}:/etc/shadow",)),
    ],
)
def test_the_key_copies_no_files(
    made: Bootstrapped, tmp_path: Path, program: str, arguments: tuple[str, ...]
) -> None:
    done = over_ssh(made, *arguments, str(tmp_path / "stolen"), program=program)
    assert done.returncode != 0
    assert "Connection closed" in done.stderr or "hearth-node: " in done.stderr, done.stderr
    assert not (tmp_path / "stolen").exists()
