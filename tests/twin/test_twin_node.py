"""The node itself: log and faults of its API, its SSH with Hearth's wrapper, commands run in the twin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.twin.handle import NODE, TwinHandle, new_key, until
from tests.twin.wall_kit import check, stranger
from twin.commands import run
from twin.home import PROJECT
from twin.state import read_json


@pytest.fixture(scope="module")
def trusted(twin: TwinHandle, tmp_path_factory: pytest.TempPathFactory) -> TwinHandle:
    """The twin, whose node trusts the session's key for the wrapper."""
    assert twin.command("trust-node-key", str(twin.key.with_suffix(".pub"))).returncode == 0
    return twin


def test_up_again_changes_nothing_that_runs(twin: TwinHandle) -> None:
    before = read_json(twin.twin.private / "processes.json")
    done = twin.command("up")
    assert done.returncode == 0, done.stderr
    assert read_json(twin.twin.private / "processes.json") == before
    assert twin.command("status").returncode == 0


# What cannot be had here as a home has it, and a word that admits it.
STAND_INS = {
    "QEMU": "VM is a container",
    "images": "nothing is downloaded or verified",
    "Home Assistant OS": "Home Assistant OS",
    "Vaultwarden": "Vaultwarden's image is a stand-in",
    "radio": "no radio",
    "push": "no push cloud",
    "vendors": "no vendor clouds",
}


@pytest.mark.parametrize("what", STAND_INS)
def test_status_names_the_stand_ins(twin: TwinHandle, what: str) -> None:
    assert STAND_INS[what] in twin.command("status").stdout


def test_exec_passes_on_exit_code_environment_and_directory(twin: TwinHandle, tmp_path: Path) -> None:
    assert twin.exec("sh", "-c", "exit 23").returncode == 23
    said = twin.exec(
        "sh", "-c", "echo $PROXMOX_VE_ENDPOINT; pwd; command -v pyinfra", http_proxy="http://x:1"
    )
    endpoint, where, pyinfra = said.stdout.split()
    assert endpoint == f"https://{NODE}:8006"
    assert where == str(PROJECT)
    assert Path(pyinfra).parent == Path(sys.executable).parent
    environment = twin.exec("env", http_proxy="http://x:1", HEARTH_FLEET=str(tmp_path)).stdout
    assert "http_proxy" not in environment
    assert f"HEARTH_FLEET={tmp_path}" in environment
    for name in ("HEARTH_SECRETS", "HEARTH_PHONES", "HEARTH_AGE_KEY_FILE", "HEARTH_STATE_DIR"):
        assert f"{name}={twin.twin.private}/" in environment


def test_exec_hands_signals_to_the_command(twin: TwinHandle) -> None:
    argv = [sys.executable, "-m", "twin", "--name", twin.twin.name, "exec", "--", "sh", "-c"]
    script = "trap 'echo got it; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([*argv, script], stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "got it\n"
    assert process.returncode == 7


def test_the_log_shows_method_path_and_status(twin: TwinHandle) -> None:
    twin.api("GET", "/version")
    last = twin.log()[-1]
    assert (last["method"], last["path"], last["status"]) == ("GET", "/version", 200)


def test_a_fault_is_applied_listed_and_cleared(twin: TwinHandle) -> None:
    assert twin.command("fault", "no-such-fault").returncode == 1
    assert twin.command("fault", "offline", "NODE=pve").returncode == 0
    try:
        assert "active: offline" in twin.command("fault", "list").stdout
        with pytest.raises(requests.HTTPError, match="595"):
            twin.api("GET", "/nodes/pve/lxc")
    finally:
        assert twin.command("fault", "clear").returncode == 0
    assert twin.api("GET", "/nodes/pve/lxc") is not None


def test_the_node_runs_the_wrapper_and_nothing_else(trusted: TwinHandle, guest: Callable[..., str]) -> None:
    guest(241, start=False)
    assert "/dev/net/tun" in trusted.said(NODE, "devices")
    for refused in ("sh", "pct stop 241", "pct set 241 --memory 64", ""):
        assert trusted.ssh(NODE, *([refused] if refused else [])).returncode == 1


def test_tun_comes_through_the_wrapper_and_works(trusted: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(242, start=False)
    with pytest.raises(requests.HTTPError, match="403"):
        trusted.api("PUT", "/nodes/pve/lxc/242/config", dev0="/dev/net/tun,mode=0666")
    trusted.said(NODE, "pct set 242 --dev0 /dev/net/tun,mode=0666")
    trusted.task("POST", "/nodes/pve/lxc/242/status/start")
    assert trusted.said(address, "ip tuntap add mode tun t0 && ip -br link show t0").startswith("t0")


def test_a_directory_of_the_node_is_mounted(trusted: TwinHandle, guest: Callable[..., str]) -> None:
    address = guest(243, start=False)
    place = Path(f"/srv/hearth-test-{os.getpid()}")
    place.mkdir()
    try:
        (place / "file").write_text("of the node")
        trusted.said(NODE, f"pct set 243 --mp0 {place},mp=/mnt/node,ro=1")
        trusted.task("POST", "/nodes/pve/lxc/243/status/start")
        assert trusted.said(address, "cat /mnt/node/file") == "of the node"
        assert trusted.ssh(address, "touch /mnt/node/other").returncode != 0
    finally:
        (place / "file").unlink()
        place.rmdir()


def test_a_stranger_does_not_get_into_the_node(trusted: TwinHandle, tmp_path: Path) -> None:
    stranger = new_key(tmp_path)
    done = trusted.exec(
        *("ssh", "-i", str(stranger), "-oBatchMode=yes", "-oStrictHostKeyChecking=no"),
        *("-oUserKnownHostsFile=/dev/null", f"root@{NODE}", "devices"),
    )
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


def test_a_killed_api_process_continues_with_the_same_guests(
    twin: TwinHandle, guest: Callable[..., str]
) -> None:
    address = guest(244)
    before = twin.said(address, "cat /proc/sys/kernel/random/boot_id")
    pid = read_json(twin.twin.private / "processes.json")["api"]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: twin.command("status").returncode == 1 or None)
    assert twin.command("up").returncode == 0
    assert twin.api("GET", "/nodes/pve/lxc/244/status/current")["status"] == "running"
    assert twin.said(address, "cat /proc/sys/kernel/random/boot_id") == before


def test_a_guest_whose_monitor_is_killed_shows_as_stopped_and_starts(
    twin: TwinHandle, guest: Callable[..., str]
) -> None:
    from twin import cgroups

    address = guest(245)
    for pid in cgroups.members(f"{twin.twin.cgroup}/245/monitor"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: twin.api("GET", "/nodes/pve/lxc/245/status/current")["status"] == "stopped" or None)
    twin.task("POST", "/nodes/pve/lxc/245/status/start")
    assert twin.said(address, "hostname") == "ct245"


def test_a_port_that_leaves_the_bridge_takes_the_node_from_nobody(twin: TwinHandle) -> None:
    """As on a real node, whose bridge keeps its MAC."""
    door = ("tcp", NODE, 8006)
    with stranger(twin.twin, 77) as machine:
        ip = ("ip", "-n", twin.twin.netns, "link")
        run(*ip, "add", "lowest", "address", "00:00:00:00:00:01", "type", "veth", "peer", "name", "other")
        try:
            run(*ip, "set", "lowest", "master", "vmbr0", "up")
            check(machine, [(door, "open")])
        finally:
            run(*ip, "del", "lowest")
        assert machine.knock([door]) == ["open"]
