"""Correction: the firewall's configuration as Proxmox reads it back from its files.

Recordings 109-194, 803, 804. Source: PVE/Firewall.pm (`parse_clusterfw_option`, `generic_fw_config_parser`,
`$format_rules`, `$format_ipsets`, `$apply_macro`) and PVE/API2/Firewall/*.pm of pve-firewall 6.0. Every write
goes to a file and every read parses it: what a line cannot hold is gone, names come back in lower case, an
expired `enable` is 0, and a rule whose reference is gone says so in `errors`.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from typing import Any

from fakepve import FakePve, PveError
from fakepve import firewall as fake
from fakepve.routing import param_error

from twin.pve.macros import macro_rules

#: Seconds that the cluster's `enable` holds where it is a time (`parse_clusterfw_option`).
DEAD_MAN = 60
#: What a rule of type `group` keeps in its line (`$format_rules`).
_GROUP_KEYS = ("type", "action", "iface", "enable", "comment")
#: The daemon's log file where nothing was logged yet (recordings 185, 191).
_NO_LOG = {"n": 1, "t": "unable to open file - No such file or directory"}

#: What fakepve's list of macros lacks (recording 168).
_MORE_MACROS = {
    "DHCPv6": "DHCPv6 traffic",
    "NeighborDiscovery": "IPv6 neighbor solicitation, neighbor and router advertisement",
}
# fakepve looks macros up in module tables; there is no method to override.
fake.MACROS.update(_MORE_MACROS)
fake.MACRO_NAMES.update({name.lower(): name for name in _MORE_MACROS})


class Firewall(FakePve):
    """The firewall's API. `clock_ahead` moves its clock forward: seconds beyond this machine's."""

    clock_ahead: float = 0

    def now(self) -> float:
        """The node's time: Unix seconds."""
        return time.time() + self.clock_ahead

    def firewall_config(self, scope: str, node: str | None = None, vmid: int | None = None) -> dict[str, Any]:
        """A stored configuration, as a reader of its file sees it now.

        Args:
            scope: "cluster", "group", "host" or "vm" or "ct".
            node: the node, for "host".
            vmid: the guest, for "vm" and "ct".
        """
        conf: dict[str, Any] = super().firewall_config(scope, node, vmid)
        if scope in ("cluster", "group"):
            enable = conf["options"].get("enable", 0)
            if enable > 1 and int(self.now()) - enable > DEAD_MAN:  # Perl's time() counts whole seconds
                conf["options"]["enable"] = 0
        return conf

    def rule_errors(self, rule: dict[str, Any], scope: str, conf: dict[str, Any]) -> dict[str, str]:
        """What is wrong with a stored rule: parameter -> message. A rule with errors is not applied.

        Args:
            rule: the rule.
            scope: "cluster", "group", "host", "vm" or "ct".
            conf: the configuration it stands in.
        """
        return verified(rule, self.firewall_config("cluster"), conf, scope)[1]

    def copy_firewall(self, source: int, target: int) -> None:
        """A clone takes the firewall's file along (`clone_vmfw_conf`)."""
        guests = self._fw()["guests"]
        guests.pop(target, None)
        if source in guests:
            guests[target] = copy.deepcopy(guests[source])

    # ----------------------------------------------------------------- routes

    def _routes_firewall(self) -> list[Any]:
        routes = [
            (method, path, self._as_a_file(method, path, handler))
            for method, path, handler in super()._routes_firewall()
        ]
        logs = ("/nodes/{node}/firewall", *(f"/nodes/{{node}}/{kind}/{{vmid}}/firewall" for kind in _KINDS))
        return [*routes, *(("GET", f"{where}/log", self._fw_log) for where in logs)]

    async def _fw_log(self, v: dict[str, Any], user: str) -> dict[str, Any]:
        return _NO_LOG

    def _as_a_file(self, method: str, path: str, handler: Any) -> Any:
        async def read(v: dict[str, Any], user: str) -> Any:
            return self._shown(path, v, await handler(v, user))

        async def write(v: dict[str, Any], user: str) -> None:
            await handler(v, user)
            for conf in self._configs():
                reread(conf)

        return read if method == "GET" else write

    def _configs(self) -> Iterator[dict[str, Any]]:
        stored = self._fw()
        yield stored["cluster"]
        yield from stored["nodes"].values()
        yield from stored["guests"].values()

    def _shown(self, path: str, v: dict[str, Any], data: Any) -> Any:
        scope = scope_of(path)
        conf = self.firewall_config(scope, v.get("node"), v.get("vmid"))
        if path.endswith("/{pos}"):
            # Recordings 143, 152: the position of one rule is the word of the path.
            return {**self._with_errors(data, scope, conf), "pos": str(data["pos"])}
        if path.endswith(("/rules", "/groups/{group}")):
            return [self._with_errors(rule, scope, conf) for rule in data]
        if path.endswith(("/ipset/{name}", "/{cidr}")):
            rows = data if isinstance(data, list) else [data]
            shown = [
                {**row, **_wrong(entry_errors(row, self.firewall_config("cluster"), conf))} for row in rows
            ]
            return shown if isinstance(data, list) else shown[0]
        return data

    def _with_errors(self, rule: dict[str, Any], scope: str, conf: dict[str, Any]) -> dict[str, Any]:
        return {**rule, **_wrong(self.rule_errors(rule, scope, conf))}

    # ---------------------------------------------------------------- changes

    async def _fw_options_put(self, scope: str, v: dict[str, Any], user: str) -> None:
        await super()._fw_options_put(scope, v, user)
        if scope == "cluster" and (v.get("enable") or 0) > 1:
            self.firewall_config("cluster")["options"]["enable"] = int(self.now())

    def _check_rule(self, scope: str, rule: dict[str, Any], conf: dict[str, Any]) -> Any:
        checked = super()._check_rule(scope, rule, conf)
        wrong = macro_conflict(rule)
        if wrong:
            raise param_error(**wrong)
        return checked


_KINDS = ("qemu", "lxc")


def scope_of(path: str) -> str:
    """Which configuration a path of the API's schema is about: "cluster", "group", "host", "vm" or "ct"."""
    if path.startswith("/cluster/firewall/groups"):
        return "group"
    if path.startswith("/cluster"):
        return "cluster"
    return "vm" if "/qemu/" in path else "ct" if "/lxc/" in path else "host"


def verified(
    rule: dict[str, Any], cluster: dict[str, Any], conf: dict[str, Any], scope: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """A stored rule with its version of IP, and what `verify_rule` says of it: parameter -> message. Pure."""
    found = {key: value for key, value in rule.items() if key != "ipversion"}
    try:
        fake.verify_rule(found, cluster, conf, scope)
    except PveError as error:
        errors = error.errors or {"rule": error.message}
        return found, {name: str(text).removeprefix(fake.FORMAT) for name, text in errors.items()}
    return found, macro_conflict(found)


def entry_errors(entry: dict[str, Any], cluster: dict[str, Any], conf: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a stored entry of an IP set: an alias that is gone. Pure."""
    if not fake.ALIAS_RE.match(entry["cidr"]):
        return {}
    if resolve_alias(entry["cidr"], cluster, conf) is None:
        return {"cidr": f"no such alias '{entry['cidr'].rpartition('/')[2]}'"}
    return {}


def resolve_alias(reference: str, cluster: dict[str, Any], conf: dict[str, Any] | None) -> str | None:
    """The CIDR that an alias means where it is used, or None (`resolve_alias`). Pure.

    Args:
        reference: `name`, `dc/name` or `guest/name`.
        cluster: the cluster's configuration.
        conf: the configuration it is used in, where that is another.
    """
    scope, _, name = reference.rpartition("/")
    found = None
    if scope != "dc" and conf is not None and conf is not cluster:
        found = conf["aliases"].get(name.lower())
    if scope != "guest" and found is None:
        found = cluster["aliases"].get(name.lower())
    return str(found["cidr"]) if found else None


def macro_conflict(rule: dict[str, Any]) -> dict[str, str]:
    """A parameter that its macro says otherwise: `$apply_macro` refuses it. Pure."""
    if not rule.get("macro"):
        return {}
    version = rule.get("ipversion")
    for part in macro_rules(rule["macro"], version):
        for key, value in part.items():
            if rule.get(key) not in (None, value):
                return {key: f"parameter '{key}' already define in macro (value = '{value}')"}
    return {}


def reread(conf: dict[str, Any]) -> None:
    """Bring a configuration to what its file says when it is read again."""
    conf["rules"][:] = [_reread_rule(rule) for rule in conf["rules"]]
    for kind, comments in (("groups", "group_comments"), ("ipset", "ipset_comments")):
        conf[kind] = _lower(conf[kind])
        said = {name.lower(): _comment(text) for name, text in conf[comments].items()}
        conf[comments] = {name: text for name, text in said.items() if text}
    for rules in conf["groups"].values():
        rules[:] = [_reread_rule(rule) for rule in rules]
    for entries in conf["ipset"].values():
        entries[:] = sorted(map(_reread_entry, entries), key=lambda entry: str(entry["cidr"]))
    for alias in conf["aliases"].values():
        alias["cidr"] = _single(alias["cidr"])
        _set_comment(alias)


def _lower(named: dict[str, list[Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name in sorted(named):  # the file's order; what stands later replaces
        found[name.lower()] = named[name]
    return found


def _reread_rule(rule: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in rule.items() if rule.get("type") != "group" or k in _GROUP_KEYS}
    kept["enable"] = 1 if kept.get("enable") is None or kept["enable"] else 0
    return _set_comment(kept)


def _reread_entry(entry: dict[str, Any]) -> dict[str, Any]:
    kept = {"cidr": _single(entry["cidr"]), "comment": entry.get("comment")}
    return _set_comment({**kept, **({"nomatch": 1} if entry.get("nomatch") else {})})


def _set_comment(item: dict[str, Any]) -> dict[str, Any]:
    text = _comment(item.pop("comment", None))
    if text:
        item["comment"] = text
    return item


def _comment(text: Any) -> str:
    return str(text or "").strip()


def _single(cidr: str) -> str:
    return re.sub(r"/128$" if ":" in cidr else r"/32$", "", cidr)


def _wrong(errors: dict[str, str]) -> dict[str, Any]:
    return {"errors": errors} if errors else {}
