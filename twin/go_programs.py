"""Programs that tests and the twin need and Debian 12 does not have, built by Go at pinned versions.

Each is built once, without C libraries so that it runs in every guest, and kept in HEARTH_GO_PROGRAMS (else
`~/.cache/hearth/go`), in a folder named after its version and build tags.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hearth.errors import HearthError
from twin.commands import run

KEPT: Final = "HEARTH_GO_PROGRAMS"
GO: Final = "/usr/local/go/bin"  # where go.dev/doc/install puts it; it may be in nobody's path
LONGEST: Final = 1800  # seconds; a cold build of tailscaled or headscale takes minutes on two cores


@dataclass(frozen=True)
class Program:
    """A Go command.

    Args:
        module: the module that has it.
        version: its pinned version.
        go: the least version of Go that the module wants (its go.mod says so).
        package: the command's path below the module.
        tags: the build tags.
        within: another of PROGRAMS that is this one too when it is called by this name.
    """

    module: str
    version: str
    go: str
    package: str
    tags: tuple[str, ...] = ()
    within: str | None = None

    @property
    def build(self) -> str:
        """What tells this build from another: version and tags, fit for a file's name."""
        tags = hashlib.sha256(" ".join(self.tags).encode()).hexdigest()[:8]
        return f"{self.version}-{tags}" if self.tags else self.version


# headscale: 0.30, the first with the v2 API, is not to be had from the module proxy: 0.29.2 is the newest.
# tailscale: 1.104 wants Go 1.27; this is the newest that Go 1.26 builds.
_HEADSCALE: Final = ("github.com/juanfont/headscale", "v0.29.2", "1.26.4")
_TAILSCALE: Final = ("tailscale.com", "v1.102.5", "1.26.6")
# Command and daemon in one, and without what no guest of a home does (clouds, desktops, file sharing): to
# build both whole took a third of `make test` on a fresh machine. See tailscale.com/feature/featuretags.
_LEFT_OUT: Final = (
    *("aws", "cloud", "kube", "identityfederation", "oauthkey", "bird", "synology", "tpm", "tap"),
    *("desktop_sessions", "systray", "webbrowser", "webclient", "qrcodes", "completion"),
    *(
        "taildrop",
        "drive",
        "capture",
        "wakeonlan",
        "appconnectors",
        "conn25",
        "clientupdate",
        "acme",
        "serve",
    ),
)
_TAGS: Final = ("ts_include_cli", *(f"ts_omit_{feature}" for feature in _LEFT_OUT))
PROGRAMS: Final = {
    "headscale": Program(*_HEADSCALE, "cmd/headscale"),
    "tailscale": Program(*_TAILSCALE, "cmd/tailscaled", _TAGS, within="tailscaled"),
    "tailscaled": Program(*_TAILSCALE, "cmd/tailscaled", _TAGS),
    # What judges the workflow files of docs/ci.
    "actionlint": Program("github.com/rhysd/actionlint", "v1.7.12", "1.25.0", "cmd/actionlint"),
}


def ensure(name: str, environ: Mapping[str, str] | None = None) -> Path:
    """The program's file; built where it is not there yet.

    Args:
        name: one of PROGRAMS.
        environ: environment variables; None: the process's.

    Raises:
        HearthError: Go is missing or too old, or the program cannot be built.
    """
    given = dict(os.environ if environ is None else environ)
    program = PROGRAMS[name]
    folder = _kept(given) / f"{name}-{program.build}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists() and program.within:
            (folder / name).hardlink_to(ensure(program.within, environ))
        elif not (folder / name).exists():
            _build(name, program, folder, given)
    return folder / name


def _kept(environ: Mapping[str, str]) -> Path:
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/root"), ".cache"))
    return Path(environ.get(KEPT) or cache / "hearth/go")


def _build(name: str, program: Program, folder: Path, environ: Mapping[str, str]) -> None:
    """Build as a module of our own requires it.

    `go install MODULE@VERSION` would also ask the proxy for the module's list of versions, which not every
    proxy gives.
    """
    path = f"{environ.get('PATH', os.defpath)}:{GO}"
    go = shutil.which("go", path=path)
    if go is None:
        raise HearthError(f"build {name}", "Go is not installed", f"install Go {program.go} or newer")
    env = {"HOME": str(folder), **environ, "PATH": path, "CGO_ENABLED": "0"}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        lines = ["module program", f"go {program.go}", f"require {program.module} {program.version}", ""]
        Path(work, "go.mod").write_text("\n\n".join(lines))
        command = [
            go,
            "build",
            "-C",
            work,
            "-mod=mod",
            "-trimpath",
            "-tags",
            ",".join(program.tags),
            "-o",
            name,
        ]
        run(*command, f"{program.module}/{program.package}", timeout=LONGEST, env=env)
        Path(work, name).rename(folder / name)


def main() -> int:
    """Build all of them; 0 when they are there."""
    try:
        for name in PROGRAMS:
            ensure(name)
    except HearthError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
