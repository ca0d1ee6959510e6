"""Proxmox's own backups, as far as a drill can have them: files of this machine, and word of the others.

Of production's API only what is there is asked: GETs.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hearth.backup.proof import shown
from hearth.errors import HearthError
from hearth.fleet.model import Guest
from hearth.proxmox.archives import candidates, listed
from hearth.proxmox.observe import PATHS

if TYPE_CHECKING:
    from hearth.run import Run

_NAME = re.compile(
    r"vzdump-(lxc|qemu)-(\d+)-(\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d)\.(?:tar|vma)(\.zst|\.gz|\.lzo)?"
)
_UNPACK = {".zst": "zstd", ".gz": "gzip", ".lzo": "lzop"}
_VMA = b"VMA\0"  # how an archive of a real VM begins (vma_spec.txt of pve-qemu)


def newest(folder: Path, guests: Iterable[Guest], date: datetime | None) -> dict[str, Path]:
    """The newest file of each guest that is not newer than a date: guest -> file.

    Args:
        folder: with vzdump's files.
        guests: the fleet's.
        date: as `date=` of restore.py; None: the newest.

    Raises:
        HearthError: the folder cannot be read.
    """
    try:
        names = sorted((path.name for path in folder.iterdir()), reverse=True)
    except OSError as error:
        raise HearthError(
            f"look for backups in {folder}", error.strerror or str(error), "drill_archives"
        ) from None
    found: dict[str, Path] = {}
    for guest in guests:
        for name in names:
            match = _NAME.fullmatch(name)
            if match and (match[1], int(match[2])) == (PATHS[guest.kind], guest.vmid):
                made = datetime.strptime(match[3], "%Y_%m_%d-%H_%M_%S").replace(tzinfo=UTC)
                if date is None or made <= date:
                    found[guest.name] = folder / name
                    break
    return found


def is_of_qemu(file: Path) -> bool:
    """Whether it is an archive of a real VM, which no container can be made from."""
    unpack = [_UNPACK[file.suffix], "-dc"] if file.suffix in _UNPACK else ["cat"]
    with subprocess.Popen([*unpack, str(file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        head = process.stdout.read(len(_VMA))
        process.kill()
    return head == _VMA


def known_to_proxmox(run: Run, date: datetime | None) -> Iterator[str]:
    """What production's Proxmox says of its own backups, as notes: GETs only, and no drill fails by it."""
    storages = sorted({job.storage for job in run.fleet.backup.jobs}) if run.fleet.backup else []
    if not storages:
        return
    try:
        for guest in run.fleet.guests:
            node = run.survey.node_of(guest)
            mine = candidates(listed(run.survey.api(node), node, storages), guest, date)
            when = f"of {shown(mine[0].time)}" if mine else "none"
            yield f"Proxmox's newest backup of {guest.name}: {when}"
    except HearthError as error:
        yield f"Proxmox was not asked for its backups: {error}"
