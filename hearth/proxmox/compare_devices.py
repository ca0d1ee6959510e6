"""Differences of features and devices: mostly what only root may set, through the node's SSH wrapper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hearth.proxmox import desired, properties
from hearth.proxmox.change import Change, Difference
from hearth.proxmox.observe import Config
from hearth.proxmox.subject import NONE, Subject


def differences(subject: Subject) -> Iterator[Difference]:
    """Features and devices of a container; USB devices of a VM."""
    if subject.intent.guest.kind == "lxc":
        yield from _features(subject)
        yield from _devices(subject)
    else:
        yield from _usb(subject)


def _features(subject: Subject) -> Iterator[Difference]:
    wanted = desired.features(subject.intent.guest)
    if not wanted:
        return
    then = properties.parse(subject.config.next("features"))
    whole = properties.show({**then, **wanted})

    def read(raw: object) -> dict[str, str]:
        return _normal({**dict.fromkeys(wanted, "0"), **properties.parse(raw)}, set(wanted))

    target = _normal(wanted, set(wanted))
    for found in subject.judge("features", "features", target, read=read, show=_named, send=lambda _: whole):
        present = _normal(then, set(then))
        changed = {key for key, value in target.items() if present.get(key, "0") != value}
        if found.change.pending or _api_may(subject, changed):
            yield found
        else:
            yield Difference(found.change, root={"features": whole})


def _api_may(subject: Subject, changed: set[str]) -> bool:
    # PVE::LXC::check_ct_modify_config_perm: nesting of unprivileged containers; all else is root@pam's.
    return changed <= {"nesting"} and properties.flag(subject.config.values.get("unprivileged"))


def _normal(features: dict[str, str], keys: set[str]) -> dict[str, str]:
    return {
        key: ";".join(sorted(part for part in value.split(";") if part != "0"))
        if key == "mount"
        else str(int(properties.flag(value)))
        for key, value in sorted(features.items())
        if key in keys
    }


def _named(features: dict[str, str]) -> str:
    return properties.show({key: value for key, value in features.items() if value}) or NONE


def _devices(subject: Subject) -> Iterator[Difference]:
    runs, then = _paths(subject.config.values), _paths(_next(subject.config))
    taken = set(then.values())
    for path, value in desired.devices(subject.intent.guest).items():
        if path in runs:
            continue
        if path in then:
            yield Difference(Change(then[path], NONE, path, subject.waiting, pending=True))
            continue
        slot = _free("dev", taken)
        taken.add(slot)
        # Set while it runs, it stands in the configuration at once and in the guest only after a restart.
        change = Change(slot, NONE, path, subject.waiting)
        yield Difference(change, root={slot: value}, with_restart=subject.running)


def _paths(values: Mapping[str, object]) -> dict[str, str]:
    """Path on the node -> devN."""
    return {
        properties.parse(value, "path").get("path", ""): key
        for key, value in values.items()
        if re.fullmatch(r"dev\d+", key)
    }


def _next(config: Config) -> dict[str, object]:
    return {key: config.next(key) for key in config.keys if config.next(key) is not None}


def _usb(subject: Subject) -> Iterator[Difference]:
    """A VM's USB device is known by vendor and product, which only the node can tell: they are counted."""
    taken = {key for key in _next(subject.config) if re.fullmatch(r"usb\d+", key)}
    hosts = [key for key in taken if "host" in properties.parse(subject.config.next(key), "host")]
    for path in subject.intent.guest.devices[len(hosts) :]:
        slot = _free("usb", taken)
        taken.add(slot)
        yield Difference(Change(slot, NONE, path, subject.how(slot)), root={slot: path})


def _free(prefix: str, taken: set[str]) -> str:
    return next(f"{prefix}{n}" for n in range(256) if f"{prefix}{n}" not in taken)
