"""Templates and cloud images come to the node's storage through the API."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from hearth.errors import HearthError
from hearth.fleet.model import Image
from hearth.proxmox import images
from tests.api.proxmox.conftest import Home, container, fleet_of, machine

NODE = fleet_of().nodes[0]
FILE = b"an image"
SUM = f"sha512:{hashlib.sha512(FILE).hexdigest()}"
TEMPLATE = Image(name="t", kind="lxc", url="http://images.example/debian-13.tar.zst", checksum=SUM)
CLOUD = Image(name="c", kind="vm", url="https://images.example/x/noble-cloudimg.img", checksum=SUM)


async def fetched(url: str) -> bytes:
    """What every URL gives."""
    return FILE


def asked(home: Home, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The parameters of every download, in the order in which they are sent."""
    sent: list[dict[str, Any]] = []
    real = home.api.task

    def task(method: str, path: str, what: str, patience: float, **params: Any) -> list[str]:
        sent.append(params)
        return real(method, path, what, patience, **params)

    monkeypatch.setattr(home.api, "task", task)
    return sent


def test_only_images_of_absent_guests_are_needed_and_each_once() -> None:
    fleet = fleet_of(container(), container(name="b", vmid=150), machine())
    assert [image.name for image in images.needed(fleet, ["comms", "b"])] == ["debian"]
    assert images.needed(fleet, []) == ()


def test_what_is_there_is_found_with_one_request(home: Home) -> None:
    fleet = fleet_of(container(), machine())
    assert images.missing(home.api, NODE, fleet.images) == ()
    assert home.api.count == 1
    assert images.missing(home.api, NODE, []) == ()
    assert home.api.count == 1


@pytest.mark.pve(images=False)
@pytest.mark.parametrize(
    ("image", "content", "name"),
    [(TEMPLATE, "vztmpl", "debian-13.tar.zst"), (CLOUD, "import", "noble-cloudimg.qcow2")],
)
def test_a_missing_image_is_fetched_by_the_node(
    home: Home, monkeypatch: pytest.MonkeyPatch, image: Image, content: str, name: str
) -> None:
    sent = asked(home, monkeypatch)
    home.pve.fetch = fetched
    assert images.missing(home.api, NODE, [image]) == (image,)
    images.fetch(home.api, NODE, image)
    (params,) = sent
    assert (params["url"], params["content"], params["filename"]) == (image.url, content, name)
    order = list(params)
    assert order.index("checksum-algorithm") < order.index("checksum")
    assert images.missing(home.api, NODE, [image]) == ()
    assert images.volume_of(image, NODE) == f"local:{content}/{name}"


@pytest.mark.pve(images=False)
def test_a_storage_that_takes_no_such_content_says_what_to_type(home: Home) -> None:
    home.pve.storages["local"]["content"] = "iso,vztmpl"
    with pytest.raises(HearthError, match=r"pvesm set local --content .*import"):
        images.fetch(home.api, NODE, CLOUD)


@pytest.mark.pve(images=False)
def test_a_wrong_checksum_is_named(home: Home) -> None:
    home.pve.fetch = fetched
    wrong = TEMPLATE.model_copy(update={"checksum": "sha256:" + "0" * 64})
    with pytest.raises(HearthError, match=r"checksum mismatch.*mend url or checksum"):
        images.fetch(home.api, NODE, wrong)
    assert images.missing(home.api, NODE, [wrong]) == (wrong,)


@pytest.mark.pve(images=False)
def test_a_full_storage_is_named(home: Home) -> None:
    home.pve.fetch = fetched
    home.pve.storages["local"]["avail"] = 1
    with pytest.raises(HearthError, match=r"No space left.*free some space"):
        images.fetch(home.api, NODE, TEMPLATE)


@pytest.mark.pve(images=False)
def test_a_download_killed_while_it_ran_converges(home: Home) -> None:
    home.pve.fetch = fetched
    images.fetch(home.api, NODE, TEMPLATE)
    images.fetch(home.api, NODE, TEMPLATE)  # the same file is there already, and its checksum is right


@pytest.mark.pve(images=False)
def test_a_download_that_left_no_file_is_an_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home.api, "task", lambda *args, **params: [])
    with pytest.raises(HearthError, match="the file is not there"):
        images.fetch(home.api, NODE, TEMPLATE)


@pytest.mark.pve(images=False)
def test_a_guest_without_its_image_is_one_clear_error(home: Home) -> None:
    with pytest.raises(HearthError, match="create guest comms"):
        home.run(container())
    assert home.pve.guest(135) is None
