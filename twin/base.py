"""The files that every guest starts from: Debian 12 with about what the standard container template has.

Built once by mmdebstrap and kept in HOME/base/HASH, where HASH is that of the recipe: `priv` for VMs and
privileged containers, `unpriv` the same with its ids moved by 100000, as unprivileged containers have them on
a real node.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hearth.errors import HearthError
from twin import python
from twin.commands import run
from twin.namespace import enter
from twin.state import Twin

SUITE = "bookworm"
FIRST_ID = 100000
IDS = 65536
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

PACKAGES = [
    "apt-utils",
    "ca-certificates",
    "cron",
    "dbus",
    "ifupdown",
    "iproute2",
    "iputils-ping",
    "isc-dhcp-client",
    "less",
    "libpam-systemd",
    "locales",
    "netbase",
    "openssh-server",
    "procps",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
    "vim-tiny",
    "wget",
]

#: Units that have no business in a container: they touch the machine's hardware or kernel.
MASKED = (
    "dev-hugepages.mount",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-modules-load.service",
)
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*")


@dataclass(frozen=True)
class Sources:
    """Where this machine gets Debian from: the archive and the security archive."""

    archive: str = "http://deb.debian.org/debian"
    security: str = "http://deb.debian.org/debian-security"

    def lines(self) -> list[str]:
        """One-line apt sources for the guests' suite."""
        return [
            f"deb {self.archive} {SUITE} main",
            f"deb {self.archive} {SUITE}-updates main",
            f"deb {self.security} {SUITE}-security main",
        ]


def sources() -> Sources:
    """The machine's own apt sources of Debian, of whatever suite."""
    listing = run(
        "apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages"
    )
    return sources_from(listing)


def sources_from(listing: str) -> Sources:
    """Pick the archives from `ORIGIN CODENAME URI` lines; Debian's own where there are none."""
    found: dict[str, str] = {}
    for line in listing.splitlines():
        origin, codename, uri = line.split(" ", 2)
        if origin == "Debian":
            found.setdefault("security" if codename.endswith("-security") else "archive", uri.rstrip("/"))
    return Sources(**found)


def recipe(where: Sources) -> str:
    """Everything that makes a base what it is; its hash names the base."""
    certificates = hashlib.sha256(CA_BUNDLE.read_bytes()).hexdigest()
    parts = [*where.lines(), *PACKAGES, *MASKED, *_LEFT_OUT, certificates, python.RECIPE, "5"]
    return "\n".join(parts)


def ready(twin: Twin) -> Path | None:
    """The base of today's recipe, where it is there already."""
    path = _place(twin, recipe(sources()))
    return path if path.is_dir() else None


def build(twin: Twin) -> Path:
    """The folder with `priv` and `unpriv`; built where it is not there yet (half a minute)."""
    where = sources()
    target = _place(twin, recipe(where))
    target.parent.mkdir(mode=0o711, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            half = target.with_name(f"{target.name}.half")
            _discard(half)
            half.mkdir(mode=0o711)
            _bootstrap(half / "priv", where)
            _mend(half / "priv", where)
            python.bring(half / "priv", where.archive)
            _shift(twin, half / "priv", half / "unpriv")
            half.rename(target)
    return target


def purge(twin: Twin) -> None:
    """Remove every base of this home."""
    _discard(twin.home / "base")


def _place(twin: Twin, text: str) -> Path:
    return twin.home / "base" / hashlib.sha256(text.encode()).hexdigest()[:16]


def _bootstrap(target: Path, where: Sources) -> None:
    options = [
        *("--variant=minbase", "--mode=root", "--format=directory", f"--include={','.join(PACKAGES)}"),
        *('--aptopt=Acquire::http::Timeout "30"', '--aptopt=Acquire::Retries "3"'),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        '--aptopt=Acquire::Languages "none"',
    ]
    run("mmdebstrap", *options, SUITE, str(target), *where.lines(), timeout=900)


def _mend(root: Path, where: Sources) -> None:
    """Remove what belongs to one machine only, and give the guests the machine's trust and sources."""
    for path in (*root.glob("etc/ssh/ssh_host_*"), *root.glob("var/cache/apt/archives/*.deb")):
        path.unlink()
    for name in ("etc/hostname", "etc/resolv.conf", "etc/apt/apt.conf.d/99mmdebstrap"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("")
    (root / "etc/apt/sources.list").write_text("\n".join(where.lines()) + "\n")
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    _trust(root)


def _trust(root: Path) -> None:
    """Add the certificates that this machine trusts and Debian does not.

    A mirror or proxy of its own may need them.
    """
    known = set(_certificates((root / "etc/ssl/certs/ca-certificates.crt").read_text()))
    extra = [text for text in _certificates(CA_BUNDLE.read_text()) if text not in known]
    place = root / "usr/local/share/ca-certificates"
    place.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(extra):
        (place / f"machine-{number}.crt").write_text(text)
    if extra:
        run("chroot", str(root), "update-ca-certificates", timeout=120)


def _certificates(bundle: str) -> list[str]:
    end = "-----END CERTIFICATE-----\n"
    parts = bundle.replace("\r", "").split(end)[:-1]
    return [part[part.index("-----BEGIN CERTIFICATE-----") :] + end for part in parts]


def _shift(twin: Twin, source: Path, target: Path) -> None:
    """Copy a tree into the ids of unprivileged containers, with the capabilities of its files."""
    target.mkdir(mode=0o755)
    shutil.chown(target, FIRST_ID, FIRST_ID)
    attributes = ["--xattrs", "--xattrs-include=*"]
    unpack = enter(
        twin,
        *("lxc-usernsexec", "-m", f"b:0:{FIRST_ID}:{IDS}", "--"),
        *("tar", "-xf", "-", "-C", str(target), "--numeric-owner", "--exclude=./dev/*", *attributes),
    )
    with subprocess.Popen(
        ["tar", "-cf", "-", "-C", str(source), "--numeric-owner", *attributes, "."], stdout=subprocess.PIPE
    ) as pack:
        done = subprocess.run(
            unpack, stdin=pack.stdout, capture_output=True, text=True, timeout=300, check=False
        )
    if done.returncode or pack.returncode:
        raise HearthError("copy the guest base for unprivileged containers", done.stderr or "tar failed")


def _discard(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
