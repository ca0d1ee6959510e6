"""Which guests a run passes through."""

from __future__ import annotations

from typing import Any

import pytest

from hearth import path
from hearth.fleet.model import Fleet, Guest, Network, Node
from hearth.path import addresses_on_path, guests_on_path

FLEET = Fleet(
    nodes=(Node(name="pve", address="127.0.0.1", endpoint="https://127.0.0.1:9", storage="s", images="i"),),
    networks=(Network(name="lan", bridge="vmbr0"),),
    guests=(
        Guest(name="a", kind="lxc", node="pve", vmid=135, address="192.168.1.135", address6="fd00::135"),
        Guest(name="b", kind="lxc", node="pve", vmid=136, address="192.168.1.136"),
        Guest(name="c", kind="lxc", node="pve", vmid=137, address="dhcp", address6="auto"),
    ),
)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """What `ip` says: by its arguments."""
    answers: dict[str, list[dict[str, Any]]] = {}
    monkeypatch.setattr(path, "_ip", lambda *words: answers.get(" ".join(words), []))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return answers


@pytest.mark.parametrize(
    ("addresses", "names"),
    [
        (["192.168.1.135"], {"a"}),
        (["fd00::135", "192.168.1.136"], {"a", "b"}),
        (["192.168.1.13", "dhcp", "auto", "None"], set()),
        ([], set()),
    ],
)
def test_a_guest_is_on_the_path_by_its_own_address(addresses: list[str], names: set[str]) -> None:
    assert guests_on_path(FLEET, addresses) == names


def test_nobody_is_on_a_path_that_leads_through_nobody(network: dict[str, Any]) -> None:
    network["address"] = [{"addr_info": [{"local": "127.0.0.1"}, {"local": "192.168.1.2"}]}]
    assert guests_on_path(FLEET, addresses_on_path(FLEET)) == set()


def test_a_run_on_a_guest_passes_through_it(network: dict[str, Any]) -> None:
    network["address"] = [
        {"addr_info": [{"local": "127.0.0.1"}]},
        {"addr_info": [{"local": "192.168.1.136"}]},
    ]
    assert guests_on_path(FLEET, addresses_on_path(FLEET)) == {"b"}


@pytest.mark.parametrize("target", ["127.0.0.1", "192.168.1.135", "fd00::135"])
def test_a_gateway_to_a_node_or_a_guest_is_on_the_path(network: dict[str, Any], target: str) -> None:
    network[f"route get {target}"] = [{"dst": target, "gateway": "192.168.1.136"}]
    assert guests_on_path(FLEET, addresses_on_path(FLEET)) == {"b"}


def test_the_admins_ssh_session_is_on_the_path(
    network: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.168.1.135 50000 192.168.1.2 22")
    assert guests_on_path(FLEET, addresses_on_path(FLEET)) == {"a"}


def test_the_real_tool_knows_this_machines_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shape of `ip -json` is not only the stub's."""
    if not path._ip("address"):
        monkeypatch.setattr(path.shutil, "which", lambda name: "/nonexistent/ip")
        assert addresses_on_path(FLEET) is not None
    else:
        assert "127.0.0.1" in addresses_on_path(FLEET)


def test_without_the_tool_the_ssh_session_alone_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path.shutil, "which", lambda name: "/nonexistent/ip")
    monkeypatch.setenv("SSH_CONNECTION", "192.168.1.135 50000 192.168.1.2 22")
    assert addresses_on_path(FLEET) == {"192.168.1.135"}
