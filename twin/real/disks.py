"""Disks of guests: sparse image files with XFS.

So a size is a limit, `df` tells it, it grows while it is used, and a snapshot is a copy. (ext4 grows while it
is mounted only with CAP_SYS_RESOURCE, which machines in CI lack.)

The root disk holds what differs from the base: an overlay joins the two. Without loop devices a disk is a
plain folder: its size is recorded only, and `twin status` says so.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from twin.commands import run, works

#: XFS cannot be smaller (mkfs.xfs).
SMALLEST = 300 * 1024**2


def loops_work(scratch: Path) -> bool:
    """Whether this machine can mount image files at all.

    Args:
        scratch: a folder to try it in.
    """
    image, place = scratch / "loop-trial.img", scratch / "loop-trial"
    try:
        place.mkdir(exist_ok=True)
        make_image(image, SMALLEST)
        if not works("mount", "-o", "loop", str(image), str(place)):
            return False
        run("umount", str(place))
        return True
    finally:
        image.unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)


def make_image(image: Path, size: int) -> None:
    """Make an image file with an empty file system of so many bytes."""
    with image.open("wb") as out:
        out.truncate(max(size, SMALLEST))
    run("mkfs.xfs", "-q", "-f", "-K", str(image))


class Disk:
    """One disk.

    Args:
        image: its image file; without loop devices a folder of this name.
        place: where it is mounted.
        images: whether image files can be mounted.
    """

    def __init__(self, image: Path, place: Path, images: bool) -> None:
        self.image = image
        self.place = place
        self.images = images

    def make(self, size: int) -> None:
        """Make it, empty, of so many bytes."""
        self.image.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        if self.images:
            make_image(self.image, size)
        else:
            self.image.mkdir(mode=0o755)

    def mount(self) -> None:
        """Mount it, unless it is."""
        self.place.mkdir(parents=True, exist_ok=True, mode=0o755)
        if not os.path.ismount(self.place):
            # nouuid: a clone's file system has the id of its original.
            options = "loop,nodiscard,nouuid" if self.images else "bind"
            run("mount", "-o", options, str(self.image), str(self.place))

    def unmount(self) -> None:
        """Unmount it, unless it is not mounted."""
        if os.path.ismount(self.place):
            run("umount", str(self.place))

    def grow(self, size: int) -> None:
        """Grow it to so many bytes, mounted or not; the file system follows when it is mounted."""
        if not self.images or self.image.stat().st_size >= size:
            return
        os.truncate(self.image, size)
        mounted = os.path.ismount(self.place)
        if not mounted:
            self.mount()
        for device in _loops(self.image):
            run("losetup", "-c", device)
        run("xfs_growfs", str(self.place))
        if not mounted:
            self.unmount()

    def copy_to(self, target: Path) -> None:
        """Copy its content as it is now, mounted or not."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self.images:
            run("cp", "-a", str(self.image), str(target), timeout=600)
            return
        mounted = os.path.ismount(self.place)
        if mounted:
            run("fsfreeze", "-f", str(self.place))
        try:
            run("cp", "--sparse=always", str(self.image), str(target), timeout=600)
        finally:
            if mounted:
                run("fsfreeze", "-u", str(self.place))

    def copy_from(self, source: Path) -> None:
        """Take back a copy; the disk is not mounted."""
        self.remove()
        run("cp", "-a", "--sparse=always", str(source), str(self.image), timeout=600)

    def remove(self) -> None:
        """Remove it; it is not mounted."""
        discard(self.image)


def discard(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def release_loops(folder: Path) -> None:
    """Let go of every image below a folder that a loop device still holds."""
    for device, file in _all_loops():
        if file.startswith(f"{folder}/"):
            works("losetup", "-d", device)


def _loops(image: Path) -> list[str]:
    return [device for device, file in _all_loops() if file == str(image)]


def _all_loops() -> list[tuple[str, str]]:
    listing = run("losetup", "--json", "-l", "-O", "NAME,BACK-FILE")
    rows = json.loads(listing)["loopdevices"] if listing.strip() else []
    return [(row["name"], (row["back-file"] or "").removesuffix(" (deleted)")) for row in rows]
