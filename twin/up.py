"""`twin up`: make the twin, or what is missing of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fakepve.certs import make_cert

from hearth.errors import HearthError
from twin import (
    base,
    cgroups,
    control,
    namespace,
    node_ssh,
    node_tailscale,
    packages,
    processes,
    programs,
    proxy,
    sysctls,
)
from twin.devices import start as devices
from twin.home import PROJECT, Home, dump, fleet_file, read_home
from twin.real.disks import loops_work
from twin.registry import start as registry
from twin.state import Twin

API = "api"
PATIENCE = 30
_CERTIFICATE_DAYS = 20  # of the 30 that it is valid


def up(twin: Twin, say: Callable[[str], None]) -> None:
    """Make the twin. Safe to repeat; finishes or repairs a half-made one.

    Args:
        twin: which.
        say: told what is being done.

    Raises:
        HearthError: not root, not Debian, or a step failed.
    """
    packages.need_root()
    installed = packages.install()
    if installed:
        say(f"installed {', '.join(installed)}")
    home = read_home(fleet_file())
    with twin.locked():
        twin.make_directories()
        changed = twin.load().get("home") != dump(home)
        with twin.locked("home"):
            twin.save(home=dump(home), version=1)
            namespace.link_addresses(twin)
            sysctls.raise_limits(twin)
        cgroups.prepare(twin.cgroup)
        namespace.make(twin, home)
        if base.ready(twin) is None:
            say("building the guest base (once, about a minute)")
        guest_base = base.build(twin)
        if "images" not in twin.load():
            twin.save(images=loops_work(twin.dir))
        proxy.start(twin, home)
        fresh = changed or twin.load().get("code") != _code()
        _start_api(twin, home, guest_base, restart=changed)
        node_ssh.start(twin, home)
        devices.start(twin, home, restart=fresh)
        registry.start(twin, home, say)
        programs.start(twin, home, say)
        node_tailscale.start(twin, home)
        for role in roles(home):
            processes.must_live(twin, role)
    say(f"{home.nodes[0].name} is up: https://{home.nodes[0].address}:8006")


def roles(home: Home) -> list[str]:
    """The processes that a twin of this home has."""
    own = (devices, registry, programs, node_tailscale)
    return [API, node_ssh.ROLE, proxy.OUTER, *(role for part in own for role in part.running(home))]


def _start_api(twin: Twin, home: Home, guest_base: Path, restart: bool) -> None:
    code = _code()
    state = twin.load()
    if restart or state.get("code") != code or state.get("base") != str(guest_base):
        processes.stop(twin, API)
    if processes.alive(twin, API) is None:
        twin.save(code=code, base=str(guest_base))
        _certificate(twin, home)
        twin.control.unlink(missing_ok=True)
        env = {**os.environ, "PYTHONPATH": str(PROJECT), "HEARTH_TWIN_HOME": str(twin.home)}
        processes.start(
            twin, API, namespace.enter(twin, sys.executable, "-m", "twin.api_process", twin.name), env
        )
    _await_api(twin)


def _await_api(twin: Twin) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        processes.must_live(twin, API)
        try:
            control.ask(twin, "GET", "/health")
            return
        except HearthError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _certificate(twin: Twin, home: Home) -> None:
    crt = twin.private / "pve.crt"
    if crt.exists() and time.time() - crt.stat().st_mtime < _CERTIFICATE_DAYS * 86400:
        return
    names = [name for node in home.nodes for name in (node.address, node.name)]
    make_cert(str(twin.private), name="pve", hosts=names)
    shutil.copyfile(crt, twin.dir / "ca.pem")


def _code() -> str:
    """What tells one version of this program from another.

    A running API process of old code is started again.
    """
    files = sorted((PROJECT / "twin").rglob("*.py"))
    return hashlib.sha256("".join(f"{f}{f.stat().st_mtime_ns}" for f in files).encode()).hexdigest()
