"""A folder as one file that is the same wherever and whenever it is packed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from hearth.errors import HearthError

# What tools leave in a project; building makes it anew.
NEVER = (
    *(".git", "node_modules", "dist", ".venv", "venv", "__pycache__", "*.pyc", "*.egg-info"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".test-build", ".DS_Store"),
)
MOST = 32 * 1024 * 1024  # bytes; a source is text


def pack(folder: Path) -> bytes:
    """A folder as a tar archive: sorted, without times and owners, without what `NEVER` lists.

    Args:
        folder: the folder.

    Raises:
        HearthError: it holds more than 32 MiB, something that is neither file, folder nor link, or cannot be
            read.
    """
    packed = io.BytesIO()
    try:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in _files(folder):
                _add(archive, path, folder)
                if packed.tell() > MOST:
                    reason = f"it has more than {MOST // 1024 // 1024} MiB"
                    raise HearthError(f"pack {folder}", reason, "move out what is no source")
    except OSError as error:
        raise HearthError(f"pack {folder}", f"{error.filename}: {error.strerror}") from error
    return packed.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in NEVER):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _add(archive: tarfile.TarFile, path: Path, folder: Path) -> None:
    entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
    if path.is_symlink():
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        archive.addfile(entry)
    elif path.is_file():
        content = path.read_bytes()
        entry.size = len(content)
        entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        archive.addfile(entry, io.BytesIO(content))
    else:
        raise HearthError(f"pack {folder}", f"{path} is neither a file nor a link", "remove it")
