"""The exporter of Proxmox VE: a Python program of its own, with the token of the user that only reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from hearth.bootstrap.reader import SECRET
from hearth.errors import HearthError
from hearth.ops import release, runtime
from hearth.ops.files import File
from hearth.ops.release import Parcel
from hearth.proxmox.access import CA_BUNDLE, verify_of
from hearth.role.here import Here

from .exporters import FOLDER, PVE, Exporter

APP, USER, UNIT = "pve-exporter", "pve-exporter", "pve-exporter.service"
PACKAGES = ("python3", "python3-venv", "ca-certificates", "curl")
LOCK = "pve-exporter.lock"
SETTINGS, AUTHORITY = f"{FOLDER}/pve.yml", f"{FOLDER}/pve-ca.pem"
WITHIN = 900  # seconds


def readable(here: Here) -> bool:
    """Whether there is a token to read with: bootstrap.py has made it."""
    return here.secrets.find(SECRET) is not None


def targets(here: Here) -> dict[str, str]:
    """Each node's API, as HOST:PORT, and the node's name."""
    return {urlsplit(node.endpoint).netloc: node.name for node in here.fleet.nodes}


def install(here: Here) -> None:
    """The program, from PyPI, each part by its hash."""
    uv = runtime.chosen_uv(here.host.data)
    runtime.uv(name="Install uv", pin=uv)
    release.built(
        name="Install the Proxmox exporter",
        app=APP,
        ident=_ident(here),
        build=script(uv.path),
        parcels=[Parcel("lock", _lock(here))],
        uses=[uv.path],
        within=WITHIN,
    )


def script(uv: str) -> str:
    """The shell script that fills its release."""
    return "\n".join(
        [
            f"{uv}/bin/uv venv -q --python /usr/bin/python3 venv",
            f'{uv}/bin/uv pip install -q --python venv/bin/python --cache-dir "$TMPDIR/uv" '
            '--require-hashes -r "$SOURCES/lock"',
            "venv/bin/pve_exporter --help >/dev/null",
        ]
    )


def _lock(here: Here) -> bytes:
    return (here.run.project / "templates" / here.role.name / LOCK).read_bytes()


def _ident(here: Here) -> str:
    uv = runtime.chosen_uv(here.host.data)
    return release.ident_of("pve-exporter", script(uv.path), _lock(here))


def exporter(here: Here) -> Exporter:
    """Its files and its unit."""
    bundle = authority(_environ(here))
    files = [File(SETTINGS, settings(here), USER, USER, "600", secret=True)]
    values = {
        "user": USER,
        "authority": AUTHORITY if bundle else None,
        "command": f"{release.path_of(APP, _ident(here))}/venv/bin/pve_exporter --config.file {SETTINGS} "
        f"--web.listen-address 127.0.0.1:{PVE} --no-collector.config --no-collector.replication",
    }
    if bundle:
        files.append(File(AUTHORITY, bundle))
    unit = here.template("pve-exporter.service.j2", f"/etc/systemd/system/{UNIT}", values=values)
    return Exporter(
        title="Proxmox exporter",
        unit=UNIT,
        user=USER,
        port=PVE,
        files=tuple(files),
        units=(unit,),
    )


def settings(here: Here) -> str:
    """How it logs in. It trusts whom this run trusts."""
    name, _, value = here.secrets.get(SECRET).reveal().partition("=")
    user, _, token = name.partition("!")
    secure = verify_of(_environ(here)) is not False
    found = {"user": user, "token_name": token, "token_value": value, "verify_ssl": secure}
    return "# Written by Hearth.\n" + yaml.safe_dump({"default": found})


def authority(environ: Mapping[str, str]) -> str | None:
    """The CA that the run itself was told to trust (PROXMOX_VE_CA_BUNDLE); None: those of the system.

    Raises:
        HearthError: the file cannot be read.
    """
    named = environ.get(CA_BUNDLE)
    if not named:
        return None
    try:
        return Path(named).read_text(encoding="utf-8")
    except OSError as error:
        raise HearthError(f"read {named}", str(error.strerror), f"{CA_BUNDLE} names it") from error


def _environ(here: Here) -> Mapping[str, str]:
    found: Mapping[str, str] = getattr(here.run, "environ", os.environ)
    return found
