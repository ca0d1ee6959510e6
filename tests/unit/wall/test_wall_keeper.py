"""What is read from a fake's stored state, and when it is applied."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from hearth.errors import HearthError
from twin.home import Home, HomeNode, Segment
from twin.pve import Pve
from twin.wall import keeper
from twin.wall.keeper import Keeper, wall_of

NODE = HomeNode(name="pve", address="192.168.1.185", storage="local-lvm", images="local")


class Fake(Pve):
    """A fake with its guests named as the twin's."""

    def everyone(self) -> list[object]:
        return [*self.cts, *self.vms]


@pytest.fixture
def pve() -> Fake:
    pve = Fake()
    pve.add_ct(101, "a", node="pve")
    pve.ct(101).config.update(
        net0="name=eth0,bridge=vmbr0,hwaddr=02:48:00:00:00:65,ip=192.168.1.101/24,ip6=auto,firewall=1",
        net1="name=eth1,bridge=vmbr0,hwaddr=02:48:00:00:01:65,ip=dhcp",
    )
    pve.add_vm(100, "v", node="pve")
    pve.vm(100).config.update(
        net0="virtio=02:48:00:00:00:64,bridge=vmbr0,firewall=1", ipconfig0="ip=192.168.1.100/24"
    )
    for scope, vmid in (("ct", 101), ("vm", 100)):
        pve.firewall_config(scope, "pve", vmid)["options"]["enable"] = 1
    pve.firewall_config("cluster")["options"]["enable"] = 1
    return pve


@pytest.fixture
def home() -> Home:
    lan = Segment(bridge="vmbr0", addresses=["192.168.1.185/24", "192.168.1.1/24"], proxy="192.168.1.1")
    return Home(fleet="", nodes=[NODE], segments=[lan], subnets=[], known=[], images=[], own6=["fd00::fe00"])


def test_guests_and_node_are_read_as_they_are_stored(pve: Fake, home: Home) -> None:
    wall = wall_of(pve, home)
    vm, ct = wall.guests
    assert (vm.vmid, vm.kind, vm.ports[0].device, vm.ports[0].addresses) == (100, "vm", "veth100i0", ())
    assert [(port.index, port.addresses) for port in ct.ports] == [(0, ("192.168.1.101",))]
    node = wall.nodes[0]
    assert node.addresses == (ip_address("192.168.1.185"), ip_address("fd00::fe00"))
    assert (node.network, node.open) == ("192.168.1.0/24", ())


def test_the_proxy_stays_open_where_it_has_the_nodes_own_address(pve: Fake, home: Home) -> None:
    home.segments[0].proxy = NODE.address
    assert wall_of(pve, home).nodes[0].open == (8888,)


def test_it_is_applied_when_something_changed_and_when_time_ran_out(
    pve: Fake, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[str] = []
    monkeypatch.setattr(keeper, "run", lambda *_argv, stdin: applied.append(stdin))
    kept = Keeper(pve, home)
    pve.firewall_config("cluster")["options"]["enable"] = int(pve.now())
    for _ in range(2):
        kept.sync()
    assert len(applied) == 1
    assert kept.state() == {"on": True, "guests": [100, 101], "problem": None}
    pve.ct(101).config["net0"] = pve.ct(101).config["net0"].replace("firewall=1", "firewall=0")
    kept.sync()
    assert "veth101i0" in applied[0]
    assert "veth101i0" not in applied[1]
    pve.clock_ahead = 62
    kept.sync()
    assert "veth100i0" not in applied[2]
    assert kept.state() == {"on": False, "guests": [], "problem": None}


def test_what_nft_refuses_is_said_and_tried_again(
    pve: Fake, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_argv: str, stdin: str) -> None:
        raise HearthError("run nft", "syntax error")

    kept = Keeper(pve, home)
    monkeypatch.setattr(keeper, "run", refuse)
    kept.sync()
    assert kept.state()["problem"] == "syntax error"
    monkeypatch.setattr(keeper, "run", lambda *_argv, stdin: None)
    kept.sync()
    assert kept.state()["problem"] is None
