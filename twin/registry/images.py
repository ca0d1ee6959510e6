"""Builds the image that stands in for Vaultwarden's: Debian's Python and one program, once a base."""

from __future__ import annotations

import fcntl
import hashlib
import io
import shutil
import tarfile
from pathlib import Path

from twin import base
from twin.commands import run
from twin.state import Twin

PROGRAM = Path(__file__).with_name("program.py")
PACKAGES = "python3-minimal,python3-argon2,dash"
START = '#!/bin/sh\nexec /vaultwarden "${@}"\n'
# What Vaultwarden's Dockerfile sets, and by tag what this one is.
ENVIRONMENT = {"ROCKET_PROFILE": "release", "ROCKET_ADDRESS": "0.0.0.0", "ROCKET_PORT": "80"}
TAGS: dict[str, dict[str, str]] = {
    "1": {"STAND_IN_VERSION": "1"},
    "2": {"STAND_IN_VERSION": "2"},
    "broken": {"STAND_IN_VERSION": "3", "STAND_IN_FAULT": "start"},
    "sick": {"STAND_IN_VERSION": "4", "STAND_IN_FAULT": "live"},
}


def ready(twin: Twin) -> Path | None:
    """The folder of today's images, where it is there already."""
    path = _place(twin)
    return path if path.is_dir() else None


def built(twin: Twin) -> Path:
    """The folder whose `layout` is an OCI layout with every tag; built where it is not there yet."""
    target = _place(twin)
    target.parent.mkdir(mode=0o711, exist_ok=True)
    with (target.parent / ".image-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            half = target.with_name(f"{target.name}.half")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(mode=0o700)
            _build(half, base.sources().lines())
            half.rename(target)
    return target


def _place(twin: Twin) -> Path:
    recipe = [*base.sources().lines(), PACKAGES, START, str(ENVIRONMENT), str(TAGS), PROGRAM.read_text(), "1"]
    return twin.home / "base" / f"image-{hashlib.sha256(chr(0).join(recipe).encode()).hexdigest()[:16]}"


def _build(folder: Path, sources: list[str]) -> None:
    debian, program, layout = folder / "debian.tar", folder / "program.tar", folder / "layout"
    options = ["--variant=extract", "--mode=root", "--format=tar", f"--include={PACKAGES}"]
    options += ['--aptopt=Acquire::http::Timeout "30"', '--aptopt=Acquire::Retries "3"']
    options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale", "info")]
    run("mmdebstrap", *options, base.SUITE, str(debian), *sources, timeout=600)
    program.write_bytes(_layer())
    run("umoci", "init", "--layout", str(layout))
    run("umoci", "new", "--image", f"{layout}:base")
    for layer in (debian, program):
        run("umoci", "raw", "add-layer", "--image", f"{layout}:base", str(layer), timeout=300)
        layer.unlink()
    for tag, marks in TAGS.items():
        environment = [f"--config.env={name}={value}" for name, value in {**ENVIRONMENT, **marks}.items()]
        config = [*environment, "--config.cmd=/start.sh", "--config.volume=/data", "--config.workingdir=/"]
        run("umoci", "config", "--image", f"{layout}:base", "--tag", tag, *config)


def _layer() -> bytes:
    """The program where Vaultwarden's stands, and an empty /data."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        folder = tarfile.TarInfo("data")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        for name, text in (("vaultwarden", PROGRAM.read_text()), ("start.sh", START)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()
