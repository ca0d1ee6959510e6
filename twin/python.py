"""A newer Python for the guests' base: Debian 12 has 3.11, and Home Assistant needs 3.14.

At home uv brings one from the Internet, from a place that a twin does not reach. Here it is Debian's own, of
a later suite, with the libraries that it was built against beside it: the rest of the guest keeps its own.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from twin.commands import run

VERSION = "3.14"
SUITE = "forky"
LIBRARIES = f"/usr/local/lib/python{VERSION}-libraries"

#: What decides how it comes out; part of the base's recipe.
RECIPE = f"python {VERSION} {SUITE} 2"


def bring(root: Path, archive: str) -> None:
    """Put Python into a guest's root folder, as /usr/local/bin/python3.14.

    Args:
        root: the guest's files, of the machine's own architecture.
        archive: the Debian archive's address.
    """
    source = root.with_name(f"{root.name}.python")
    try:
        _extract(source, archive)
        _arrange(source, root)
    finally:
        shutil.rmtree(source, ignore_errors=True)


def _extract(target: Path, archive: str) -> None:
    options = [
        *("--variant=extract", "--mode=root", "--format=directory"),
        f"--include=python{VERSION},libpython{VERSION}-dev",
        *('--aptopt=Acquire::http::Timeout "30"', '--aptopt=Acquire::Retries "3"'),
        *('--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"'),
        # A mirror may stand still, and testing's Release is valid for a week; its signature is checked.
        '--aptopt=Acquire::Check-Valid-Until "false"',
    ]
    run("mmdebstrap", *options, SUITE, str(target), f"deb {archive} {SUITE} main", timeout=600)


def _arrange(source: Path, root: Path) -> None:
    """Copy interpreter, modules and libraries, and tie the one to the other."""
    python, modules = root / f"usr/local/bin/python{VERSION}", f"lib/python{VERSION}"
    libraries = root / LIBRARIES.lstrip("/")
    shutil.copytree(source / "usr" / modules, root / "usr/local" / modules, symlinks=True)
    shutil.copy2(source / f"usr/bin/python{VERSION}", python)
    # Some of Home Assistant's requirements come as source, and are compiled in the guest.
    for headers in (source / "usr/include").glob(f"**/python{VERSION}"):
        shutil.copytree(headers, root / "usr/local" / headers.relative_to(source / "usr"), symlinks=True)
    libraries.mkdir(parents=True)
    # The folder's name is the architecture's own, e.g. x86_64-linux-gnu.
    folder = next((source / "usr/lib").glob("*-linux-gnu"))
    for library in folder.glob("*.so*"):
        shutil.copy2(library, libraries, follow_symlinks=False)
    loader = next(libraries.glob("ld-linux*.so*")).name
    # DT_RPATH, not DT_RUNPATH: it also holds for what the interpreter's modules load in their turn.
    search = ("--force-rpath", "--set-rpath", LIBRARIES)
    run("patchelf", "--set-interpreter", f"{LIBRARIES}/{loader}", *search, str(python))
