"""A node with a small Tailscale, for the wrapper's `tailnet`: files in a folder, and programs that note."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hearth.proxmox import node_wrapper

DOMAIN, SERVER = "tail.home.arpa", "https://tailnet.home.test"
HOST = ("tailnet.home.test", "192.168.1.141")  # RFC 6761: no name server knows .test
KEY = "hskey-auth-very-secret-0123456789"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB+/=\nabcd\n-----END CERTIFICATE-----\n"

#: Of `tailscale`, what the wrapper uses: $root/backend, name and prefs are what it knows.
TAILSCALE = r"""#!/bin/sh
root=$(/usr/bin/dirname "$(/usr/bin/dirname "$0")")
echo "tailscale $*" >>"$root/asked"
[ -e "$root/broken" ] && { echo "it is broken" >&2; exit 1; }
verb=$1
for word; do
  case $word in
    --hostname=*) hostname=${word#*=} ;;
    --login-server=*) server=${word#*=} ;;
    --auth-key=file:*) /bin/cat "${word#*=file:}" >"$root/fed" ;;
  esac
done
case $verb in
  status) printf '{"BackendState": "%s", "Self": {"DNSName": "%s."}}' "$(/bin/cat "$root/backend")" \
    "$(/bin/cat "$root/name")" ;;
  debug) /bin/cat "$root/prefs" ;;
  up | set)
    # As the real one does: some flags without all of them are refused.
    [ "$verb" = up ] && [ -z "$hostname" ] && [ $# -gt 1 ] && { echo "requires mentioning all" >&2; exit 1; }
    [ "$verb" = up ] && echo Running >"$root/backend"
    [ -n "$server" ] || server=$(/bin/sed 's/.*ControlURL": "\([^"]*\)".*/\1/' "$root/prefs")
    [ -n "$hostname" ] || exit 0
    echo "$hostname.tail.home.arpa" >"$root/name"
    printf '{"ControlURL": "%s", "Hostname": "%s"}' "$server" "$hostname" >"$root/prefs"
    ;;
esac
"""
OTHERS = """#!/bin/sh
root=$(/usr/bin/dirname "$(/usr/bin/dirname "$0")")
echo "$(/usr/bin/basename "$0") $*" >>"$root/asked"
case " $*" in
  *" install tailscale") /bin/cp "$root/tailscale" "$root/bin/tailscale" ;;
esac
"""


@dataclass(frozen=True)
class Node:
    """The node; its wrapper runs as sshd runs it.

    Args:
        root: its files.
        tailnet: what the key's line says.
    """

    root: Path
    tailnet: bool = True

    def __call__(self, argv: Sequence[str], stdin: str = "") -> tuple[int, str, str]:
        """`hearth.node_ssh.Runner`."""
        return self.run(shlex.join(argv), stdin)

    def run(self, command: str, stdin: str = "") -> tuple[int, str, str]:
        """Run the wrapper for a request."""
        words = ["--root", str(self.root), "--path", str(self.root / "bin")]
        argv = [sys.executable, "-I", node_wrapper.__file__, *words, *(["--tailnet"] if self.tailnet else [])]
        env = {**os.environ, "SSH_ORIGINAL_COMMAND": command}
        done = subprocess.run(
            argv, env=env, input=stdin, capture_output=True, text=True, check=False, timeout=30
        )
        return done.returncode, done.stdout, done.stderr

    def asked(self, but: tuple[str, ...] = ("tailscale status", "tailscale debug")) -> list[str]:
        """What programs were told, without the questions."""
        lines = self.text("asked").splitlines()
        return [line for line in lines if not line.startswith(but)]

    def text(self, name: str) -> str:
        """A file of the node."""
        path = self.root / name
        return path.read_text() if path.exists() else ""

    def stands(self, backend: str, name: str = "", **prefs: object) -> None:
        """How its Tailscale is."""
        (self.root / "backend").write_text(backend)
        (self.root / "name").write_text(name)
        (self.root / "prefs").write_text(json.dumps(prefs))


def made(root: Path, installed: bool = True) -> Node:
    """A node that is in no tailnet."""
    for folder in ("bin", "etc"):
        (root / folder).mkdir(parents=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n192.168.1.185 pve.home.test pve\n")
    (root / "etc/os-release").write_text('ID=debian\nVERSION_CODENAME=trixie\nVERSION="13"\n')
    for name, text in (("apt-get", OTHERS), ("systemctl", OTHERS), ("tailscale", TAILSCALE)):
        place = root / ("bin" if installed or name != "tailscale" else "") / name
        place.write_text(text)
        place.chmod(0o755)
    node = Node(root)
    node.stands("NeedsLogin")
    return node
