"""Reads the sections of the file but its guests: nodes, networks, images, admin, tailnet, backup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hearth.fleet.addresses import word
from hearth.fleet.entries import (
    AdminEntry,
    BackupEntry,
    DiskEntry,
    Entry,
    FeaturesEntry,
    FileEntry,
    ImageEntry,
    KeepEntry,
    MountEntry,
    NetworkEntry,
    NodeEntry,
    SshEntry,
    StartupEntry,
    TailnetEntry,
)
from hearth.fleet.mistakes import Place, Report, WrongError, nearest, quoted
from hearth.fleet.model import AUTO, Admin, Image, Network, Node, Ssh, Tailnet
from hearth.fleet.scalars import shaped, show

_NESTED: dict[str | int, type[Entry]] = {
    "ssh": SshEntry,
    "features": FeaturesEntry,
    "startup": StartupEntry,
    "mounts": MountEntry,
    "disks": DiskEntry,
    "keep": KeepEntry,
}
# pve_verify_node_name of pve-common's JSONSchema.pm
_node_name = shaped(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?", "node's name", "write it as Proxmox has it")
_LXC_FILES = (".tar.zst", ".tar.gz", ".tar.xz")  # PVE::Storage, $VZTMPL_EXT_RE_1
_VM_FILES = (".qcow2", ".raw", ".vmdk")  # PVE::Storage, $IMPORT_EXT_RE_1

E = TypeVar("E", bound=Entry)


@dataclass(frozen=True)
class Sections:
    """Everything but the guests, as far as it could be read."""

    nodes: Mapping[str, NodeEntry]
    networks: Mapping[str, NetworkEntry]
    images: Mapping[str, ImageEntry]
    admin: AdminEntry
    tailnet: TailnetEntry | None = None
    backup: BackupEntry | None = None


def entry(model: type[E], data: Mapping[str, Any], place: Place, report: Report) -> E:
    """Read a section; a key with a mistake is reported and then left out, so that the others count."""
    try:
        return model.model_validate(data)
    except ValidationError as failure:
        wrong = failure.errors(include_url=False)
    for detail in wrong:
        _explain(model, detail, place, report)
    left_out = {detail["loc"][0] for detail in wrong}
    return model.model_validate({key: value for key, value in data.items() if key not in left_out})


def _explain(model: type[Entry], detail: ErrorDetails, place: Place, report: Report) -> None:
    inside = detail["loc"]
    where = (*place, *(part for part in inside if part != "[key]"))
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, WrongError):
        report.add(where, cause.wrong, cause.right)
    elif detail["type"] == "extra_forbidden":
        within = model if len(inside) == 1 else _NESTED[inside[0]]
        report.add(where, "is no known key", nearest(str(inside[-1]), within.model_fields))
    elif detail["type"] == "tuple_type":
        report.add(where, "is not a list", "write [one, another], or a line with - for each")
    else:
        report.add(where, f"is {show(detail['input'])} where keys and values belong", "write keys below it")


def _named(model: type[E], section: str, raw: Mapping[str, Any], report: Report) -> dict[str, E]:
    found = {}
    for name, data in raw.items():
        place: Place = (section, name)
        check_name(_node_name if section == "nodes" else word, name, place, report)
        if isinstance(data, dict):
            found[name] = entry(model, data, place, report)
        else:
            report.add(place, f"is {show(data)} where keys and values belong", "write keys below it")
            found[name] = model()
    return found


def check_name(check: Any, name: str, place: Place, report: Report) -> None:
    """Report a name that `check` refuses."""
    try:
        check(name)
    except WrongError as failure:
        report.add(place, failure.wrong, failure.right)


def sections(top: FileEntry, report: Report) -> Sections:
    """Read nodes, networks, images, admin and tailnet, and check each by itself."""
    found = Sections(
        nodes=_named(NodeEntry, "nodes", top.nodes or {}, report),
        networks=_named(NetworkEntry, "networks", top.networks, report),
        images=_named(ImageEntry, "images", top.images, report),
        admin=entry(AdminEntry, top.admin, ("admin",), report),
        tailnet=None if top.tailnet is None else entry(TailnetEntry, top.tailnet, ("tailnet",), report),
        backup=None if top.backup is None else entry(BackupEntry, top.backup, ("backup",), report),
    )
    for name, node in found.nodes.items():
        _check_node(name, node, report)
        if node.tailnet and top.tailnet is None and not report.unsure(("tailnet",)):
            right = "add the section tailnet, with its domain, or take this key away"
            report.add(("nodes", name, "tailnet"), "there is no tailnet to join", right)
    for name, network in found.networks.items():
        _check_network(name, network, report)
    for name, image in found.images.items():
        _check_image(name, image, report)
    _check_unique(found, report)
    if found.tailnet is not None:
        right = "write its MagicDNS domain, e.g. tail1234.ts.net"
        require(("tailnet", "domain"), found.tailnet.domain, report, right)
    return found


def require(place: Place, value: object, report: Report, right: str) -> None:
    """Report a key that is neither there nor already reported."""
    if value is None and not report.unsure(place):
        report.add(place, "is missing", right)


def _check_node(name: str, node: NodeEntry, report: Report) -> None:
    place = ("nodes", name)
    if name == AUTO:
        report.add(place, "auto means any node, and is no node's name", "write the node's name")
    require((*place, "address"), node.address, report, "write the node's address, e.g. 192.168.1.185")
    require((*place, "storage"), node.storage, report, "write where disks go, e.g. local-lvm")
    require((*place, "images"), node.images, report, "write where templates and images go, e.g. local")


def _check_network(name: str, network: NetworkEntry, report: Report) -> None:
    place = ("networks", name)
    require((*place, "bridge"), network.bridge, report, "write the bridge of the nodes, e.g. vmbr0")
    for suffix, gateway, subnet in (
        ("", network.gateway, network.subnet),
        ("6", network.gateway6, network.subnet6),
    ):
        where = (*place, f"gateway{suffix}")
        if gateway is None or gateway.is_link_local:
            continue
        if subnet is None:
            require((*place, f"subnet{suffix}"), subnet, report, "a gateway needs its subnet")
        elif gateway not in subnet:
            report.add(where, f"{gateway} is outside {subnet}", "write an address of the subnet")
        elif subnet.num_addresses > 2 and gateway in (subnet[0], subnet[-1]):  # noqa: PLR2004
            report.add(where, f"{gateway} is the subnet's own", "write the router's address")


def _check_image(name: str, image: ImageEntry, report: Report) -> None:
    place = ("images", name)
    require((*place, "kind"), image.kind, report, "write lxc or vm")
    require((*place, "url"), image.url, report, "write where the node can download it")
    if image.kind is None or image.url is None:
        return
    endings = _LXC_FILES if image.kind == "lxc" else _VM_FILES
    if not image.url.endswith(endings) or image.url.rsplit("/", 1)[-1] in endings:
        thing = "a container template" if image.kind == "lxc" else "a VM's image"
        report.add((*place, "url"), f"does not end as {thing} does", f"it ends in {' or '.join(endings)}")


def _check_unique(found: Sections, report: Report) -> None:
    owner: dict[object, str] = {}
    for name, node in found.nodes.items():
        if node.address in owner:
            report.add(
                ("nodes", name, "address"), f"{node.address} is also {owner[node.address]}'s", "write its own"
            )
        elif node.address is not None:
            owner[node.address] = name
    files: dict[str, str] = {}
    for name, image in found.images.items():
        file = (image.url or "").rsplit("/", 1)[-1]
        if file and files.setdefault(file, name) != name:
            report.add(
                ("images", name, "url"),
                f"the file {quoted(file)} is also {files[file]}'s",
                "a storage holds one file of a name; use one image for both",
            )


def nodes(found: Sections) -> tuple[Node, ...]:
    """The nodes of a file without mistakes."""
    made = []
    for name, node in found.nodes.items():
        given = node.model_dump(exclude={"ssh", "endpoint"})
        endpoint = node.endpoint or f"https://{node.address}:8006"
        ssh = Ssh(**node.ssh.model_dump(exclude_none=True))
        made.append(Node(name=name, endpoint=endpoint.rstrip("/"), ssh=ssh, **given))
    return tuple(made)


def networks(found: Sections) -> tuple[Network, ...]:
    """The networks of a file without mistakes."""
    return tuple(Network(name=name, **network.model_dump()) for name, network in found.networks.items())


def images(found: Sections) -> tuple[Image, ...]:
    """The images of a file without mistakes."""
    return tuple(Image(name=name, **image.model_dump()) for name, image in found.images.items())


def admin(found: Sections) -> Admin:
    """The admin of a file without mistakes."""
    return Admin(**found.admin.model_dump(exclude_none=True))


def tailnet(found: Sections) -> Tailnet | None:
    """The tailnet of a file without mistakes, where it has one."""
    if found.tailnet is None:
        return None
    given = found.tailnet.model_dump(exclude_none=True)
    return Tailnet(**given | ({"server": given["server"].rstrip("/")} if "server" in given else {}))
