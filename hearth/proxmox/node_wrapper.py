#!/usr/bin/python3 -I
"""The one thing that Hearth's SSH key may do on a Proxmox node. Standard library only.

Install as /usr/local/sbin/hearth-node (root, 0755) and bind the key in /root/.ssh/authorized_keys:

    restrict,command="/usr/local/sbin/hearth-node" ssh-ed25519 AAAA... hearth

It allows, for guests of this node whose configuration carries the tag `hearth`, and nothing else:

    pct set VMID --devN PATH[,gid=N][,uid=N][,mode=0NNN] --features KEY=VALUE[,...] --mpN DIR,mp=PATH[,ro=1]
    qm set VMID --usbN host=VENDOR:PRODUCT
    devices
    backup check STORAGE:backup/vzdump-...   is this file whole? It is read, and nothing is changed

Only where the key's line says `hearth-node --tailnet`, for the node itself:

    tailnet state [NAME]                     how it stands; NAME: does it resolve here?
    tailnet install [NAME ADDRESS]           Tailscale, from the vendor's Debian repository and no other; on
                                             standard input the authority that it is to trust besides
    tailnet join HOSTNAME SERVER SECONDS     once, where it is in no tailnet; the key on standard input
    tailnet set HOSTNAME                     name and settings; up, where it was taken down

The request comes in SSH_ORIGINAL_COMMAND; no shell ever sees it. `man sshd`, AUTHORIZED_KEYS FILE FORMAT.
Nothing else of the client's environment counts: Python is isolated (-I), and the tools get one of their own.
The options --root, --pct, --qm and --path are for tests; a client can give none.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import syslog
import urllib.request
from collections.abc import Sequence
from pathlib import Path

TAG = "hearth"
VMID = re.compile(r"[1-9][0-9]{2,8}")
DEVICES = re.compile(
    r"/dev/(?:net/tun|serial/by-id/[A-Za-z0-9][\w.:+-]*|tty(?:USB|ACM)\d+|dri/(?:card|renderD)\d+)", re.ASCII
)
DEVICE_OPTION = re.compile(r"(?:gid|uid)=\d{1,9}|mode=0[0-7]{3}|deny-write=[01]", re.ASCII)
KEYS = {
    "pct": re.compile(r"--(?:dev\d{1,3}|mp\d{1,3}|features)", re.ASCII),
    "qm": re.compile(r"--usb\d{1,2}", re.ASCII),
}
FEATURE = re.compile(r"(?:nesting|keyctl|fuse|mknod|force_rw_sys)=[01]|mount=[a-z0-9]+(?:;[a-z0-9]+)*")
USB = re.compile(r"host=[0-9a-fA-F]{4}:[0-9a-fA-F]{4}(?:,usb3=[01])?")
DIRECTORY = re.compile(r"/[\w@.+:-]+(?:/[\w@.+:-]+)*", re.ASCII)
MOUNT_OPTION = re.compile(r"(?:ro|backup|shared|replicate)=[01]")
# Whoever could mount these into a container would own the node.
SYSTEM = (
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "usr",
    "var",
)
CONFIGS = {"pct": "lxc", "qm": "qemu-server"}
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}

BACKUP = re.compile(
    r"[A-Za-z][\w.-]*:backup/vzdump-(?:lxc|qemu)-[1-9][0-9]{2,8}-[0-9]{4}(?:_[0-9]{2}){2}-[0-9]{2}(?:_[0-9]{2}){2}"
    r"\.(?:tar|vma)(?:\.(?:zst|gz|lzo))?",
    re.ASCII,
)
# What reads such a file whole and says whether its sums are right.
TESTERS = {
    ".zst": ("zstd", "-tq"),
    ".gz": ("gzip", "-t"),
    ".lzo": ("lzop", "-t"),
    ".tar": ("tar", "-tf"),
    ".vma": ("vma", "verify"),
}
READING = 6 * 3600  # seconds

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
NAME = rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*"
ADDRESS = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
SERVER = rf"https://{LABEL}(?:\.{LABEL})*(?::[0-9]{{1,5}})?"
FORMS = {
    "state": ((), (NAME,)),
    "install": ((), (NAME, ADDRESS)),
    "join": ((LABEL, SERVER, r"[1-9][0-9]{0,2}"),),
    "set": ((LABEL,),),
}
JOIN_KEY = re.compile(r"[A-Za-z0-9_-]{16,256}")
PEM = re.compile(r"(?:-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n)*")
LONGEST = 65536  # bytes on standard input
PATIENCE = 600  # seconds; apt-get may have to wait for another one
SETTINGS = ("--accept-dns=false", "--accept-routes=false", "--advertise-routes=", "--ssh=false")
IN = ("Running", "Starting", "Stopped")  # ipn.State of tailscale.com: in a tailnet
# Not the client's to choose: whoever names a package's source is root here.
REPOSITORY = "https://pkgs.tailscale.com/stable/debian"
KEY_SHA256 = "3e03dacf222698c60b8e2f990b809ca1b3e104de127767864284e6c228f1fb39"
KEYRING = "/usr/share/keyrings/tailscale-archive-keyring.gpg"
LIST = "/etc/apt/sources.list.d/tailscale.list"
AUTHORITY = "/etc/hearth/tailnet-ca.pem"
DROP_IN = "/etc/systemd/system/tailscaled.service.d/hearth.conf"
HOSTS, MARK = "/etc/hosts", "# hearth"


class Refused(Exception):  # noqa: N818
    """A request that is not one of those above; its text says why."""


class Failed(Exception):  # noqa: N818
    """A request that is allowed and could not be done; its text says why."""


def parse(command: str, root: Path, tailnet: bool = False) -> list[str]:
    """The argv of an allowed request.

    Args:
        command: SSH_ORIGINAL_COMMAND.
        root: "/" but in tests.
        tailnet: the key's line allows what is about the tailnet.

    Raises:
        Refused: it is not allowed.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Refused(f"the command cannot be read: {error}") from error
    if words == ["devices"]:
        return words
    if words[:2] == ["backup", "check"] and len(words) == 3 and BACKUP.fullmatch(words[2]):  # noqa: PLR2004
        return words
    if words[:1] == ["tailnet"]:
        _check_tailnet(words[1:], tailnet)
        return words
    if len(words) < 5 or len(words) % 2 == 0 or words[0] not in CONFIGS or words[1] != "set":  # noqa: PLR2004
        raise Refused(
            "allowed are `pct set VMID --KEY VALUE`, `qm set VMID --usbN VALUE`, `backup check` and `devices`"
        )
    tool, vmid = words[0], words[2]
    for key, value in zip(words[3::2], words[4::2], strict=True):
        _check(tool, key, value, root)
    _ours(tool, vmid, root)
    return words


def _check(tool: str, key: str, value: str, root: Path) -> None:
    if not KEYS[tool].fullmatch(key):
        raise Refused(f"{tool} set {key} is not allowed")
    if key.startswith("--usb"):
        good = bool(USB.fullmatch(value))
    elif key.startswith("--dev"):
        good = _device(value, root)
    elif key.startswith("--mp"):
        good = _mount(value, root)
    else:
        good = all(FEATURE.fullmatch(part) for part in value.split(","))
    if not good:
        raise Refused(f"the value of {key} is not allowed: {value}")


def _device(value: str, root: Path) -> bool:
    path, *options = value.split(",")
    if not DEVICES.fullmatch(path) or not all(DEVICE_OPTION.fullmatch(option) for option in options):
        return False
    there = _inside(path, root)
    if not there.exists():
        raise Refused(f"there is no device {path}")
    # A link could lead to a disk. In tests (root) device nodes cannot always be made.
    return root != Path("/") or stat.S_ISCHR(there.stat().st_mode)


def _mount(value: str, root: Path) -> bool:
    source, *options = value.split(",")
    paths = [option for option in options if option.startswith("mp=")]
    others = [option for option in options if not option.startswith("mp=")]
    if len(paths) != 1 or not _plain(source) or not _plain(paths[0][3:]):
        return False
    if not all(MOUNT_OPTION.fullmatch(option) for option in others):
        return False
    there = _inside(source, root).resolve()
    if not there.is_dir():
        raise Refused(f"there is no directory {source}")
    inside = there.relative_to(root.resolve()) if there.is_relative_to(root.resolve()) else None
    return inside is not None and bool(inside.parts) and inside.parts[0] not in SYSTEM


def _plain(path: str) -> bool:
    return bool(DIRECTORY.fullmatch(path)) and ".." not in path.split("/")


def _ours(tool: str, vmid: str, root: Path) -> None:
    if not VMID.fullmatch(vmid):
        raise Refused(f"{vmid} is no VMID")
    path = _inside(f"/etc/pve/{CONFIGS[tool]}/{vmid}.conf", root)
    if not path.is_file():
        raise Refused(f"there is no guest {vmid} on this node")
    if TAG not in _tags(path.read_text(encoding="utf-8", errors="replace")):
        raise Refused(f"guest {vmid} does not carry the tag {TAG}")


def _tags(config: str) -> set[str]:
    """The tags of a guest's configuration; snapshots and what is pending come after the first [section]."""
    for line in config.splitlines():
        if line.startswith("["):
            break
        if line.startswith("tags:"):
            return set(re.split(r"[;,\s]+", line.removeprefix("tags:").strip()))
    return set()


def devices(root: Path) -> list[dict[str, object]]:
    """The serial devices by id, and tun: path, target, gid of the target, vendor:product where known."""
    found = [
        f"/dev/serial/by-id/{entry.name}" for entry in sorted(_listed(_inside("/dev/serial/by-id", root)))
    ]
    return [_described(path, root) for path in [*found, "/dev/net/tun"] if _inside(path, root).exists()]


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _described(path: str, root: Path) -> dict[str, object]:
    target = _inside(path, root).resolve()
    shown = "/" + str(target.relative_to(root.resolve())) if target.is_relative_to(root.resolve()) else path
    return {"path": path, "target": shown, "gid": target.stat().st_gid, "usb": _usb(target.name, root)}


def _usb(name: str, root: Path) -> str:
    """vendor:product of a tty: the first directory upwards in /sys that has them."""
    start = _inside(f"/sys/class/tty/{name}/device", root)
    if not start.exists():
        return ""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "idVendor").is_file():
            return ":".join((folder / key).read_text().strip() for key in ("idVendor", "idProduct"))
    return ""


def _inside(path: str, root: Path) -> Path:
    return root / path.lstrip("/")


def why_not_whole(volid: str, root: Path, path: str) -> str:
    """Why a backup is no good; nothing where all of it can be read. Raises Failed: it cannot be looked at."""
    env = {**ENVIRONMENT, "PATH": path}
    there = _asked(["pvesm", "path", volid], env)
    place = _inside(there.stdout.strip(), root)
    if there.returncode or not place.is_file():
        raise Failed(f"{volid} is no file here: {there.stderr.strip()[-200:]}")
    # Guests run meanwhile.
    done = _asked(["nice", "-n", "19", *TESTERS[place.suffix], str(place)], env)
    return (done.stderr.strip()[-200:] or f"exit code {done.returncode}") if done.returncode else ""


def _asked(argv: Sequence[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=READING,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{argv[0]}: {type(error).__name__}") from error


# ------------------------------------------------------------------ the tailnet


def _check_tailnet(words: Sequence[str], allowed: bool) -> None:
    if not allowed:
        raise Refused("this key may do nothing about the tailnet: its line has no --tailnet")
    verb, *given = words or [""]
    forms = [form for form in FORMS.get(verb, ()) if len(form) == len(given)]
    if not any(all(map(_is, form, given)) for form in forms):
        raise Refused(f"tailnet {shlex.join(words)} is not allowed")


def _is(form: str, word: str) -> bool:
    if not re.fullmatch(form, word, re.ASCII):
        return False
    try:
        return form != ADDRESS or bool(ipaddress.IPv4Address(word))
    except ValueError:
        return False


class Tailnet:
    """The node itself in the tailnet; every word that comes here is checked.

    Args:
        root: "/" but in tests.
        path: where tailscale, apt-get and systemctl are.
    """

    def __init__(self, root: Path, path: str) -> None:
        self.root = root
        self.env = {**ENVIRONMENT, "PATH": path, "DEBIAN_FRONTEND": "noninteractive"}

    def state(self, name: str = "") -> None:
        """Print how the node stands, as JSON: what `install` keeps here; then tailscale's own two answers."""
        pem, ours = self._read(AUTHORITY), self._marked()
        sound = self._read(DROP_IN) == _drop_in(bool(pem))
        told = {
            "installed": self._installed(),
            "authority": hashlib.sha256(pem.encode()).hexdigest() if sound else "",
            "hosts": ours[0].removesuffix(MARK).strip() if ours else "",
            "resolves": bool(name) and not ours and _resolves(name),
        }
        print(json.dumps(told))
        if told["installed"]:
            for words in (("status", "--json", "--peers=false"), ("debug", "prefs")):
                print(self._run("tailscale", *words, careful=False))

    def install(self, name: str = "", address: str = "") -> None:
        """Have tailscaled run, with the authority of standard input (none: the system's alone)."""
        pem = _stdin()
        if not PEM.fullmatch(pem):
            raise Refused("what came on standard input is no certificate")
        changed = [self._write(AUTHORITY, pem), self._write(DROP_IN, _drop_in(bool(pem)))]
        self._know(name, address)
        if not self._installed():
            self._trust_vendor()
            # Its own list alone: others may want a subscription.
            only = (f"Dir::Etc::sourcelist={LIST}", "Dir::Etc::sourceparts=-", "APT::Get::List-Cleanup=0")
            self._run("apt-get", "-qq", *(word for value in only for word in ("-o", value)), "update")
            wait = ("-o", "DPkg::Lock::Timeout=120")
            self._run("apt-get", "-qq", "-y", *wait, "--no-install-recommends", "install", "tailscale")
        self._run("systemctl", "daemon-reload")
        self._run("systemctl", "enable", "--now", "tailscaled")
        if any(changed):
            self._run("systemctl", "restart", "tailscaled")

    def join(self, hostname: str, server: str, seconds: str) -> None:
        """Join with the key of standard input, which no list of processes shows."""
        key = _stdin().strip()
        if not JOIN_KEY.fullmatch(key):
            raise Refused("what came on standard input is no key")
        if self._backend() in IN:
            raise Refused("this node is in a tailnet already: `tailscale logout` there first")
        how = (f"--login-server={server}", f"--timeout={seconds}s", "--reset", "--auth-key=file:/dev/stdin")
        self._run("tailscale", "up", f"--hostname={hostname}", *SETTINGS, *how, stdin=key)

    def set(self, hostname: str) -> None:
        """Settings as they should be, and up where somebody said `tailscale down`."""
        self._run("tailscale", "set", f"--hostname={hostname}", *SETTINGS)
        if self._backend() == "Stopped":
            self._run("tailscale", "up")  # only without any flag does it ask for no settings

    def _backend(self) -> str:
        told = self._run("tailscale", "status", "--json", "--peers=false", careful=False)
        return str(json.loads(told or "{}").get("BackendState"))

    def _installed(self) -> bool:
        return shutil.which("tailscale", path=self.env["PATH"]) is not None

    def _trust_vendor(self) -> None:
        release = dict(
            line.split("=", 1) for line in self._read("/etc/os-release").splitlines() if "=" in line
        )
        codename = release["VERSION_CODENAME"].strip("\"'")
        with urllib.request.urlopen(f"{REPOSITORY}/{codename}.noarmor.gpg", timeout=30) as answer:
            key = answer.read(LONGEST)
        if hashlib.sha256(key).hexdigest() != KEY_SHA256:
            raise Failed(f"the key of {REPOSITORY} is another one than Hearth knows")
        place = _inside(KEYRING, self.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(key)
        self._write(LIST, f"deb [signed-by={KEYRING}] {REPOSITORY} {codename} main\n")

    def _know(self, name: str, address: str) -> None:
        """A line in /etc/hosts for the server, where the name leads nowhere without it."""
        line = f"{address} {name} {MARK}"
        if self._marked() == [line]:
            return
        others = [text for text in self._read(HOSTS).splitlines() if not text.endswith(MARK)]
        if self._marked():
            self._write(HOSTS, "".join(f"{text}\n" for text in others))
        if name and not _resolves(name):
            self._write(HOSTS, "".join(f"{text}\n" for text in [*others, line]))

    def _marked(self) -> list[str]:
        return [line for line in self._read(HOSTS).splitlines() if line.endswith(MARK)]

    def _read(self, path: str) -> str:
        place = _inside(path, self.root)
        return place.read_text(encoding="utf-8", errors="replace") if place.exists() else ""

    def _write(self, path: str, text: str) -> bool:
        """Whole or not at all; no text: no file. True where that changed anything."""
        if self._read(path) == text:
            return False
        place = _inside(path, self.root)
        if text:
            place.parent.mkdir(parents=True, exist_ok=True)
            new = place.with_name(f"{place.name}.hearth")
            new.write_text(text, encoding="utf-8")
            new.chmod(0o644)
            new.replace(place)
        else:
            place.unlink()
        return True

    def _run(self, *argv: str, stdin: str = "", careful: bool = True) -> str:
        done = subprocess.run(
            argv, input=stdin, env=self.env, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if done.returncode != 0 and careful:
            raise Failed(f"{' '.join(argv[:2])}: {(done.stderr or done.stdout).strip()[-400:]}")
        return done.stdout if done.returncode == 0 else ""


def _drop_in(authority: bool) -> str:
    """What tailscaled gets beside its unit: no diagnostics to the vendor, and our authority.

    Go trusts it besides the folder of the system's (crypto/x509, root_unix.go).
    """
    trust = f"Environment=SSL_CERT_FILE={AUTHORITY}\n" if authority else ""
    return f"# Written by Hearth.\n[Service]\nEnvironment=TS_NO_LOGS_NO_SUPPORT=true\n{trust}"


def _resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None))
    except OSError:
        return False


def _stdin() -> str:
    return sys.stdin.buffer.read(LONGEST).decode("ascii", errors="replace")


def main(argv: Sequence[str] | None = None, command: str | None = None) -> int:
    """Do what SSH_ORIGINAL_COMMAND asks for, if it is allowed; the exit code is the tool's, or 1."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--tailnet", action="store_true")
    options.add_argument("--root", type=Path, default=Path("/"))
    options.add_argument("--pct", default="/usr/sbin/pct")
    options.add_argument("--qm", default="/usr/sbin/qm")
    options.add_argument("--path", default=ENVIRONMENT["PATH"])
    given = options.parse_args(argv)
    asked = os.environ.get("SSH_ORIGINAL_COMMAND", "") if command is None else command
    syslog.openlog("hearth-node", syslog.LOG_PID, syslog.LOG_AUTH)
    try:
        words = parse(asked, given.root, given.tailnet)
        syslog.syslog(syslog.LOG_INFO, f"allowed: {shlex.join(words)}")
        return _do(words, given)
    except (Refused, Failed) as reason:
        word = "refused" if isinstance(reason, Refused) else "failed"
        syslog.syslog(syslog.LOG_WARNING, f"{word}: {asked[:200]!r}: {reason}")
        print(f"hearth-node: {reason}", file=sys.stderr)
        return 1


def _do(words: list[str], given: argparse.Namespace) -> int:
    if words == ["devices"]:
        print(json.dumps(devices(given.root)))
        return 0
    if words[0] == "backup":
        reason = why_not_whole(words[2], given.root, given.path)
        print(json.dumps({"whole": not reason, "reason": reason}))
        return 0
    if words[0] == "tailnet":
        try:
            getattr(Tailnet(given.root, given.path), words[1])(*words[2:])
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise Failed(f"tailnet {words[1]}: {type(error).__name__}: {error}") from error
        return 0
    tool = given.pct if words[0] == "pct" else given.qm
    argv = [tool, *words[1:]]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, env=ENVIRONMENT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
