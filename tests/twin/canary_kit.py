"""Looking for secrets where none may show: in every form that one takes on its way."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from tests.twin.home_kit import Home

SHORTEST = 16  # characters: a shorter part of a secret is no proof of anything
# What a user without any rights can read in a guest, NUL between them; without what package managers unpack.
UNPACKED = "-path /usr/lib -o -path /usr/share -o -name node_modules -o -name site-packages"
EVERYBODYS = (
    f"cd / && {{ runuser -u nobody -- find / /run /tmp /dev/shm -xdev \\( {UNPACKED} \\) -prune "
    "-o -type f -readable -print0 2>/dev/null || :; }"
)


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it might show: as it is, line by line, quoted in some way, in base64 or hexadecimal."""
    lines = [line for line in secret.splitlines() if len(line) >= SHORTEST and not line.startswith("-----")]
    # A key file's first line says what kind of key it is: every such key has it.
    texts = lines[1:] or lines
    for text in texts:
        raw = text.encode()
        quoted = {
            json.dumps(text)[1:-1],
            repr(text)[1:-1],
            quote(text),
            quote(text, safe=""),
            quote_plus(text),
        }
        yield from (raw, *(form.encode() for form in quoted), raw.hex().encode())
        for shift in range(3):
            # base64 of the secret inside something longer: what the neighbours do not change
            yield base64.b64encode(b"\0" * shift + raw).rstrip(b"=")[4:-4]


def grep(home: Home, guest: str, patterns: set[bytes], files: str) -> list[str]:
    """The files in a guest, of those that a shell command prints (NUL between them), with a pattern."""
    mine = "/run/patterns"
    search = f"xargs -0 -r env LC_ALL=C grep -lFf {mine}"
    script = f"umask 077; cat > {mine}; {files} | {search} | grep -vx {mine}; rm {mine}"
    done = subprocess.run(
        home.ssh(guest, script),
        input=b"\n".join(sorted(patterns)) + b"\n",
        capture_output=True,
        check=False,
        timeout=600,  # a whole guest is searched
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().split()
