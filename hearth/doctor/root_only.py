"""Judges the way to what no API token may do: the wrapper on the node, and its devices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hearth.doctor.finding import Finding, fail, ok
from hearth.errors import HearthError
from hearth.fleet.model import Guest, Node
from hearth.known_hosts import ChangedHostKeyError
from hearth.proxmox.wrapper import Device, missing
from hearth.tailnet.on_node import Standing


def root_only_keys(guest: Guest) -> tuple[str, ...]:
    """What the fleet file wants of this guest that no API token may set, in the file's words.

    Source: PVE::LXC::check_ct_modify_config_perm; a VM's USB device: PVE::API2::Qemu.
    """
    found = ["devices"] if guest.devices else []
    if guest.kind == "vm":
        return tuple(found)
    if guest.tun:
        found.append("tun")
    declared = guest.features
    others = {
        "keyctl": declared.keyctl,
        "fuse": declared.fuse,
        "mknod": declared.mknod,
        "mount": declared.mount,
    }
    if guest.unprivileged is False:
        others["nesting"] = declared.nesting
    found += [f"features.{name}" for name, value in others.items() if value is not None]
    found += [f"mounts.{mount.slot}" for mount in guest.mounts if mount.source is not None]
    return tuple(found)


def judge_wrapper(
    node: Node, guests: Iterable[Guest], answer: Sequence[Device] | HearthError | None
) -> list[Finding]:
    """The wrapper answers where the fleet needs it, and every device is there.

    Args:
        node: the node of the fleet.
        guests: its guests.
        answer: the node's devices, why it did not answer, or None where it was not asked.
    """
    needing = {guest.name: keys for guest in guests if (keys := root_only_keys(guest))}
    if node.tailnet:
        needing[node.name] = ("tailnet",)
    if not needing or answer is None:
        return [ok("wrapper", f"no guest on {node.name} needs the node's SSH")]
    if isinstance(answer, HearthError):
        wanted = "; ".join(f"{name}: {', '.join(keys)}" for name, keys in needing.items())
        text = f"the SSH wrapper of {node.name} does not answer ({answer.reason}), and is needed for {wanted}"
        changed = isinstance(answer, ChangedHostKeyError)
        remedy = answer.remedy if changed else "hearth node-key says what to install on the node"
        return [fail("wrapper", text, remedy)]
    findings = [ok("wrapper", f"the SSH wrapper of {node.name} answers")]
    for guest in guests:
        findings += [_judge_device(guest, path, answer) for path in _devices(guest)]
    return findings


def judge_tailnet(node: Node, answer: Standing | HearthError) -> Finding:
    """The wrapper may bring the node into the tailnet: it is of this version, and the key's line allows it.

    Args:
        node: a node of the fleet that asks for the tailnet.
        answer: how it stands there, or why the wrapper does not say.
    """
    if isinstance(answer, HearthError):
        text = f"the SSH wrapper of {node.name} does nothing for the tailnet ({answer.reason})"
        return fail("wrapper", text, answer.remedy)
    return ok("wrapper", f"the SSH wrapper of {node.name} may bring it into the tailnet")


def _devices(guest: Guest) -> tuple[str, ...]:
    return (*guest.devices, *(("/dev/net/tun",) if guest.tun else ()))


def _judge_device(guest: Guest, path: str, present: Sequence[Device]) -> Finding:
    if any(device.path == path for device in present):
        return ok("device", f"{path} of {guest.name} is there")
    error = missing(path, present)
    return fail("device", f"{path} of {guest.name}: {error.reason}", error.remedy)
