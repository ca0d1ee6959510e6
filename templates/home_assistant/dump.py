"""Written by Hearth. `python dump.py PORT TOKEN_FILE CONFIG`: Home Assistant's own backup to stdout, a tar.

It makes a backup itself (action `backup.create`, home-assistant.io/integrations/backup), so that its
database and what it keeps in memory are of one moment. What is written here is the backup's inner tar without
its compression: the same bytes stay the same from day to day. The backup is removed again.
"""

import contextlib
import gzip
import http.client
import shutil
import sys
import tarfile
from pathlib import Path

WITHIN = 3600  # seconds that a backup may take
INNER = ("homeassistant.tar.gz", "./homeassistant.tar.gz", "homeassistant.tar", "./homeassistant.tar")


def main(port: int, token: str, config: Path) -> None:
    """Make one, write it, remove it."""
    folder = config / "backups"
    before = there(folder)
    create(port, token)
    made = there(folder) - before
    if len(made) != 1:  # which one is ours? An automatic one of its own is not ours to remove.
        raise SystemExit(f"Home Assistant made {len(made)} backups in {folder}, not one (run again)")
    (ours,) = made
    try:
        with ours.open("rb") as file:
            write(file, sys.stdout.buffer)
    finally:
        with contextlib.suppress(FileNotFoundError):
            ours.unlink()


def there(folder: Path) -> set[Path]:
    """The backups that are there."""
    return set(folder.glob("*.tar"))


def create(port: int, token: str) -> None:
    """Have it make a backup; it answers when that is done."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", "/api/services/backup/create", "{}", headers)
        answer = connection.getresponse()
        body = answer.read(300).decode(errors="replace")
    except OSError as error:
        raise SystemExit(f"Home Assistant cannot be asked for a backup: {error}") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise SystemExit(f"Home Assistant makes no backup: {answer.status} {body}")


def write(backup, out) -> None:
    """The inner tar of a backup, as plain as it gets."""
    with tarfile.open(fileobj=backup, mode="r:") as outer:
        names = set(outer.getnames())
        inner = next((name for name in INNER if name in names), None)
        if inner is None:
            there = ", ".join(sorted(names)) or "nothing"
            raise SystemExit(f"the backup holds no configuration, but {there}")
        content = outer.extractfile(inner)
        plain = gzip.GzipFile(fileobj=content) if inner.endswith(".gz") else content
        shutil.copyfileobj(plain, out, 1 << 20)
    out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]).read_text().strip(), Path(sys.argv[3]))
