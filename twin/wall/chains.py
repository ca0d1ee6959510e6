"""The chains of guests, security groups and nodes for one version of IP. Pure.

Source: `ruleset_create_vm_chain`, `ruleset_generate_vm_rules`, `generate_group_rules`, `enable_host_firewall`
and `ruleset_add_chain_policy` in PVE/Firewall.pm. Nothing is logged; IPS queues and conntrack helpers are not
made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twin.pve.firewall import verified
from twin.wall import matches
from twin.wall.sets import version_of
from twin.wall.standard import ACCEPT_CHAIN, ACCEPTED, Chains, standard
from twin.wall.state import Conf, Guest, Node, Port, Wall

_MANAGEMENT = ("8006", "5900-5999", "3128", "22", "60000-60050")
_LOCAL = ("8006", "22", "5900-5999", "3128")
_SOLICITATION, _ADVERTISEMENT, _NEIGHBOURS = "icmpv6 type 133", "icmpv6 type 134", ("135", "136")


@dataclass(frozen=True)
class Place:
    """Where a rule stands: its file and what kind that is, the chain's direction and its word for yes.

    `owner` is the VMID whose file it is; 0 for cluster, groups and nodes.
    """

    conf: Conf
    scope: str
    direction: str
    accept: str
    owner: int = 0


class Table:
    """The chains of one version, as they are made."""

    def __init__(self, wall: Wall, version: int) -> None:
        self.wall = wall
        self.version = version
        self.family = "ip" if version == 4 else "ip6"  # noqa: PLR2004
        self.chains: Chains = standard(version)

    # ---------------------------------------------------------------- guests

    def guest(self, guest: Guest, port: Port) -> None:
        """Make both chains of an interface: DEVICE-IN for what goes to the guest, DEVICE-OUT for the rest."""
        options = guest.conf["options"]
        for direction, default in (("IN", "DROP"), ("OUT", "ACCEPT")):
            accept = "accept" if direction == "IN" else f"goto {ACCEPT_CHAIN}"
            chain = [*self._dhcp(options, direction, accept)]
            if direction == "OUT":
                chain += self._origin(guest, port)
            chain += self._ndp(options, direction, accept)
            for rule in guest.conf["rules"]:
                if rule.get("iface") in (None, "", f"net{port.index}"):
                    chain += self._rule(rule, Place(guest.conf, guest.kind, direction, accept, guest.vmid))
            policy = str(options.get(f"policy_{direction.lower()}") or default)
            self.chains[f"{port.device}-{direction}"] = [*chain, *self._policy(policy, accept)]

    def _dhcp(self, options: dict[str, Any], direction: str, accept: str) -> list[str]:
        if str(options.get("dhcp", 1)) == "0":
            return []
        client, server = ("68", "67") if self.version == 4 else ("546", "547")  # noqa: PLR2004
        sport, dport = (client, server) if direction == "OUT" else (server, client)
        return [f"udp sport {sport} udp dport {dport} {accept}"]

    def _origin(self, guest: Guest, port: Port) -> list[str]:
        """What a guest may not send: others' MAC addresses, router advertisements, others' addresses."""
        options, found = guest.conf["options"], []
        if port.mac and str(options.get("macfilter", 1)) != "0":
            found.append(f"ether saddr != {port.mac.lower()} drop")
        if self.version == 6 and not options.get("radv"):  # noqa: PLR2004
            found.append(f"{_ADVERTISEMENT} drop")
        name = f"ipfilter-net{port.index}"
        if options.get("ipfilter") or name in guest.conf["ipset"]:
            found.append(f"{self.family} saddr != @{matches.set_name(guest.vmid, name)} drop")
        return found

    def _ndp(self, options: dict[str, Any], direction: str, accept: str) -> list[str]:
        if self.version == 4 or str(options.get("ndp", 1)) == "0":  # noqa: PLR2004
            return []
        advertise = direction != "OUT" or options.get("radv")
        return [
            f"{_SOLICITATION} {accept}",
            *([f"{_ADVERTISEMENT} {accept}"] if advertise else []),
            *(f"icmpv6 type {number} {accept}" for number in _NEIGHBOURS),
        ]

    # ----------------------------------------------------------------- rules

    def _rule(self, rule: dict[str, Any], at: Place) -> list[str]:
        """One stored rule in a chain; none where it is off, wrong, of another direction or version."""
        rule, errors = verified(rule, self.wall.cluster, at.conf, at.scope)
        if not rule.get("enable") or errors or rule.get("ipversion") not in (None, self.version):
            return []
        iface = _device(rule) if at.scope in ("host", "cluster") else None
        where = f"{'iifname' if at.direction == 'IN' else 'oifname'} {{ {iface} }} " if iface else ""
        if rule["type"] == "group":
            # pve-firewall's group chains only mark what they accept; the mark is read where they return.
            verdict = "return" if at.accept.startswith("goto") else at.accept
            jump = f"{where}jump {self._group(rule['action'], at.direction)}"
            return [jump, f"meta mark & {ACCEPTED:#x} == {ACCEPTED:#x} {verdict}"]
        if rule["type"] != at.direction.lower():
            return []
        verdict = {"ACCEPT": at.accept, "REJECT": "jump PVEFW-reject", "DROP": "drop"}[rule["action"]]
        try:
            found = matches.lines(rule, self.version, self.wall.cluster, at.conf, at.owner)
        except matches.Unfit:
            return []
        return [f"{where}{match} {verdict}".replace("  ", " ").strip() for match in found]

    def _group(self, name: str, direction: str) -> str:
        """The chain of a security group; a group that does not exist is an empty one."""
        chain = f"GROUP-{name}-{direction}"
        if chain not in self.chains:
            self.chains[chain] = [f"meta mark set meta mark & {ACCEPTED ^ 0xFFFFFFFF:#x}"]
            at = Place(self.wall.cluster, "group", direction, f"goto {ACCEPT_CHAIN}")
            for rule in self.wall.cluster["groups"].get(name, []):
                self.chains[chain] += self._rule(rule, at)
        return chain

    def _policy(self, policy: str, accept: str) -> list[str]:
        return {
            "ACCEPT": [accept],
            "DROP": ["jump PVEFW-Drop", "drop"],
            "REJECT": ["jump PVEFW-Reject", "goto PVEFW-reject"],
        }[policy]

    # ----------------------------------------------------------------- nodes

    def node(self, node: Node, number: int) -> None:
        """Make a node's chains. `return` is a yes there, as in pve-firewall."""
        options, cluster = node.conf["options"], self.wall.cluster
        for direction, default in (("IN", "DROP"), ("OUT", "ACCEPT")):
            chain = [*self.tracked(allow_invalid=False), *self._ndp(options, direction, "return")]
            if direction == "IN":
                chain = [*(f"tcp dport {port} accept" for port in node.open), *chain]
                chain += self.input_filters(options)
            chain += ["meta l4proto 2 return"]
            for conf, scope in ((node.conf, "host"), (cluster, "cluster")):
                for rule in conf["rules"]:
                    chain += self._rule(rule, Place(conf, scope, direction, "return"))
            chain += self._management(node, direction)
            policy = str(cluster["options"].get(f"policy_{direction.lower()}") or default)
            self.chains[f"PVEFW-HOST-{direction}-{number}"] = [*chain, *self._policy(policy, "return")]

    def _management(self, node: Node, direction: str) -> list[str]:
        if direction == "IN":
            name = matches.set_name(0, "management")
            return [f"{self.family} saddr @{name} tcp dport {port} return" for port in _MANAGEMENT]
        network = local_network(self.wall.cluster, node)
        if version_of(network) != self.version:
            return []
        return [f"{self.family} daddr {network} tcp dport {port} return" for port in _LOCAL]

    def tracked(self, allow_invalid: bool) -> list[str]:
        """What connection tracking decides before any rule."""
        return [*([] if allow_invalid else ["ct state invalid drop"]), "ct state established,related accept"]

    def input_filters(self, options: dict[str, Any]) -> list[str]:
        """`ruleset_chain_add_input_filters`: the blacklist, smurfs, TCP flags."""
        found = []
        if "blacklist" in self.wall.cluster["ipset"]:
            found.append(f"{self.family} saddr @{matches.set_name(0, 'blacklist')} drop")
        if self.version == 4 and str(options.get("nosmurfs", 1)) != "0":  # noqa: PLR2004
            found.append("ct state invalid,new jump PVEFW-smurfs")
        if options.get("tcpflags"):
            found.append("meta l4proto tcp jump PVEFW-tcpflags")
        return found


def local_network(cluster: Conf, node: Node) -> str:
    """What `local_network` means: an alias of that name, or the network of the node's address."""
    alias = cluster["aliases"].get("local_network")
    return str(alias["cidr"]) if alias else node.network


def _device(rule: dict[str, Any]) -> str | None:
    """The node's interface of a rule. What the twin's own commands send arrives over `lo`."""
    return f'"{rule["iface"]}", "lo"' if rule.get("iface") else None
