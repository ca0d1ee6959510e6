"""Write into a guest's files, as Proxmox does before a container starts and cloud-init does in a VM."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from twin import proxy
from twin.base import FIRST_ID
from twin.commands import run
from twin.home import Home, vlan_bridge
from twin.real import lxcconf
from twin.real.spec import Spec


class Files:
    """The files of one guest, written with the ids that its root has.

    Args:
        root: its mounted root.
        spec: the guest.
    """

    def __init__(self, root: Path, spec: Spec) -> None:
        self.root = root
        self.shift = FIRST_ID if spec.unprivileged else 0

    def write(self, name: str, text: str, mode: int = 0o644, owner: int = 0) -> None:
        """Write a file; a symbolic link of that name is replaced, never followed out of the guest."""
        path = self._inside(name)
        self.folder(str(Path(name).parent), 0o755)
        if path.is_symlink():
            path.unlink()
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, owner + self.shift, owner + self.shift)

    def folder(self, name: str, mode: int, owner: int = 0) -> None:
        """Make a folder, if it is not there."""
        path = self._inside(name)
        if path.is_dir():
            return
        self.folder(str(Path(name).parent), 0o755)
        path.mkdir(mode=mode)
        os.chown(path, owner + self.shift, owner + self.shift)

    def read(self, name: str) -> str:
        """A file's text; "" where there is none."""
        path = self._inside(name)
        return path.read_text() if path.is_file() else ""

    def _inside(self, name: str) -> Path:
        folder = (self.root / name).parent
        if self.root not in (folder.resolve(), *folder.resolve().parents):
            raise PermissionError(f"{name} leads out of the guest")
        return self.root / name


def before_start(files: Files, spec: Spec, home: Home) -> None:
    """Name, network and resolver: before every start."""
    files.write("etc/hostname", spec.name + "\n")
    files.write("etc/hosts", lxcconf.hosts(spec, files.read("etc/hosts")))
    files.write("etc/resolv.conf", lxcconf.resolv(spec))
    files.write("etc/network/interfaces", lxcconf.interfaces(spec))
    _way_out(files, spec, home)


def first_boot(files: Files, spec: Spec, keys: str, password: str) -> None:
    """Host keys, login keys and password: once.

    Args:
        files: the guest's files.
        spec: the guest.
        keys: authorized keys, one a line; of `spec.user` in a VM, of root in a container.
        password: its plain text; "" for none.
    """
    _host_keys(files)
    user = "root" if spec.kind == "lxc" else spec.user
    if user != "root":
        _add_user(files, user)
    if keys.strip():
        place, owner = ("root/.ssh", 0) if user == "root" else (f"home/{user}/.ssh", 1000)
        files.folder(place, 0o700, owner)
        files.write(f"{place}/authorized_keys", keys.strip() + "\n", 0o600, owner)
    if password:
        _set_password(files, user, password)


def _way_out(files: Files, spec: Spec, home: Home) -> None:
    """The twin's forward proxy.

    In production there is none: this and the base's certificates are all that the twin adds.
    """
    bridges = {vlan_bridge(nic.bridge, nic.vlan) for nic in spec.nics}
    address = next((s.proxy for s in home.segments if s.bridge in bridges and s.proxy), None)
    if address is None:
        return
    url = proxy.url(address)
    files.write("etc/apt/apt.conf.d/00twin", f'Acquire::http::Proxy "{url}";\nAcquire::http::Timeout "30";\n')
    never = ",".join(["localhost", "127.0.0.1", "::1", *home.known, *home.subnets])
    names = {"http_proxy": url, "https_proxy": url, "no_proxy": never}
    lines = [f'{name}="{value}"' for key, value in names.items() for name in (key, key.upper())]
    files.write("etc/environment", "\n".join(lines) + "\n")


def _host_keys(files: Files) -> None:
    for kind in ("ed25519", "ecdsa"):
        name = f"etc/ssh/ssh_host_{kind}_key"
        for old in (name, f"{name}.pub"):
            (files.root / old).unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "root@guest", "-f", str(files.root / name))
        for made in (name, f"{name}.pub"):
            os.chown(files.root / made, files.shift, files.shift)


def _add_user(files: Files, user: str) -> None:
    """A VM's user, as cloud-init makes it: with sudo and without a password."""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*", user) or f"\n{user}:" in files.read("etc/passwd"):
        return
    run("chroot", str(files.root), "useradd", "-m", "-u", "1000", "-s", "/bin/bash", "-G", "sudo", user)
    files.write(f"etc/sudoers.d/90-{user}", f"{user} ALL=(ALL) NOPASSWD:ALL\n", 0o440)


def _set_password(files: Files, user: str, password: str) -> None:
    made = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=password,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    hashed = made.stdout.strip()
    lines = [
        ":".join([user, hashed, *line.split(":")[2:]]) if line.startswith(f"{user}:") else line
        for line in files.read("etc/shadow").splitlines()
    ]
    with (files.root / "etc/shadow").open("w") as shadow:  # in place: it keeps its owner and mode
        shadow.write("\n".join(lines) + "\n")
