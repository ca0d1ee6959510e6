"""The small bridge between a guest's interface and the home's, where its frames are filtered.

As on a real node (`tap_plug` and `create_firewall_bridge_linux` in PVE/Network.pm): fwbrVMIDiN holds the
guest's end and fwlnVMIDiN, whose other end fwprVMIDpN is a port of the home's bridge.
"""

from __future__ import annotations

from pathlib import Path

from twin.commands import run, works

_LINKS = Path("/sys/class/net")


def firewall_bridge(vmid: int, index: int) -> str:
    """The small bridge of netN."""
    return f"fwbr{vmid}i{index}"


def commands(vmid: int, index: int, bridge: str) -> str:
    """What `ip -batch` makes it with. None of the links has an address of its own."""
    small, inner, outer = _names(vmid, index)
    return "\n".join(
        [
            f"link add {small} type bridge forward_delay 0 mcast_snooping 0",
            f"link add {inner} type veth peer name {outer}",
            *(f"link set {name} addrgenmode none" for name in (small, inner, outer)),
            f"link set {inner} master {small} up",
            f"link set {outer} master {bridge} up",
            f"link set {small} up",
            "",
        ]
    )


def plug(vmid: int, index: int, bridge: str) -> str:
    """Make the small bridge and join it to the home's, unless it is; returns its name."""
    small, _, outer = _names(vmid, index)
    if Path(_LINKS, small).exists() and _master(outer) == bridge:
        return small
    unplug(vmid, index)
    run("ip", "-batch", "-", stdin=commands(vmid, index, bridge))
    return small


def unplug(vmid: int, index: int) -> None:
    """Take it away; what is not there is no error."""
    for name in _names(vmid, index)[:2]:
        if Path(_LINKS, name).exists():
            works("ip", "link", "del", name)


def unplug_all(vmid: int) -> None:
    """Take away all of a guest's."""
    start = firewall_bridge(vmid, 0)[:-1]
    for link in _LINKS.glob(f"{start}*"):
        unplug(vmid, int(link.name.removeprefix(start)))


def _names(vmid: int, index: int) -> tuple[str, str, str]:
    return firewall_bridge(vmid, index), f"fwln{vmid}i{index}", f"fwpr{vmid}p{index}"


def _master(link: str) -> str | None:
    master = _LINKS / link / "master"
    return master.resolve().name if master.exists() else None
