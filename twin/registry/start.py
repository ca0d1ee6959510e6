"""Starts a registry of images with the twin, at an address of its own, and fills it with the stand-ins."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from ipaddress import IPv4Interface
from pathlib import Path

from hearth.errors import HearthError
from twin import namespace, processes
from twin.commands import run
from twin.devices import start as devices
from twin.home import Home
from twin.registry import images
from twin.state import Twin

ROLE = "registry"
PORT = 5000
REPOSITORY = "stand-in/vaultwarden"
PATIENCE = 20  # seconds


def address(home: Home) -> IPv4Interface | None:
    """The registry's address on the first IPv4 network: the next free one after the devices'."""
    taken = devices.addresses(home)
    if not taken:
        return None
    network, last = taken[-1].network, taken[-1].ip
    free = (ip for ip in network.hosts() if ip > last and str(ip) not in home.known)
    found = next(free, None)
    return None if found is None else IPv4Interface(f"{found}/{network.prefixlen}")


def running(home: Home) -> list[str]:
    """Which of its processes this home has."""
    return [ROLE] if address(home) else []


def start(twin: Twin, home: Home, say: Callable[[str], None]) -> None:
    """Start the registry where it does not run, with all stand-ins in it."""
    at = address(home)
    if at is None:
        return
    bridge = next(s.bridge for s in home.segments if any(":" not in a for a in s.addresses))
    namespace.inside(twin, "ip", "addr", "replace", str(at), "dev", bridge)
    config = twin.dir / "registry.json"
    text = json.dumps(_config(twin, at))
    if processes.alive(twin, ROLE) is None or not config.exists() or config.read_text() != text:
        processes.stop(twin, ROLE)
        config.write_text(text)
        argv = ["nsenter", f"--net={twin.netns_file}", "--", "docker-registry", "serve", str(config)]
        # The machine's own proxies and settings (REGISTRY_...) are none of its business.
        processes.start(twin, ROLE, argv, {"PATH": "/usr/bin:/bin"})
    _await(twin, at)
    if images.ready(twin) is None:
        say("building the stand-in for Vaultwarden's image (once, some seconds)")
    _fill(twin, at, images.built(twin) / "layout")


def reference(twin: Twin, home: Home, tag: str) -> str:
    """A stand-in image by its digest, as `vaultwarden_image` names one.

    Args:
        tag: of `twin.registry.images.TAGS`.
    """
    at = address(home)
    assert at is not None
    return f"{at.ip}:{PORT}/{REPOSITORY}:{tag}@{twin.load()['images_of'][tag]}"


def _config(twin: Twin, at: IPv4Interface) -> dict[str, object]:
    folder = str(twin.private / "registry")
    return {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": folder}},
        "http": {"addr": f"{at.ip}:{PORT}"},
    }


def _await(twin: Twin, at: IPv4Interface) -> None:
    deadline = time.monotonic() + PATIENCE
    while not namespace.inside(twin, "ss", "-Hltn", "src", f"{at.ip}:{PORT}").strip():
        processes.must_live(twin, ROLE)
        if time.monotonic() > deadline:
            raise HearthError("start the twin's registry", "it does not listen")
        time.sleep(0.05)


def _fill(twin: Twin, at: IPv4Interface, layout: Path) -> dict[str, str]:
    """Every tag in the registry; the digests."""
    kept: dict[str, str] = twin.load().get("images_of", {})
    if kept.get("layout") == str(layout) and (twin.private / "registry").is_dir():
        return kept
    found = {"layout": str(layout)}
    for tag in images.TAGS:
        written = twin.private / "digest"
        to = f"docker://{at.ip}:{PORT}/{REPOSITORY}:{tag}"
        copy = ["copy", "--quiet", "--dest-tls-verify=false", "--digestfile", str(written)]
        argv = ["skopeo", "--insecure-policy", *copy, f"oci:{layout}:{tag}", to]
        enter = ["nsenter", f"--net={twin.netns_file}", "--"]
        run(*enter, *argv, timeout=120, env={"PATH": "/usr/bin:/bin", "HOME": str(twin.private)})
        found[tag] = written.read_text().strip()
    twin.save(images_of=found)
    return found
