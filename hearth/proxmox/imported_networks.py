"""The networks of an imported fleet: as few as say all that the guests' cards and addresses say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from typing import Any

from hearth.proxmox.imported import Draft

Interface = IPv4Interface | IPv6Interface
ANY = "*"  # a guest that does not care
_KEYS = ("bridge", "vlan", "mtu", "subnet", "gateway", "subnet6", "gateway6", "resolver", "domain")
_WORDS = {"manual": "", "dhcp": "dhcp", "auto": "auto"}


@dataclass
class Networks:
    """The networks so far; `taken`: addresses that no guest of the file may have."""

    taken: set[str]
    found: list[dict[str, str]] = field(default_factory=list)
    macs: set[str] = field(default_factory=set)

    def join(self, made: Draft) -> None:
        """Put a guest into a network that says the same of it, or into a new one.

        A guest whose card or address the file cannot say gets no network: Hearth then leaves both alone.
        """
        if made.left_out or not made.network:
            return
        try:
            wanted, own = _read(made.network)
            self._check(own, wanted)
        except ValueError as error:
            made.comments.append(f"its network stays as it is: {error}")
            return
        place = next((n for n, there in enumerate(self.found) if _fits(there, wanted)), None)
        if place is None:
            self.found.append(wanted)
            place = len(self.found) - 1
        self.found[place] = {key: _known(self.found[place][key], wanted[key]) for key in _KEYS}
        self.macs.add(own["mac"])
        self.taken |= {
            value for key, value in own.items() if key.startswith("address") and value not in _WORDS
        }
        made.fields["network"] = self.name(place)
        made.fields |= own

    def name(self, place: int) -> str:
        """The network's name: its bridge's, with its VLAN, and a number from the second one on."""
        mine = self.found[place]
        base = mine["bridge"] + (f"-vlan{mine['vlan']}" if mine["vlan"] else "")
        same = [n for n, other in enumerate(self.found[:place]) if _base(other) == _base(mine)]
        return f"{base}-{len(same) + 1}" if same else base

    def sections(self) -> dict[str, dict[str, Any]]:
        """The section `networks` of the file."""
        return {self.name(n): _section(network) for n, network in enumerate(self.found)}

    def _check(self, own: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        if own["mac"] in self.macs:
            raise ValueError(f"another guest has the MAC address {own['mac']}")
        gateways = {network[key] for network in [*self.found, wanted] for key in ("gateway", "gateway6")}
        for key in ("address", "address6"):
            if own.get(key) in self.taken | (gateways - {"", ANY}):
                raise ValueError(f"its address {own[key]} is somebody else's too")
        mine = {own.get("address"), own.get("address6")} - set(_WORDS) - {None}
        if mine & gateways:
            raise ValueError(f"its address {mine.pop()} is a gateway")


def _base(network: Mapping[str, str]) -> tuple[str, str]:
    return network["bridge"], network["vlan"]


def _read(net: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What its network must say, and what it says itself; ValueError where the file cannot say it."""
    if "mac" not in net:
        raise ValueError("its card has no MAC address")
    wanted = dict.fromkeys(_KEYS, ANY) | {key: net.get(key, "") for key in ("bridge", "vlan", "mtu")}
    if wanted["mtu"] == "1":
        raise ValueError("its MTU is the bridge's")
    own = {"mac": net["mac"].upper()}
    for suffix, interface in (("", IPv4Interface), ("6", IPv6Interface)):
        text = net.get(f"address{suffix}", "")
        if text in ("", *_WORDS):
            own |= {f"address{suffix}": text} if _WORDS.get(text) else {}
            continue
        gateway = net.get(f"gateway{suffix}", "")
        address = _fixed(interface(text), text, gateway)
        own[f"address{suffix}"] = str(address.ip)
        wanted |= {
            f"subnet{suffix}": str(address.network),
            f"gateway{suffix}": net.get(f"gateway{suffix}", ""),
        }
    if "resolver" in net:
        for address_text in net["resolver"].split():
            ip_address(address_text)
        if len(net["domain"].split()) > 1:
            raise ValueError("it has several search domains")
        wanted |= {"resolver": net["resolver"], "domain": net["domain"]}
    return wanted, own


def _fixed(address: Interface, text: str, gateway: str) -> Interface:
    if "/" not in text or address.network.prefixlen >= address.max_prefixlen - 1:
        raise ValueError(f"its address {text} has no subnet")
    if address.ip in (address.network.network_address, address.network.broadcast_address):
        raise ValueError(f"its address {text} is the subnet's own")
    if gateway and ip_address(gateway) not in address.network:
        raise ValueError(f"its gateway {gateway} is outside its subnet")
    return address


def _fits(there: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(ANY in (there[key], wanted[key]) or there[key] == wanted[key] for key in _KEYS)


def _known(there: str, wanted: str) -> str:
    return wanted if there == ANY else there


def _section(network: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {key: value for key, value in network.items() if value not in ("", ANY)}
    for key in ("vlan", "mtu"):
        if key in said:
            said[key] = int(said[key])
    if "resolver" in said:
        said["resolver"] = said["resolver"].split()
    return said
