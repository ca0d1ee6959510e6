"""The Debian packages that a twin is made of."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hearth.errors import HearthError
from twin.commands import run

#: Package -> a file that is there when it is installed.
NEEDED = {
    "lxc": "/usr/bin/lxc-start",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "patchelf": "/usr/bin/patchelf",
    "tinyproxy-bin": "/usr/bin/tinyproxy",
    "tinyproxy": "/etc/tinyproxy/tinyproxy.conf",
    "nftables": "/usr/sbin/nft",
    "iproute2": "/usr/sbin/ip",
    "uidmap": "/usr/bin/newuidmap",
    "openssh-server": "/usr/sbin/sshd",
    "openssh-client": "/usr/bin/ssh",
    "xfsprogs": "/usr/sbin/mkfs.xfs",
    "procps": "/usr/sbin/sysctl",
    "mount": "/usr/bin/mount",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "docker-registry": "/usr/bin/docker-registry",
    "skopeo": "/usr/bin/skopeo",
    "umoci": "/usr/bin/umoci",
    "zstd": "/usr/bin/zstd",
}
_SERVICES = {
    "lxc": ("lxc", "lxc-net"),
    "tinyproxy": ("tinyproxy",),
    "openssh-server": ("ssh",),
    "docker-registry": ("docker-registry",),
}
_POLICY = Path("/usr/sbin/policy-rc.d")
_OURS = "# by `twin up`, while it installs packages"


def need_root() -> None:
    """Raise HearthError, one clear sentence, unless this is root on Debian."""
    if os.geteuid() != 0:
        raise HearthError("run the twin", "network namespaces and containers need root", "use sudo")
    if not Path("/etc/debian_version").exists():
        raise HearthError("run the twin", "this machine is not Debian", "use Debian 12 or newer")


def install() -> list[str]:
    """Install what is missing, starting none of its services; returns what was installed."""
    missing = [name for name, file in NEEDED.items() if not Path(file).exists()]
    if not missing:
        return []
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    timeout = ["-o", "Acquire::http::Timeout=30", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"]
    with _no_services():
        run("apt-get", *timeout, "-q", "update", timeout=300, env=env)
        run("apt-get", *timeout, "-qy", "--no-install-recommends", "install", *missing, timeout=900, env=env)
    if Path("/run/systemd/system").is_dir():
        # They are of no use to the twin, and the next boot would start them.
        units = [unit for name in missing for unit in _SERVICES.get(name, ())]
        for unit in units:
            run("systemctl", "disable", unit, ok=(0, 1, 5))
    return missing


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting their services.

    Invoke-rc.d asks policy-rc.d, and 101 is "no" (Debian policy 9.3.3.1).
    """
    if _POLICY.exists() and _OURS not in _POLICY.read_text():
        yield
        return
    _POLICY.write_text(f"#!/bin/sh\n{_OURS}\nexit 101\n")
    _POLICY.chmod(_POLICY.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
