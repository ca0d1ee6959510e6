"""A home with four guests, its firewall untouched."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from firewall_home import HERE, FirewallHome, a_fleet, all_guests

from hearth import walls
from hearth.firewall.sources import ip_network
from hearth.proxmox.firewall import probe
from twin.pve import Pve, Server


@pytest.fixture
def home(
    pve: Pve,
    pve_server: Server,
    pve_env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> FirewallHome:
    """The home; this machine is HERE, and probes ask the judge."""
    made = _furnished(FirewallHome(pve, pve_server, pve_env, tmp_path / "state", a_fleet(*all_guests())))
    monkeypatch.setattr(walls, "addresses_towards", lambda fleet: [ip_network(made.here).network_address])
    monkeypatch.setattr(probe, "answering", made.answering)
    assert made.here == HERE
    return made


@pytest.fixture
def fresh_home(
    home: FirewallHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], FirewallHome]:
    """Another home on the same fake, which is as it was at first; the homes before it are over."""
    places = count()

    def make() -> FirewallHome:
        home.server.call(lambda: home.pve.__dict__.pop("_fw_state", None))
        place = tmp_path / f"state-{next(places)}"
        made = FirewallHome(home.pve, home.server, home.env, place, home.fleet)
        monkeypatch.setattr(probe, "answering", made.answering)
        return made

    return make


def _furnished(home: FirewallHome) -> FirewallHome:
    home.place.mkdir()
    for guest in home.fleet.guests:
        home.server.call(partial(_make, home.pve, guest.vmid, guest.name))
    return home


def _make(pve: Pve, vmid: int, name: str) -> None:
    net = (
        f"name=eth0,bridge=vmbr0,hwaddr=02:48:00:00:00:{vmid:02X},ip=192.168.1.{vmid}/24,ip6=fd00::{vmid}/64"
    )
    config = {"hostname": name, "tags": "hearth", "net0": f"{net},type=veth", "unprivileged": 1}
    pve.add_ct(vmid, name, node="pve", config=config, status="running")
