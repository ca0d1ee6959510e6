"""The node's SSH server.

OpenSSH inside the namespace, with the machine's files, and the node's `pct` and `qm`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hearth.errors import HearthError
from twin import processes
from twin.commands import run
from twin.home import PROJECT, Home
from twin.namespace import enter
from twin.state import Twin

ROLE = "node-ssh"
#: Where an admin installs the wrapper (hearth/proxmox/node_wrapper.py).
WRAPPER = "/usr/local/sbin/hearth-node"


def start(twin: Twin, home: Home) -> None:
    """Start it on each node's address, unless it runs."""
    _install_tools(twin)
    key = twin.private / "ssh_host_ed25519_key"
    if not key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", home.nodes[0].name, "-f", str(key))
    twin.node_keys.touch(mode=0o600)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    path = twin.dir / "sshd_config"
    text = _config(twin, home, key)
    if processes.alive(twin, ROLE) and path.exists() and path.read_text() == text:
        return
    processes.stop(twin, ROLE)
    path.write_text(text)
    processes.start(twin, ROLE, enter(twin, "/usr/sbin/sshd", "-D", "-e", "-f", str(path)))


def trust(twin: Twin, public: str) -> str:
    """Do what an admin does once: let a key run Hearth's wrapper, and nothing else; returns the line.

    Args:
        public: an OpenSSH public key, or the line that `hearth node-key --line` says.

    Raises:
        HearthError: it is not one.
    """
    options, key = _split(public.strip())
    if len(key.splitlines()) != 1 or not key.startswith(("ssh-", "ecdsa-", "sk-")):
        raise HearthError("trust the node key", "that is no OpenSSH public key")
    known = twin.node_keys.read_text().splitlines() if twin.node_keys.exists() else []
    others = [line for line in known if key.split()[1] not in line]
    line = f"{options}{key}"
    if line not in known:
        # In place: the node's own authorized_keys is a link to it.
        twin.node_keys.write_text("".join(f"{text}\n" for text in [*others, line]))
    return line


def _split(public: str) -> tuple[str, str]:
    """The options of a line of ours (those of a plain key: the wrapper without more) and the key."""
    plain = f'restrict,command="{WRAPPER}" '
    for options in (plain, plain.replace('" ', ' --tailnet" ')):
        if public.startswith(options):
            return options, public.removeprefix(options)
    return plain, public


def _config(twin: Twin, home: Home, key: Path) -> str:
    locked = any(line.startswith("root:!") for line in Path("/etc/shadow").read_text().splitlines())
    return "\n".join(
        [
            *(f"ListenAddress {node.address}:{node.ssh_port}" for node in home.nodes),
            f"HostKey {key}",
            f"PidFile {twin.private / 'sshd.pid'}",
            f"AuthorizedKeysFile {twin.node_keys}",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "AllowUsers root",
            # Without PAM sshd refuses accounts whose password is locked.
            f"UsePAM {'yes' if locked else 'no'}",
            "PrintMotd no",
            "Subsystem sftp internal-sftp",
            "",
        ]
    )


def _install_tools(twin: Twin) -> None:
    """Put pct, qm, pvesm and Hearth's wrapper where a node has them."""
    python = f'PYTHONPATH="{PROJECT}" HEARTH_TWIN_HOME="{twin.home}" exec "{sys.executable}" -m twin.pct'
    texts = {
        "/usr/sbin/pct": f'#!/bin/sh\n{python} "{twin.name}" lxc "$@"\n',
        "/usr/sbin/qm": f'#!/bin/sh\n{python} "{twin.name}" qemu "$@"\n',
        "/usr/sbin/pvesm": f'#!/bin/sh\n{python} "{twin.name}" pvesm "$@"\n',
        WRAPPER: (PROJECT / "hearth/proxmox/node_wrapper.py")
        .read_text()
        .replace("#!/usr/bin/python3 -I\n", f"#!{sys.executable} -I\n", 1),
    }
    for path, text in texts.items():
        install(twin, path, text)


def install(twin: Twin, path: str, text: str) -> None:
    """Have a program on the node: below /usr/sbin or /usr/local/sbin, where only the twin sees it."""
    run(*enter(twin, "sh", "-c", 'cat > "$0" && chmod 755 "$0"', path), stdin=text)
