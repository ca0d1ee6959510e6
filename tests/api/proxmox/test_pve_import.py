"""A live home becomes a fleet file with GETs only; adopting it changes nothing but the tag."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.fleet.loader import load_fleet
from hearth.fleet.model import Fleet
from hearth.proxmox import observe
from hearth.proxmox.guests import converge
from hearth.proxmox.importer import import_fleet
from hearth.proxmox.plan import GuestPlan, Intent, plan_guest
from tests.api.proxmox.conftest import Home

RECORDINGS = Path(__file__).parents[2] / "recordings" / "pve-8.4.21.jsonl"
Told = tuple[str, int, dict[str, Any], dict[str, Any]]


def recorded() -> Iterator[Told]:
    """Every configuration that a real Proxmox told: kind, VMID, values, pending (None: a pending delete)."""
    for line in RECORDINGS.read_text().splitlines():
        row = json.loads(line)
        parts = row["path"].split("/")
        if row["method"] != "GET" or row["status"] != 200 or row.get("params") or len(parts) != 8:
            continue
        data = (row["body"] or {}).get("data")
        if parts[5] not in ("lxc", "qemu") or parts[7] not in ("config", "pending") or not data:
            continue
        yield parts[5], int(parts[6]), *(_rows(data) if parts[7] == "pending" else (_plain(data), {}))


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "digest"}


def _rows(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    values = {row["key"]: row["value"] for row in rows if "value" in row and row["key"] != "digest"}
    pending = {row["key"]: row.get("pending") for row in rows if "pending" in row or row.get("delete")}
    return values, pending


ALL = [told for told in recorded() if "lock" not in told[2]]
LAST = {told[1]: told for told in ALL}


def inhabit(home: Home, told: Told) -> None:
    """Put a recorded guest into the fake."""
    kind, vmid, values, pending = told
    status = "running" if pending else "stopped"
    if kind == "lxc":
        home.pve.add_ct(vmid, node="pve", status=status, config=values, pending=pending, defaults=False)
    else:
        home.pve.add_vm(vmid, values.get("name") or f"VM {vmid}", node="pve", status=status, config=values)
        home.pve.vm(vmid).pending = dict(pending)


def imported(home: Home, tmp_path: Path) -> tuple[Fleet, str]:
    """The fleet that was imported, and its text; nothing but GETs was sent."""
    home.api.requests.clear()
    text = import_fleet(home.api)
    assert set(home.api.requests) == {"GET"}
    if not yaml.safe_load(text)["guests"]:  # everything was left out: the loader asks for a guest
        return Fleet(nodes=(), networks=()), text
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    return load_fleet(path, {}), text


def plans(home: Home, fleet: Fleet, adopt: bool) -> list[GuestPlan]:
    """The plan of every guest of the fleet."""
    view = observe.observe(home.api, "pve")
    made = []
    for guest in fleet.guests:
        seen = view.find(guest.vmid)
        assert seen is not None
        config = observe.read_config(home.api, seen)
        pools = observe.pools(home.api, [guest.pool] if guest.pool else [])
        made.append(plan_guest(Intent(guest, fleet, "pve", adopt=adopt), [view], config, pools))
    return made


def adopts_without_a_change(home: Home, tmp_path: Path) -> tuple[Fleet, str]:
    """Import, adopt, and plan again."""
    fleet, text = imported(home, tmp_path)
    before = {guest.vmid: home.config(guest.vmid) for guest in fleet.guests}
    status = {guest.vmid: home.pve.guest(guest.vmid).status for guest in fleet.guests}
    for plan in plans(home, fleet, adopt=True):
        assert [change.field for change in plan.changes] == ["tags"], text
        assert not plan.starts
        converge(home.api, plan)
    for guest in fleet.guests:
        after = home.config(guest.vmid)
        assert "hearth" in after.pop("tags")
        known = {key: value for key, value in before[guest.vmid].items() if key != "tags"}
        assert after == known
        assert home.pve.guest(guest.vmid).status == status[guest.vmid]
    for plan in plans(home, fleet, adopt=False):
        assert (plan.changes, plan.does_something, plan.refusals) == ((), False, ()), text
    return fleet, text


def test_there_are_recordings() -> None:
    assert len(ALL) > 50 and len(LAST) > 5


def test_the_recorded_home_is_imported_and_adopted_whole(home: Home, tmp_path: Path) -> None:
    for told in LAST.values():
        inhabit(home, told)
    fleet, text = adopts_without_a_change(home, tmp_path)
    templates = {vmid for vmid, told in LAST.items() if told[2].get("template")}
    left = set(LAST) - templates - {guest.vmid for guest in fleet.guests}
    named = {vmid for vmid in left if f"{vmid} (" in text}
    assert left == named, text
    assert len(fleet.guests) >= 4


@pytest.mark.parametrize("number", range(len(ALL)))
def test_every_recorded_configuration_is_adopted_without_a_change(
    home: Home, tmp_path: Path, number: int
) -> None:
    inhabit(home, ALL[number])
    adopts_without_a_change(home, tmp_path)


CARD = "name=eth0,hwaddr=BC:24:11:00:00:01"
ODD = {
    "a name that is no label": {"hostname": "ha.home.arpa"},
    "a name in capitals": {"hostname": "CT500"},
    "a template": {"template": 1},
    "no network card": {"net0": None},
    "its gateway elsewhere": {
        "net0": "name=eth0,bridge=vmbr0,ip=10.1.0.5/24,gw=10.2.0.1,hwaddr=BC:24:11:00:00:01"
    },
    "no subnet": {"net0": "name=eth0,bridge=vmbr0,ip=10.1.0.5/32,hwaddr=BC:24:11:00:00:01"},
    "dhcp and SLAAC": {"net0": "name=eth0,bridge=vmbr0,ip=dhcp,ip6=auto,hwaddr=BC:24:11:00:00:01"},
    "a VLAN and an MTU": {"net0": f"{CARD},bridge=vmbr1,ip=10.1.0.5/24,tag=7,mtu=1400"},
    "the node's address": {"net0": "name=eth0,bridge=vmbr0,ip=192.0.2.11/24,hwaddr=BC:24:11:00:00:01"},
    "a bind mount": {"mp0": "/mnt/media,mp=/media,ro=1"},
    "a bind mount with a slash": {"mp0": "/mnt/media,mp=/media/"},
    "a volume without a limit": {"mp0": "tank:subvol-500-disk-1,mp=/data"},
    "a volume of odd size": {"mp0": "tank:subvol-500-disk-1,mp=/data,backup=1,size=1536K"},
    "a stick and tun": {"dev0": "/dev/serial/by-id/usb-A-if00,gid=20", "dev1": "/dev/net/tun"},
    "another device": {"dev0": "/dev/fuse"},
    "features": {"features": "nesting=1,keyctl=1,mount=nfs;cifs,force_rw_sys=1"},
    "a blank resolver": {"nameserver": " "},
    "two search domains": {"searchdomain": "a.test b.test"},
    "a description": {"description": "line: one\n# two\n\ttab 'quoted' \"too\" ünicode\n"},
    "privileged": {"unprivileged": 0},
    "old tags": {"tags": "Zeta;alpha"},
    "order and delays": {"startup": "order=2,up=30,down=60"},
    "an order alone": {"startup": "3"},
    "more cards": {"net1": "name=eth1,bridge=vmbr1,hwaddr=BC:24:11:00:00:02,type=veth"},
}
ORDINARY = {
    "hostname": "odd",
    "arch": "amd64",
    "ostype": "debian",
    "memory": 512,
    "swap": 0,
    "rootfs": "local-lvm:vm-500-disk-0,size=8G",
    "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:0A,ip=10.0.0.5/24,gw=10.0.0.1,type=veth",
    "unprivileged": 1,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_container_is_adopted_without_a_change_or_left_out(
    home: Home, tmp_path: Path, odd: dict[str, Any]
) -> None:
    config = {key: value for key, value in (ORDINARY | odd).items() if value is not None}
    inhabit(home, ("lxc", 500, config, {}))
    fleet, text = adopts_without_a_change(home, tmp_path)
    assert fleet.guests or "container 500" in text


def test_guests_that_share_what_must_be_ones_own_stay_apart(home: Home, tmp_path: Path) -> None:
    for vmid in (500, 501):
        inhabit(home, ("lxc", vmid, dict(ORDINARY), {}))
    inhabit(home, ("lxc", 502, {**ORDINARY, "hostname": "same-address"}, {}))
    other = str(ORDINARY["net0"]).replace(":0A", ":0B")
    inhabit(home, ("lxc", 503, {**ORDINARY, "hostname": "same-ip", "net0": other}, {}))
    fleet, text = adopts_without_a_change(home, tmp_path)
    assert [guest.name for guest in fleet.guests] == ["odd", "same-address", "same-ip"]
    assert [guest.network is None for guest in fleet.guests] == [False, True, True]
    assert "501 (odd)" in text


def test_guests_of_one_network_share_it(home: Home, tmp_path: Path) -> None:
    for number in range(3):
        net = f"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:0{number},ip=10.0.0.2{number}/24,gw=10.0.0.1"
        inhabit(home, ("lxc", 500 + number, {**ORDINARY, "hostname": f"g{number}", "net0": net}, {}))
    dhcp = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:09,ip=dhcp"
    inhabit(home, ("lxc", 510, {**ORDINARY, "hostname": "roaming", "net0": dhcp}, {}))
    fleet, _ = adopts_without_a_change(home, tmp_path)
    assert [network.name for network in fleet.networks] == ["vmbr0"]
    assert {guest.network for guest in fleet.guests} == {"vmbr0"}


def test_an_empty_node_gives_an_empty_fleet(home: Home) -> None:
    assert yaml.safe_load(import_fleet(home.api))["guests"] == {}


def test_the_pool_is_imported(home: Home, tmp_path: Path) -> None:
    home.pve.pools["home"] = {500}
    home.pve.pool_info["home"] = {"comment": "", "storage": set()}
    inhabit(home, ("lxc", 500, dict(ORDINARY), {}))
    home.pve.ct(500).pool = "home"
    fleet, _ = adopts_without_a_change(home, tmp_path)
    assert fleet.guests[0].pool == "home"
