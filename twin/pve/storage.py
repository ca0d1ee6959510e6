"""Correction: downloads to a storage are real, and fail as real ones do.

Recording 880-883 (a refused connection), 57 (how a template is listed), 211 (how a volume is).
Source: `download_url` in PVE/API2/Storage/Status.pm (pve-storage), `download_file_from_url` in
PVE/Tools.pm (pve-common).
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from fakepve import TaskError
from fakepve.routing import die, param_error, split_list
from fakepve.server import USER, params
from fakepve.storage import _is_file

from twin.pve.tasks import Tasks

#: Gets what a URL names: its bytes, or a file that holds them. Raises OSError or TaskError.
Fetch = Callable[[str], Awaitable[bytes | Path]]

_EXTENSIONS = {
    "iso": (re.compile(r"[^/]+\.(?:iso|img)", re.I), "wrong file extension"),
    "vztmpl": (re.compile(r"[^/]+\.(?:tar|tar\.(?:gz|xz|zst|bz2))", re.I), "wrong file extension"),
    "import": (
        re.compile(r"[a-zA-Z0-9\-.+=_]+\.(?:ova|qcow2|raw|vmdk)"),
        "invalid filename or wrong extension",
    ),
}
_FOLDERS = {"iso": "template/iso", "vztmpl": "template/cache", "import": "import"}
_TEMPLATE_FORMATS = {"gz": "tgz", "xz": "txz", "zst": "tzst", "bz2": "tbz2"}
#: A qcow2 file begins with its magic; its virtual size is 8 bytes, big endian, at 24.
_QCOW2_MAGIC, _QCOW2_SIZE = b"QFI\xfb", slice(24, 32)
_FETCH_TIMEOUT = 60


async def fetch_url(url: str) -> bytes | Path:
    """Get a URL over HTTP. Raises TaskError in the words of the wget that Proxmox runs."""
    limit = aiohttp.ClientTimeout(total=_FETCH_TIMEOUT)
    try:
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(url) as answer:
            if not answer.ok:
                raise TaskError(f"download failed: ERROR {answer.status}: {answer.reason}.")
            return await answer.read()
    except aiohttp.ClientConnectorError as error:
        raise TaskError(
            f"download failed: Connecting to {error.host}:{error.port}... failed: Connection refused."
        ) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TaskError(f"download failed: {error}") from error


class Storage(Tasks):
    """Files on storages. `fetch` gets what a download asks for; `contents` keeps what it got."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fetch: Fetch = fetch_url
        self.contents: dict[str, bytes | Path] = {}

    def store_file(self, storage: str, name: str, size: int, content: str = "iso") -> None:
        """Put a file on a storage. Raises TaskError where it does not fit."""
        super().store_file(storage, name, size, content)
        if content == "vztmpl":
            ending = name.rpartition(".")[2]
            volume = self.storages[storage]["volumes"][f"vztmpl/{name}"]
            volume["format"] = _TEMPLATE_FORMATS.get(ending, ending)

    def content_of(self, volid: str) -> bytes | Path | None:
        """What was downloaded as `STORAGE:CONTENT/FILE`, or None."""
        return self.contents.get(volid)

    async def _download_url(self, request: Any) -> Any:
        given = await params(request)
        names = [name for name in given if name in ("checksum", "checksum-algorithm")]
        if names and names != ["checksum-algorithm", "checksum"]:
            # FAKEPVE-DIFFERENCES.md: the algorithm has to come with the checksum, and before it.
            self.require_download(request)
            other = "checksum" if names == ["checksum-algorithm"] else "checksum-algorithm"
            raise param_error(**{other: f"missing property - '{names[0]}' requires this property"})
        return await self.through_schema(request, self._download)

    def require_download(self, request: Any) -> None:
        """The privilege on the storage comes before the parameters."""
        self.require(request[USER], "/storage/" + request.match_info["storage"], "Datastore.AllocateTemplate")

    async def _download(self, v: dict[str, Any], user: str) -> str:
        sid, content = v["storage"], v["content"]
        store = self._active_store(sid, v["node"])
        if not _is_file(store):
            raise die(f"can't upload to storage type '{store.get('type')}', not a file based storage!")
        if content not in split_list(store.get("content")):
            raise die(f"storage '{sid}' is not configured for content-type '{content}'")
        name = re.sub(r"[^a-zA-Z0-9_.-]", "_", re.sub(r"^.*[/\\]", "", v["filename"]))
        pattern, wrong = _EXTENSIONS[content]
        if not pattern.fullmatch(name):
            raise param_error(filename=wrong)
        target = f"{self._base_path(sid)}/{_FOLDERS[content]}/{name}"

        async def body() -> str:
            await self.pause(5)
            return await self._download_file(v, sid, name, target)

        log = [f"downloading {v['url']} to {target}"]
        return await self.task(v["node"], "download", name, user, body, log=log)

    async def _download_file(self, v: dict[str, Any], sid: str, name: str, target: str) -> str:
        volid = f"{sid}:{v['content']}/{name}"
        if self._find_volume(sid, volid.partition(":")[2]) is not None:
            return self._already_there(v, volid, target)
        try:
            got = await self.fetch(v["url"])
        except OSError as error:
            raise TaskError(f"download failed: {error}") from error
        found = _hash(got, v["checksum-algorithm"]) if v.get("checksum") else None
        if found is not None and found != v["checksum"].lower():
            raise TaskError(f"checksum mismatch: got '{found}' != expect '{v['checksum']}'")
        self.store_file(sid, name, _length(got), v["content"])
        self._note_virtual_size(volid, got)
        self.contents[volid] = got
        return f"download of '{v['url']}' to '{target}' finished"

    def _already_there(self, v: dict[str, Any], volid: str, target: str) -> str:
        if not v.get("checksum"):
            raise TaskError(f"refusing to override existing file '{target}'")
        there = self.contents.get(volid)
        found = _hash(there, v["checksum-algorithm"]) if there is not None else "unknown"
        if found != v["checksum"].lower():
            raise TaskError(f"checksum mismatch: got '{found}' != expect '{v['checksum']}', aborting")
        return "calculating checksum of existing file...OK, got correct file already, no need to download"

    def _note_virtual_size(self, volid: str, got: bytes | Path) -> None:
        """An imported qcow2 becomes a disk of its virtual size."""
        head = got[:64] if isinstance(got, bytes) else _head(got)
        if head.startswith(_QCOW2_MAGIC):
            sid, _, name = volid.partition(":")
            self.storages[sid]["volumes"][name]["virtual"] = struct.unpack(">Q", head[_QCOW2_SIZE])[0]

    async def _content_delete(self, v: dict[str, Any], user: str) -> Any:
        answer = await super()._content_delete(v, user)
        self.contents.pop(v["volume"] if ":" in v["volume"] else f"{v['storage']}:{v['volume']}", None)
        return answer

    def _item(self, name: str, volname: str, vol: dict[str, Any]) -> dict[str, Any]:
        item: dict[str, Any] = super()._item(name, volname, vol)
        if vol["content"] in ("images", "rootdir") and _is_file(self.storages[name]):
            item.update(parent=None, used=item["size"])
        return item


def _hash(got: bytes | Path, algorithm: str) -> str:
    if isinstance(got, bytes):
        return hashlib.new(algorithm, got).hexdigest()
    with got.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _length(got: bytes | Path) -> int:
    return len(got) if isinstance(got, bytes) else got.stat().st_size


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(64)
