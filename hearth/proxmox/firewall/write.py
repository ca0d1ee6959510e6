"""The one request (or the few) of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from hearth.errors import HearthError
from hearth.proxmox.api import Api
from hearth.proxmox.firewall.compare import Step
from hearth.proxmox.firewall.model import MARK, Entry, Rule
from hearth.proxmox.firewall.observe import ROOT, rules_path

Write = Callable[[Api, Step, Mapping[str, str]], None]


def write(api: Api, step: Step, paths: Mapping[str, str]) -> None:
    """Carry out a step.

    Args:
        api: of a node of the cluster.
        step: of `compare.differences`.
        paths: scope -> its place in the API.

    Raises:
        ApiError: Proxmox refused. LostAnswerError: it may have happened: observe again.
    """
    _WRITES[step.kind](api, step, paths)


def _set(api: Api, step: Step, _: Mapping[str, str]) -> None:
    if step.verb == "make":
        api.post(f"{ROOT}/ipset", name=step.place, comment=MARK)
    else:
        api.delete(f"{ROOT}/ipset/{step.place}")


def _entry(api: Api, step: Step, _: Mapping[str, str]) -> None:
    entry = step.what
    assert isinstance(entry, Entry)
    path = f"{ROOT}/ipset/{step.place}"
    if step.verb == "remove":
        api.delete(f"{path}/{quote(entry.cidr, safe='')}")
        return
    flags = {"comment": MARK, "nomatch": True if entry.nomatch else None}
    if step.old:  # PUT without `nomatch` drops it
        api.put(f"{path}/{quote(entry.cidr, safe='')}", **flags)
    else:
        api.post(path, cidr=entry.cidr, **flags)


def _group(api: Api, step: Step, _: Mapping[str, str]) -> None:
    name = step.place.partition("/")[2]
    if step.verb == "make":
        api.post(f"{ROOT}/groups", group=name, comment=MARK)
    else:
        api.delete(f"{ROOT}/groups/{name}")


def _rule(api: Api, step: Step, paths: Mapping[str, str]) -> None:
    rule = step.what
    assert isinstance(rule, Rule)
    fallback = f"{ROOT}/groups/{step.place.partition('/')[2]}"  # a group that was made just now
    path = rules_path(step.place, paths.get(step.place, fallback))
    if step.verb == "add":
        api.post(path, **dict(rule.parts))  # it lands on top, before what is foreign
        return
    for row in api.get(path) or []:
        if Rule.of(row) == rule:
            api.delete(f"{path}/{row['pos']}", digest=row.get("digest"))
            return
    raise HearthError(f"remove a firewall rule of {step.place}", f"{rule} is gone already", "run again")


def _option(api: Api, step: Step, paths: Mapping[str, str]) -> None:
    path = f"{paths[step.place]}/options"
    if step.verb == "set":
        api.put(path, **{str(step.what): step.new})
    else:
        api.put(path, delete=str(step.what))


def _alias(api: Api, step: Step, _: Mapping[str, str]) -> None:
    path = f"{ROOT}/aliases"
    if step.verb == "unset":
        api.delete(f"{path}/{step.what}")
    elif step.old:
        api.put(f"{path}/{step.what}", cidr=step.new, comment=MARK)
    else:
        api.post(path, name=str(step.what), cidr=step.new, comment=MARK)


_WRITES: dict[str, Write] = {
    "ipset": _set,
    "entry": _entry,
    "group": _group,
    "rule": _rule,
    "option": _option,
    "alias": _alias,
}
