"""`twin exec` and `twin shell`.

A command in the twin's network, with production's files and the twin's keys.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from hearth.errors import HearthError
from twin import cgroups, namespace, packages, standins
from twin.home import Home
from twin.state import Twin, read_json

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy")
_PRODUCTION = (
    "PROXMOX_VE_INSECURE",
    "HEARTH_BITWARDEN_SERVER",
    "BW_SESSION",
)  # no secret of the real home gets in
_TAILNET = "TAILSCALE_"  # the home's own tailnet is no business of a twin


def environment(twin: Twin, outer: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command in the twin: the caller's, but the twin's node, keys and state.

    Args:
        twin: a twin that is up.
        outer: the caller's environment.
    """
    home = Home(**twin.load()["home"])
    own = twin.private / "hearth"
    kept = {
        name: value
        for name, value in outer.items()
        if name.lower() not in _PROXIES and name not in _PRODUCTION and not name.startswith(_TAILNET)
    }
    return {
        **kept,
        "HEARTH_TWIN": twin.name,
        "HEARTH_TWIN_HOME": str(twin.home),
        "HEARTH_FLEET": outer.get("HEARTH_FLEET", home.fleet),
        "HEARTH_OVERRIDES": outer.get("HEARTH_OVERRIDES", str(standins.written(twin, home))),
        "HEARTH_SECRETS": str(own / "secrets.age"),
        "HEARTH_PHONES": str(own / "phones.yaml"),
        "HEARTH_AGE_KEY_FILE": str(own / "age.key"),
        "HEARTH_STATE_DIR": str(own / "state"),
        "HEARTH_TWIN_NODE_KEYS": str(twin.node_keys),
        "PROXMOX_VE_ENDPOINT": f"https://{home.nodes[0].address}:8006",
        "PROXMOX_VE_API_TOKEN": read_json(twin.private / "tokens.json")["hearth"],
        "PROXMOX_VE_CA_BUNDLE": str(twin.dir / "ca.pem"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), outer.get("PATH", os.defpath)]),
    }


def execute(twin: Twin, argv: list[str]) -> None:
    """Become the command: its exit code and its signals are this process's own.

    Raises:
        HearthError: the twin is not up, or there is no such program.
    """
    packages.need_root()
    if not namespace.pinned(twin) or not (twin.private / "tokens.json").exists():
        raise HearthError(
            f"run {argv[0]} in the twin {twin.name}", "it is not up", "`python -m twin up` first"
        )
    cgroups.enter_helpers(twin.cgroup)
    env = environment(twin, os.environ)
    os.execvpe("nsenter", ["nsenter", f"--net={twin.netns_file}", "--", *argv], env)
