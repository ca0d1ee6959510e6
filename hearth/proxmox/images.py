"""Templates and cloud images: which are missing, and how the node fetches them.

Content type `vztmpl` for containers, `import` for VMs (PVE 8.3 and newer: a token may not import an
absolute path). https://pve.proxmox.com/pve-docs/api-viewer/#/nodes/{node}/storage/{storage}/download-url
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Image, Kind, Node
from hearth.proxmox.api import Api, ApiError

CONTENT: dict[Kind, str] = {"lxc": "vztmpl", "vm": "import"}
DOWNLOAD_TIMEOUT = 3600.0  # seconds
Say = Callable[[str], None]


def filename(image: Image) -> str:
    """The image's name on the storage; `.img` is a qcow2 that Proxmox would not take by that name."""
    name = image.filename
    return name.removesuffix(".img") + ".qcow2" if image.kind == "vm" and name.endswith(".img") else name


def volume_of(image: Image, node: Node) -> str:
    """The volume ID of an image: STORAGE:vztmpl/FILE or STORAGE:import/FILE."""
    return f"{node.images}:{CONTENT[image.kind]}/{filename(image)}"


def needed(fleet: Fleet, absent: Iterable[str]) -> tuple[Image, ...]:
    """The images that these absent guests are made from, each once, in the file's order."""
    names = {fleet.guest(name).image for name in absent}
    return tuple(image for image in fleet.images if image.name in names)


def missing(api: Api, node: Node, images: Iterable[Image]) -> tuple[Image, ...]:
    """Those that the node does not have yet: one GET where there is something to ask for.

    Raises:
        HearthError: the storage cannot be read.
    """
    wanted = tuple(images)
    if not wanted:
        return ()
    try:
        rows = api.get(f"/nodes/{node.name}/storage/{node.images}/content") or []
    except ApiError as error:
        raise HearthError(f"read storage {node.images} of {node.name}", error.reason, error.remedy) from error
    there = {row.get("volid") for row in rows}
    return tuple(image for image in wanted if volume_of(image, node) not in there)


def fetch(api: Api, node: Node, image: Image, say: Say = lambda text: None) -> None:
    """Let the node download an image and check that it is there.

    Raises:
        HearthError: it cannot be fetched, its checksum is wrong, or the storage does not take it.
    """
    action = f"fetch image {image.name} to storage {node.images} of {node.name}"
    say(f"image {image.name}: the node fetches {image.url}")
    try:
        api.task(
            "POST",
            f"/nodes/{node.name}/storage/{node.images}/download-url",
            action,
            DOWNLOAD_TIMEOUT,
            url=image.url,
            content=CONTENT[image.kind],
            filename=filename(image),
            **_checksum(image),
        )
    except HearthError as error:
        raise HearthError(action, error.reason, _remedy(image, node, error)) from error
    if missing(api, node, [image]):
        raise HearthError(action, "the task ended well, but the file is not there", "run again")


def _checksum(image: Image) -> dict[str, str]:
    """The algorithm first: Proxmox reads `checksum` only after it."""
    if not image.checksum:
        return {}
    algorithm, _, digest = image.checksum.partition(":")
    return {"checksum-algorithm": algorithm, "checksum": digest}


def _remedy(image: Image, node: Node, error: HearthError) -> str:
    reason = error.reason.lower()
    if "checksum" in reason and "mismatch" in reason:
        return f"the file at {image.url} is not the one of the fleet file: mend url or checksum"
    if "content" in reason or "not configured for" in reason or "does not support" in reason:
        return (
            f"on the node: pvesm set {node.images} --content "
            f"$(pvesm config {node.images} | sed -n 's/.*content //p'),{CONTENT[image.kind]}"
        )
    return error.remedy or "is the URL right, and can the node reach it?"
