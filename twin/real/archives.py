"""Backups as files: what is in a storage's folder is what the storage shows, whoever put it there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fakepve.routing import die

from hearth.errors import HearthError
from twin.pve.archives import Archives, is_archive, made_at, read
from twin.real.archive import read_config
from twin.real.errors import GuestError
from twin.state import Twin


def folder(twin: Twin, storage: str) -> Path:
    """Where the backups of a storage are."""
    return twin.dir / "storages" / storage / "dump"


def lend(twin: Twin, storage: str, files: Iterable[Path]) -> list[str]:
    """Show backups that are somewhere on this machine. Links to them, which go when the backups are pruned.

    Args:
        twin: whose node.
        storage: of the node.
        files: as vzdump named them.

    Returns:
        Their names.

    Raises:
        HearthError: one is no backup by its name, or the twin is not up.
    """
    if not twin.exists():
        raise HearthError("lend backups", f"the twin {twin.name} is not up", "`python -m twin up` first")
    place, lent = folder(twin, storage), []
    for file in files:
        if not is_archive(f"backup/{file.name}"):
            raise HearthError(f"lend {file}", "it has no name that vzdump gives", "vzdump-lxc-135-...tar.zst")
        place.mkdir(parents=True, exist_ok=True)
        (place / file.name).unlink(missing_ok=True)
        (place / file.name).symlink_to(file.resolve())
        lent.append(file.name)
    return lent


class RealArchives(Archives):
    """Backups in `storages/STORAGE/dump` of the twin's folder."""

    twin: Twin

    def archive_file(self, volid: str) -> Path:
        """Where a backup is, or will be."""
        storage, _, name = volid.partition(":")
        return folder(self.twin, storage) / name.removeprefix("backup/")

    def archive_config(self, volid: str) -> dict[str, Any]:
        """See Archives: from inside of the file."""
        try:
            return read(read_config(self.archive_file(volid)))
        except GuestError as error:
            raise die(str(error)) from None

    def forget_archive(self, storage: str, name: str) -> None:
        """Remove a backup."""
        super().forget_archive(storage, name)
        self.archive_file(f"{storage}:{name}").unlink(missing_ok=True)

    def forget_archives(self) -> None:
        """Remove all backups of all storages."""
        for storage in self.storages:
            for name in [name for name in self._volumes(storage) if is_archive(name)]:
                self.forget_archive(storage, name)

    def _volumes(self, name: str) -> Any:
        """Look into the folder first: a file may have come or gone, or been cut."""
        volumes = self.storages[name].setdefault("volumes", {})
        files = [file for file in folder(self.twin, name).glob("vzdump-*") if file.is_file()]
        there = {f"backup/{file.name}": file for file in files}
        found = {volume: file for volume, file in there.items() if is_archive(volume)}
        for volume in [each for each in volumes if each.startswith("backup/") and each not in found]:
            super().forget_archive(name, volume)
        for volume, file in found.items():
            size = file.stat().st_size
            if volume in volumes:
                volumes[volume]["size"] = size
            else:
                self.store_archive(name, volume, size, made_at(volume))
        return super()._volumes(name)

    async def _content_delete(self, v: dict[str, Any], user: str) -> Any:
        """The file goes when the task says that the volume has."""
        volid = v["volume"] if ":" in v["volume"] else f"{v['storage']}:{v['volume']}"
        storage, _, name = volid.partition(":")
        answer = await super()._content_delete(v, user)
        if is_archive(name) and isinstance(answer, str) and answer in self.tasks:
            running = self._running.get(answer)
            if running is not None:
                await asyncio.wait([running])
            if self.tasks[answer].get("exitstatus") == "OK":
                with suppress(OSError):
                    self.forget_archive(storage, name)
        return answer
