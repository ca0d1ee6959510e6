"""Programs that the twin's guests fetch as they would the vendors' releases: headscale and Tailscale.

Built by Go once a machine (twin.go_programs), packed once, and served over HTTP at the registry's address.
Only a fleet with a tailnet has them.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from hearth.errors import HearthError
from twin import go_programs, namespace, processes
from twin.home import Home
from twin.registry import start as registry
from twin.state import Twin

ROLE = "programs"
PORT = 5001
PATIENCE = 20  # seconds
#: What group_data calls the source, and what is in the file that it names.
SOURCES = {
    "headscale_source": ("headscale", ("headscale",)),
    "tailscale_source": ("tailscale.tgz", ("tailscale", "tailscaled")),
}


def running(home: Home) -> list[str]:
    """Which of its processes this home has."""
    return [ROLE] if home.tailnet and registry.address(home) else []


def start(twin: Twin, home: Home, say: Callable[[str], None]) -> None:
    """Have the programs, and a server for them, where the home has a tailnet."""
    at = registry.address(home)
    if not running(home) or at is None:
        processes.stop(twin, ROLE)
        return
    folder, digests = packed(twin, say)
    if twin.load().get("programs") != {"folder": str(folder), **digests}:
        processes.stop(twin, ROLE)
    if processes.alive(twin, ROLE) is None:
        argv = [
            sys.executable,
            "-m",
            "http.server",
            "--bind",
            str(at.ip),
            "--directory",
            str(folder),
            str(PORT),
        ]
        processes.start(
            twin, ROLE, ["nsenter", f"--net={twin.netns_file}", "--", *argv], {"PATH": "/usr/bin:/bin"}
        )
    twin.save(programs={"folder": str(folder), **digests})
    _await(twin, f"{at.ip}:{PORT}")


def sources(twin: Twin, home: Home) -> dict[str, dict[str, str]]:
    """The values of group_data that name the programs; none where the home has no tailnet."""
    known, at = twin.load().get("programs"), registry.address(home)
    if not known or at is None or not running(home):
        return {}
    return {
        value: {"url": f"http://{at.ip}:{PORT}/{known[value]}/{file}", "sha256": known[value]}
        for value, (file, _) in SOURCES.items()
    }


def packed(twin: Twin, say: Callable[[str], None]) -> tuple[Path, dict[str, str]]:
    """The folder with the files, each below its own SHA-256; and these, by the value of group_data."""
    found = {}
    target = twin.home / "base" / "programs"
    target.mkdir(parents=True, mode=0o755, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for value, (file, names) in SOURCES.items():
            kept = target / "-".join(f"{name}-{go_programs.PROGRAMS[name].build}" for name in names)
            if not kept.exists():
                say(f"building {' and '.join(names)} (once a machine, minutes)")
                kept.write_text(_pack(target, file, [go_programs.ensure(name) for name in names]))
            found[value] = kept.read_text()
    return target, found


def _pack(target: Path, file: str, programs: list[Path]) -> str:
    half = target / f".{file}.half"
    if file.endswith(".tgz"):
        # A folder first, as the vendor's archive has it. Quick to unpack, since every guest does.
        with tarfile.open(half, "w:gz", compresslevel=1) as tar:
            for program in programs:
                tar.add(program, f"tailscale/{program.name}")
    else:
        shutil.copyfile(programs[0], half)
    with half.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    (target / digest).mkdir(exist_ok=True)
    half.rename(target / digest / file)
    return digest


def _await(twin: Twin, at: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not namespace.inside(twin, "ss", "-Hltn", "src", at).strip():
        processes.must_live(twin, ROLE)
        if time.monotonic() > deadline:
            raise HearthError("serve the twin's programs", "the server does not listen")
        time.sleep(0.05)
