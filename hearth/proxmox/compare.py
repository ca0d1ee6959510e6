"""What differs between a guest's configuration and the fleet file: pure, declared keys only.

Three values meet for each key: what runs, what waits for a restart, and what is wanted. Nothing is ever
deleted that the fleet file does not name; a slot is the identity of a disk or mount point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_interface

from hearth.proxmox import compare_devices, compare_volumes, desired, properties
from hearth.proxmox.change import Change, Difference
from hearth.proxmox.observe import NAME_KEYS
from hearth.proxmox.subject import NONE, Subject, yes

SHOWN = 60  # characters of a description
ALL = -1  # a container without `cores` may use all of them
DEFAULT_MEMORY = 512  # MiB, both kinds; a container's swap too
_WORDS = {
    "bridge": "bridge",
    "tag": "vlan",
    "hwaddr": "mac",
    "mtu": "mtu",
    "firewall": "firewall",
    "ip": "address",
    "gw": "gateway",
    "ip6": "address6",
    "gw6": "gateway6",
}


def differences(subject: Subject, pools: Mapping[int, str] | None = None) -> tuple[Difference, ...]:
    """Every difference, in the order of the fleet file's fields.

    Args:
        pools: VMID -> pool, where the fleet declares pools; None: not compared.
    """
    return (
        *_plain(subject),
        *compare_volumes.differences(subject),
        *_network(subject),
        *_resolver(subject),
        *compare_devices.differences(subject),
        *_tags(subject),
        *_pool(subject, pools),
    )


def _plain(subject: Subject) -> Iterator[Difference]:
    guest = subject.intent.guest
    name = NAME_KEYS[guest.kind]

    def named(raw: object) -> str:
        # DNS has no case (RFC 4343): a container CT150 is not renamed to ct150.
        return guest.name if _text(raw).lower() == guest.name.lower() else _text(raw)

    yield from subject.judge(name, "name", guest.name, read=named, show=_or_none, send=str)
    for key, wanted, default, unit in (
        ("cores", guest.cores, ALL if guest.kind == "lxc" else 1, ""),
        ("memory", guest.memory, DEFAULT_MEMORY, "MiB"),
        ("swap", guest.swap if guest.kind == "lxc" else None, DEFAULT_MEMORY, "MiB"),
    ):
        if wanted is not None:
            yield from subject.judge(
                key, key, wanted, read=_number(default), show=_amount, send=str, unit=unit
            )
    for key, flag in desired.flags(guest).items():
        yield from subject.judge(key, key, flag, read=properties.flag, show=yes, send=_bit)
    if guest.description is not None:
        wanted_text = guest.description.strip()
        yield from subject.judge(
            "description", "description", wanted_text, read=_text, show=_quoted, send=str
        )
    if desired.startup(guest):
        yield from _parts(subject, "startup", desired.startup(guest), "order")


def _number(default: int) -> Callable[[object], int]:
    # `memory` may be "512" or, from PVE 8.1 on, "current=512".
    return lambda raw: default if raw in (None, "") else int(str(raw).rpartition("=")[2])


def _amount(value: int) -> str:
    return "all" if value == ALL else str(value)


def _bit(value: bool) -> str:
    return str(int(value))


def _or_none(text: str) -> str:
    return text or NONE


def _words(raw: object) -> tuple[str, ...]:
    return tuple(str(raw or "").split())


def _shown(parts: Mapping[str, str]) -> str:
    return properties.show(parts) or NONE


def _text(raw: object) -> str:
    return str(raw or "").strip()


def _quoted(text: str) -> str:
    line = text.replace("\n", " ")
    return f'"{line if len(line) <= SHOWN else line[:SHOWN] + "..."}"'


def _parts(subject: Subject, key: str, wanted: Mapping[str, str], default: str) -> Iterator[Difference]:
    def read(raw: object) -> dict[str, str]:
        return {part: value for part, value in properties.parse(raw, default).items() if part in wanted}

    def send(_: Mapping[str, str]) -> str:
        return properties.show({**properties.parse(subject.config.next(key), default), **wanted})

    yield from subject.judge(key, key, dict(wanted), read=read, show=_shown, send=send)


def _network(subject: Subject) -> Iterator[Difference]:
    guest = subject.intent.guest
    network = desired.network_of(guest, subject.intent.fleet)
    if network is None:
        return
    link, address = desired.link(subject.intent, network), desired.addressing(guest, network)
    if guest.kind == "lxc":
        yield from _net(subject, "net0", {**link, **address}, {"name": "eth0"})
        return
    yield from _net(subject, "net0", link, {"model": "virtio"})
    if "ipconfig0" in subject.config.keys:  # else cloud-init has no say in this machine
        yield from _net(subject, "ipconfig0", address, {})


def _net(
    subject: Subject, key: str, wanted: Mapping[str, str | None], fresh: Mapping[str, str]
) -> Iterator[Difference]:
    """Each declared part of a netN or ipconfigN is a change of its own; all send the same whole string."""
    kept = properties.parse_net(subject.config.next(key)) or dict(fresh)
    whole = {**kept, **{part: value for part, value in wanted.items() if value is not None}}
    whole = {part: value for part, value in whole.items() if part not in wanted or wanted[part] is not None}

    def send(_: str) -> str:
        return properties.show_net(whole)

    for part, value in wanted.items():

        def read(raw: object, part: str = part) -> str:
            return _same(properties.parse_net(raw).get(part))

        for found in subject.judge(key, _WORDS[part], _same(value), read=read, show=_or_none, send=send):
            # A container's MTU is set when its cable is made (PVE::LXC::update_net leaves it).
            late = part == "mtu" and subject.running and subject.is_container
            yield _late(found) if late and not found.change.pending else found


def _late(found: Difference) -> Difference:
    change = found.change
    restart = Change(change.field, change.old, change.new, "restart", change.unit)
    return Difference(restart, found.send, with_restart=True)


def _same(value: object) -> str:
    """An address in its one spelling; anything else as it is."""
    text = "" if value is None else str(value)
    if "/" not in text and ":" not in text and "." not in text:
        return text
    try:
        return str(ip_interface(text)) if "/" in text else str(ip_interface(text).ip)
    except ValueError:
        return text


def _resolver(subject: Subject) -> Iterator[Difference]:
    guest = subject.intent.guest
    network = desired.network_of(guest, subject.intent.fleet)
    if network is None or (guest.kind == "vm" and "ipconfig0" not in subject.config.keys):
        return
    for key, text in desired.resolver(network).items():
        yield from subject.judge(key, key, tuple(text.split()), read=_words, show=_listed, send=" ".join)


def _listed(items: tuple[str, ...]) -> str:
    return ", ".join(items) or NONE


def _tags(subject: Subject) -> Iterator[Difference]:
    present = properties.tags(subject.config.next("tags"))
    wanted = desired.wanted_tags(subject.intent.guest, present)
    yield from subject.judge("tags", "tags", wanted, read=properties.tags, show=_listed, send=";".join)


def _pool(subject: Subject, pools: Mapping[int, str] | None) -> Iterator[Difference]:
    guest = subject.intent.guest
    if guest.pool is None or pools is None or pools.get(guest.vmid) == guest.pool:
        return
    yield Difference(Change("pool", pools.get(guest.vmid, NONE), guest.pool, "live"), pool=guest.pool)
