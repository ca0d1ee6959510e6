"""What vzdump writes, and a restore reads: a guest's disks in a tar, its configuration first.

A container's archive is as Proxmox writes it: `./etc/vzdump/pct.conf`, then its files with the ids that they
have inside. So one of a real node can be unpacked here. A VM is a container in a twin, and its archive holds
`./qemu-server.conf` and a folder of files for each disk: no real VMA, and a real one is refused.

Sources: PVE/VZDump/LXC.pm (archive), PVE/LXC/Create.pm (restore_tar_archive), PVE/Storage.pm
(extract_vzdump_config_tar).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from twin.base import FIRST_ID, IDS
from twin.commands import run
from twin.real.disks import Disk, discard
from twin.real.errors import GuestError
from twin.real.spec import Spec, Volume
from twin.state import Twin

CONFIGS = {"lxc": "etc/vzdump/pct.conf", "qemu": "qemu-server.conf"}
LONGEST = 3600  # seconds of one backup or restore
#: Of vzdump's `stdexcludes`, and what is no file of the guest's own.
_LEFT_OUT = ("./tmp/?*", "./var/tmp/?*", "./var/run/?*.pid", "./dev/*")
_ATTRIBUTES = (
    *("--numeric-owner", "--acls", "--xattrs", "--xattrs-include=user.*"),
    *("--xattrs-include=security.capability", "--warning=no-xattr-write", "--warning=no-file-ignored"),
)
_ENDINGS = {".zst": "zstd", ".gz": "gzip", ".lzo": "lzop"}


def nothing(twin: Twin) -> Path:
    """A base without a file: a guest that comes from a backup has all of its files itself."""
    place = twin.dir / "nothing"
    for name in ("priv", "unpriv"):
        (place / name).mkdir(parents=True, exist_ok=True)
    return place


@dataclass(frozen=True)
class Disks:
    """A guest's disks.

    Args:
        spec: the guest.
        own: its folder, for what is needed meanwhile.
        by_key: the disks by their keys; they may be mounted.
    """

    spec: Spec
    own: Path
    by_key: Mapping[str, Disk]


def pack(file: Path, disks: Disks, config: str, base: Path) -> None:
    """Write an archive; it has its name once it is whole.

    Args:
        file: the archive.
        disks: what it is to hold.
        config: the guest's configuration, as its file has it.
        base: the folder that its root disk is joined to.

    Raises:
        GuestError: it could not be written.
    """
    spec, half = disks.spec, file.with_suffix(".dat")
    file.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(disks.own / "backup") as scratch, ExitStack() as stack:
        about = scratch / "about" / CONFIGS[spec.kind]
        about.parent.mkdir(parents=True)
        about.write_text(config)
        places = {
            volume.key: stack.enter_context(_copied(disks.by_key[volume.key], scratch, volume))
            for volume in spec.volumes
            if volume.backup
        }
        tree = scratch / "tree"
        root = tree if spec.kind == "lxc" else tree / _folder(spec.root)
        root.mkdir(parents=True)
        stack.enter_context(_joined(places.pop(spec.root.key), base, spec, root))
        for volume in spec.volumes:
            target = root / str(volume.path).lstrip("/") if volume.path else tree / _folder(volume)
            if volume.key in places and _there(target, spec):
                stack.enter_context(_bound(places[volume.key], target))
        with half.open("wb") as out:
            _piped([*_as_root_of(spec), *_tar_of(spec, scratch)], _packer(file), out=out)
    half.replace(file)


def _tar_of(spec: Spec, scratch: Path) -> list[str]:
    left_out = _LEFT_OUT if spec.kind == "lxc" else ()
    return [
        *("tar", "-cpf", "-", "--sparse", *_ATTRIBUTES, "-C", str(scratch / "about")),
        *(f"./{CONFIGS[spec.kind]}", "-C", str(scratch / "tree"), "--no-anchored", "--exclude=lost+found"),
        *("--anchored", *(f"--exclude={pattern}" for pattern in left_out), "./"),
    ]


def unpack(file: Path, disks: Disks) -> None:
    """Fill empty disks from an archive.

    Args:
        file: the archive.
        disks: the disks, made and not mounted.

    Raises:
        GuestError: the archive is damaged or of another kind, or does not fit.
    """
    spec = disks.spec
    with _scratch(disks.own / "restore") as scratch, ExitStack() as stack:
        tree = scratch / "tree"
        for volume in spec.volumes:
            place = stack.enter_context(_mounted(disks.by_key[volume.key]))
            if volume is spec.root:
                place /= "upper"
                place.mkdir(mode=0o755)
            os.chown(place, *[_shift(spec)] * 2)
            stack.enter_context(_bound(place, _target(tree, spec, volume)))
        tar = ["tar", "-xpf", "-", *_ATTRIBUTES, "-C", str(tree)]
        anchored = ["--anchored", "--exclude=./dev/*", f"--exclude=./{CONFIGS[spec.kind]}"]
        _piped([*_unpacker(file), str(file)], [*_as_root_of(spec), *tar, *anchored])
        if spec.kind == "qemu" and not any(_target(tree, spec, spec.root).iterdir()):
            raise GuestError("the archive holds no files of a twin's VM")


def read_config(file: Path) -> str:
    """The configuration that an archive holds.

    Raises:
        GuestError: it has none, or cannot be read.
    """
    if not file.is_file():
        raise GuestError(f"ERROR: file '{file}' does not exist")
    kind = "qemu" if "-qemu-" in file.name else "lxc"
    # It stands first: the rest is not read, so its end is not missed here.
    words = [*_unpacker(file), str(file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as source:
        done = subprocess.run(
            ["tar", "-xOf", "-", "--occurrence=1", f"./{CONFIGS[kind]}"],
            stdin=source.stdout,
            capture_output=True,
            timeout=LONGEST,
            check=False,
        )
        source.kill()
    if done.returncode or not done.stdout:
        raise GuestError("ERROR: archive contains no configuration file")
    return done.stdout.decode(errors="replace")


@contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    discard(place)
    place.mkdir(mode=0o711)
    try:
        yield place
    finally:
        discard(place)


@contextmanager
def _copied(disk: Disk, scratch: Path, volume: Volume) -> Iterator[Path]:
    """A disk as it is at this moment, mounted: what a snapshot of the storage is on a node."""
    copy = Disk(scratch / f"{volume.key}.img", scratch / volume.key, disk.images)
    disk.copy_to(copy.image)
    try:
        with _mounted(copy) as place:
            yield place
    finally:
        copy.remove()


@contextmanager
def _mounted(disk: Disk) -> Iterator[Path]:
    """Where a disk's files are. (Of a folder nothing is mounted: a bind mount would not be seen as one.)"""
    if not disk.images:
        yield disk.image
        return
    disk.mount()
    try:
        yield disk.place
    finally:
        disk.unmount()


@contextmanager
def _joined(disk: Path, base: Path, spec: Spec, place: Path) -> Iterator[None]:
    """A root disk joined to its base, to be read."""
    lower = base / ("unpriv" if spec.unprivileged else "priv")
    (disk / "upper").mkdir(exist_ok=True)
    options = f"ro,lowerdir={disk / 'upper'}:{lower},redirect_dir=follow"
    run("mount", "-t", "overlay", "overlay", "-o", options, str(place))
    try:
        yield
    finally:
        run("umount", str(place))


@contextmanager
def _bound(source: Path, place: Path) -> Iterator[None]:
    run("mount", "--bind", str(source), str(place))
    try:
        yield
    finally:
        run("umount", str(place))


def _there(target: Path, spec: Spec) -> bool:
    """Whether a disk's place is in the tree. A container that never ran has none, and an empty disk."""
    if spec.kind == "qemu":
        target.mkdir(parents=True, exist_ok=True)
    return target.is_dir()


def _target(tree: Path, spec: Spec, volume: Volume) -> Path:
    """Where a disk's files stand in an archive; made where it is not there."""
    inside = str(volume.path).lstrip("/") if volume.path else ""
    place = tree / (inside if spec.kind == "lxc" else _folder(volume))
    for folder in (
        tree,
        *reversed([p for p in place.parents if p.is_relative_to(tree) and p != tree]),
        place,
    ):
        if not folder.is_dir():
            folder.mkdir()
            os.chown(folder, *[_shift(spec)] * 2)  # the guest's own root has to be able to change it
    return place


def _shift(spec: Spec) -> int:
    return FIRST_ID if spec.unprivileged else 0


def _folder(volume: Volume) -> str:
    return f"drive-{volume.key}"


def _as_root_of(spec: Spec) -> list[str]:
    """As the guest's own root: an archive has the ids of the inside."""
    if not spec.unprivileged:
        return []
    return ["lxc-usernsexec", *(word for kind in "ug" for word in ("-m", f"{kind}:0:{FIRST_ID}:{IDS}")), "--"]


def _packer(file: Path) -> list[str]:
    program = _ENDINGS.get(file.suffix)
    return [program, "-c", *(["-1", "-T0", "-q"] if program == "zstd" else [])] if program else ["cat"]


def _unpacker(file: Path) -> list[str]:
    program = _ENDINGS.get(file.suffix)
    return [program, "-dc"] if program else ["cat"]


def _piped(first: Sequence[str], second: Sequence[str], out: IO[bytes] | int = subprocess.DEVNULL) -> None:
    """Run two programs, the second of which reads what the first writes. Raises GuestError."""
    with subprocess.Popen(first, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source:
        done = subprocess.run(
            second, stdin=source.stdout, stdout=out, stderr=subprocess.PIPE, timeout=LONGEST, check=False
        )
        assert source.stdout is not None and source.stderr is not None
        source.stdout.close()  # the first one ends, where the second has
        said = source.stderr.read() + done.stderr
    words = said.decode(errors="replace").splitlines()
    for argv, code in ((second, done.returncode), (first, source.returncode)):
        if code:
            raise GuestError(f"command '{' '.join(argv)}' failed: exit code {code}", words[-4:])
