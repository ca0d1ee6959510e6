"""What changes in the fleet file changes on real guests: planned with its kind, applied, then silent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.twin.annex_kit import fleet_of
from tests.twin.handle import NODE, TwinHandle, until
from tests.twin.home_kit import Home
from tests.twin.test_twin_guests import disk_mib, memory
from twin.down import down
from twin.home import PROJECT
from twin.state import Twin

PLAIN: dict[str, Any] = {
    "kind": "lxc",
    "appliance": True,  # nothing inside is Hearth's: such runs are short
    "network": "lan",
    "address": "192.168.1.160",
    "image": "debian-12",
    "unprivileged": True,
    "features": {"nesting": True},
    "cores": 1,
    "memory": "256 MiB",
    "disk": "4 GiB",
    "tags": ["one"],
}
MACHINE: dict[str, Any] = {
    "kind": "vm",
    "appliance": True,
    "network": "lan",
    "address": "192.168.1.161",
    "image": "debian-12-cloud",
    "cores": 1,
    "memory": "512 MiB",
    "disk": "4 GiB",
}


@pytest.fixture(scope="module")
def small(twin: TwinHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A container and a VM that stands in for one, deployed."""
    place = tmp_path_factory.mktemp("small")
    home = Home(twin, place).with_fleet(place, fleet_of(plain=PLAIN, machine=MACHINE))
    for kind, vmid in (("lxc", 160), ("qemu", 161)):
        twin.remove(kind, vmid)
    home.deploy().went_well()
    yield home
    for kind, vmid in (("lxc", 160), ("qemu", 161)):
        twin.remove(kind, vmid)


def changed(home: Home, place: Path, name: str, **keys: Any) -> Home:
    """The fleet file with other keys of a guest, which later tests find too."""
    other = home.with_guest(place, name, **keys)
    home.fleet_file.write_text(other.fleet_file.read_text())
    return home


def test_live_changes_reach_the_running_guest(small: Home, tmp_path: Path) -> None:
    boot = small.said("plain", "cat /proc/sys/kernel/random/boot_id")
    home = changed(
        *(small, tmp_path, "plain"),
        cores=2,
        memory="384 MiB",
        disk="5 GiB",
        tags=["one", "two"],
        description="changed",
        mounts={"mp0": {"path": "/srv/data", "size": "1 GiB"}},
    )
    done = home.dry("--limit", "plain")
    for line in (
        "cores: 1 -> 2 (live)",
        "memory: 256 -> 384 MiB (live)",
        "disk: 4 -> 5 GiB (live)",
        "tags: hearth, one -> hearth, one, two (live)",
        "mp0: none -> /srv/data 1 GiB (live)",
    ):
        assert line in done.text, done.text
    home.deploy("--limit", "plain").went_well()

    config = home.config("plain")
    assert (config["cores"], config["memory"], config["tags"]) == (2, 384, "hearth;one;two")
    assert "size=5G" in config["rootfs"]
    assert config["description"].strip() == "changed"
    assert memory(home.twin, 160) == 384
    assert home.said("plain", "nproc") == str(min(2, os.cpu_count() or 1))
    assert disk_mib(home.door, home.address("plain")) == pytest.approx(5 * 1024, abs=120)
    assert home.said("plain", "cat /proc/sys/kernel/random/boot_id") == boot
    assert home.volumes(160) == {"local-lvm:vm-160-disk-0", "local-lvm:vm-160-disk-1"}
    home.deploy("--limit", "plain").silent()


def test_a_disk_never_shrinks(small: Home, tmp_path: Path) -> None:
    done = small.with_guest(tmp_path, "plain", disk="3 GiB").deploy("--limit", "plain")
    assert done.refused("disk would shrink from 5 to 3 GiB").writes == []


def test_a_replacement_is_never_made_unasked(small: Home, tmp_path: Path) -> None:
    other = small.with_guest(tmp_path, "plain", unprivileged=False)
    done = other.deploy("--limit", "plain")
    assert done.refused("unprivileged: yes -> no (needs a replacement)", "--data replace=plain").writes == []


@pytest.fixture(scope="module")
def trusted(small: Home) -> Home:
    """The node has Hearth's key, installed as an admin does it."""
    small.trust_node_key()
    return small


def test_what_waits_for_a_restart_shows_at_every_run_until_it_is_allowed(
    trusted: Home, tmp_path: Path
) -> None:
    boot = trusted.said("plain", "cat /proc/sys/kernel/random/boot_id")
    home = changed(
        *(trusted, tmp_path, "plain"), restart="never", features={"nesting": True, "keyctl": True}, tun=True
    )
    for _ in range(2):
        kinds = home.changes("plain")
        assert kinds["features"] == "restart"
        assert kinds["dev0"] == "restart"
        home.deploy("--limit", "plain").went_well()
    assert home.said("plain", "cat /proc/sys/kernel/random/boot_id") == boot
    assert home.ends("plain", "test -c /dev/net/tun") != 0

    changed(home, tmp_path, "plain", restart="allowed")
    assert "restart" in home.dry("--limit", "plain").text
    home.deploy("--limit", "plain").went_well()
    assert home.said("plain", "cat /proc/sys/kernel/random/boot_id") != boot
    # The twin shows a new mount point from the next start on; Proxmox at once.
    assert disk_mib(home.door, home.address("plain"), "/srv/data") == pytest.approx(1024, abs=80)
    assert home.said("plain", "ip tuntap add mode tun t0 && ip -br link show t0").startswith("t0")
    assert "keyctl=1" in home.config("plain")["features"]
    home.deploy("--limit", "plain").silent()


def test_the_nodes_key_can_do_nothing_else(trusted: Home) -> None:
    key = trusted.place / "node_key"
    key.touch(mode=0o600)
    key.write_text(trusted.secret("ssh/node"))
    ssh = ("ssh", "-i", str(key), "-oBatchMode=yes", "-oStrictHostKeyChecking=no")
    for command in ("sh", "pct stop 160", "pct set 160 --memory 64"):
        done = trusted.run(*ssh, "-oUserKnownHostsFile=/dev/null", f"root@{NODE}", command)
        done.refused("hearth-node: ")
    assert trusted.config("plain")["memory"] == 384


@pytest.mark.slow
def test_a_machines_memory_waits_and_its_disk_grows_at_once(small: Home, tmp_path: Path) -> None:
    home = changed(small, tmp_path, "machine", memory="640 MiB", disk="5 GiB")
    assert home.changes("machine") == {"memory": "restart", "disk": "live"}
    home.deploy("--limit", "machine").went_well()
    assert home.changes("machine") == {"memory": "restart"}
    assert memory(home.twin, 161) == 512
    assert "size=5G" in home.config("machine")["scsi0"]
    changed(home, tmp_path, "machine", restart="allowed")
    home.deploy("--limit", "machine").went_well()
    until(lambda: memory(home.twin, 161) == 640 or None)
    home.deploy("--limit", "machine").silent()


# ------------------------------------------------------------------- teardown


def teardown(home: Home, *options: str) -> Any:
    """`pyinfra inventory teardown.py -y`."""
    return home.run("pyinfra", "inventory", "teardown.py", "-y", *options)


def test_a_protected_guest_is_neither_torn_down_nor_replaced(small: Home, tmp_path: Path) -> None:
    home = changed(small, tmp_path, "machine", protection=True)
    home.deploy("--limit", "machine").went_well()
    assert home.config("machine")["protection"] == 1
    assert teardown(home, "--data", "destroy=machine").refused("it is protected").writes == []
    replaced = home.deploy("--data", "replace=machine")
    assert replaced.refused("it is protected").writes == []
    assert home.status("machine") == "running"
    changed(home, tmp_path, "machine", protection=False)
    home.deploy("--limit", "machine").went_well()


def test_teardown_destroys_whom_it_is_told_to_and_nobody_else(small: Home) -> None:
    assert teardown(small).refused("no guest is named").writes == []
    assert teardown(small, "--data", "destroy=nobody").refused("nobody").writes == []
    before = small.vmids()
    assert teardown(small, "--data", "destroy=machine").code == 0
    assert small.vmids() == before - {161}
    assert small.volumes(161) == set()
    assert teardown(small, "--data", "destroy=machine").silent().writes == []


# ------------------------------------------------------------------- the bridge


@pytest.fixture
def two_bridges(tmp_path: Path, twin: TwinHandle) -> Iterator[Home]:
    """A twin of its own, whose node has two bridges."""
    content = fleet_of(plain={**PLAIN, "address": "192.168.2.160"})
    content["networks"] = {
        "lan": {"bridge": "vmbr0", "subnet": "192.168.1.0/24", "gateway": "192.168.1.1"},
        "other": {"bridge": "vmbr1", "subnet": "192.168.2.0/24", "gateway": "192.168.2.1"},
        "both": {"bridge": "vmbr0", "subnet": "192.168.2.0/24"},
    }
    content["guests"]["plain"]["network"] = "both"
    (tmp_path / "fleet.yaml").write_text("")
    state = Twin.named(f"{twin.twin.name}-b")
    handle = TwinHandle(state, twin.key)
    home = Home(handle, tmp_path).with_fleet(tmp_path, content)
    argv = [sys.executable, "-m", "twin", "--name", state.name, "up"]
    env = {**os.environ, "HEARTH_FLEET": str(home.fleet_file), "HEARTH_TWIN_HOME": str(twin.twin.home)}
    done = subprocess.run(
        argv, cwd=PROJECT, env=env, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield home
    handle.close()
    down(state)


@pytest.mark.slow
def test_a_guest_moves_to_another_bridge(two_bridges: Home, tmp_path: Path) -> None:
    home = two_bridges
    home.deploy().went_well()
    assert "bridge=vmbr0" in home.config("plain")["net0"]
    changed(home, tmp_path, "plain", network="other")
    kinds = home.changes("plain")
    assert kinds["bridge"] == "live"
    home.deploy().went_well()
    config = home.config("plain")
    assert "bridge=vmbr1" in config["net0"]
    assert "hwaddr=02:48:00:00:00:A0" in config["net0"]
    assert home.said("plain", "ip route show default").startswith("default via 192.168.2.1")
    home.deploy().silent()
