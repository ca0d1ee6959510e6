"""The forced command on the node: exactly what is allowed, and nothing else."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hearth.errors import HearthError
from hearth.proxmox import node_wrapper
from hearth.proxmox.node_wrapper import Refused, parse
from hearth.proxmox.wrapper import Device, NodeShell, authorized_line

STICK = "/dev/serial/by-id/usb-ITead_Sonoff_Zigbee_3.0_1234-if00-port0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small node: guests 135 and VM 136 are ours, 140 a stranger's, 141 is ours in a snapshot only."""
    files = {
        "etc/pve/lxc/135.conf": "#tags: nothing\narch: amd64\ntags: mqtt;hearth\n",
        "etc/pve/lxc/140.conf": "#hearth\narch: amd64\ntags: hearthstone\n",
        "etc/pve/lxc/141.conf": "arch: amd64\n[before]\ntags: hearth\n",
        "etc/pve/lxc/142.conf": "arch: amd64\n[PENDING]\ntags: hearth\n",
        "etc/pve/qemu-server/136.conf": "tags: hearth\n",
        "etc/pve/qemu-server/143.conf": "#tags: hearth\nname: tags: hearth\ntags: hearth-x;xhearth\n",
        "dev/ttyUSB0": "",
        "dev/sda": "",
        "dev/net/tun": "",
        "sys/devices/usb1/1-1/idVendor": "10c4\n",
        "sys/devices/usb1/1-1/idProduct": "ea60\n",
        "sys/devices/usb1/1-1/1-1:1.0/ttyUSB0/note": "",
        "mnt/media/film": "",
        "etc/secret/key": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / STICK.lstrip("/")).parent.mkdir(parents=True)
    (tmp_path / STICK.lstrip("/")).symlink_to("../../ttyUSB0")
    (tmp_path / "sys/class/tty/ttyUSB0").mkdir(parents=True)
    (tmp_path / "sys/class/tty/ttyUSB0/device").symlink_to(tmp_path / "sys/devices/usb1/1-1/1-1:1.0/ttyUSB0")
    (tmp_path / "mnt/sly").symlink_to(tmp_path / "etc/secret")
    return tmp_path


BACKUP = "local:backup/vzdump-lxc-135-2026_11_30-02_00_00.tar.zst"
ALLOWED = [
    f"pct set 135 --dev0 {STICK},gid=20,mode=0660",
    "pct set 135 --dev1 /dev/net/tun,mode=0666",
    "pct set 135 --features nesting=1,keyctl=1",
    "pct set 135 --features 'nesting=1,mount=nfs;cifs'",
    "pct set 135 --mp0 /mnt/media,mp=/media,ro=1",
    "pct set 135 --dev0 /dev/net/tun,mode=0666 --features nesting=1",
    "qm set 136 --usb0 host=10c4:ea60",
    "devices",
    f"backup check {BACKUP}",
    "backup check nas-2:backup/vzdump-qemu-136-2026_11_30-02_00_00.vma.zst",
]
REFUSED = [
    "backup",
    "backup check",
    f"backup check {BACKUP} x",
    f"backup remove {BACKUP}",
    "backup check local:backup/../../etc/shadow",
    "backup check local:backup/vzdump-lxc-135-2026_11_30-02_00_00.tar.zst/../../x",
    "backup check local:backup/vzdump-lxc-135-2026_11_30-02_00_00.log",
    "backup check /var/lib/vz/dump/vzdump-lxc-135-2026_11_30-02_00_00.tar.zst",
    "backup check local:iso/x.iso",
    "backup check '-local:backup/vzdump-lxc-135-2026_11_30-02_00_00.tar.zst'",
    "backup check 'local:backup/vzdump-lxc-135-2026_11_30-02_00_00.tar.zst\n'",
    "",
    "bash",
    "pct set 135",
    "pct enter 135",
    "pct destroy 135 --purge 1",
    "pct set 135 --memory 512",
    "pct set 135 --hookscript local:snippets/x.sh",
    "pct set 135 --dev0",
    "pct set 135 --dev0 /dev/sda",
    "pct set 135 --dev0 /dev/mem",
    "pct set 135 --dev0 /dev/serial/by-id/../../sda",
    "pct set 135 --dev0 /dev/serial/by-id/usb-Missing-if00",
    "pct set 135 --dev0 /dev/net/tun,mode=0666,bogus=1",
    "pct set 135 --features nesting=1,bogus=1",
    "pct set 135 --features ''",
    "pct set 135 --mp0 /,mp=/host",
    "pct set 135 --mp0 /etc/secret,mp=/host",
    "pct set 135 --mp0 /mnt/sly,mp=/host",
    "pct set 135 --mp0 /mnt/../etc/secret,mp=/host",
    "pct set 135 --mp0 /mnt/missing,mp=/host",
    "pct set 135 --mp0 /mnt/media",
    "pct set 135 --mp0 local-lvm:8,mp=/srv",
    "pct set 135 --features nesting=1; reboot",
    "pct set 135 --features $(reboot)",
    "pct set 135 --features nesting=1 --delete mp0",
    "pct set 140 --features nesting=1",
    "pct set 141 --features nesting=1",
    "pct set 136 --features nesting=1",
    "pct set 999 --features nesting=1",
    "pct set ../136 --features nesting=1",
    "pct set 0135 --features nesting=1",
    "pct set 135 --rootfs /mnt/media",
    "pct set 135 --usb0 host=10c4:ea60",
    "qm set 135 --usb0 host=10c4:ea60",
    "qm set 136 --usb0 spice",
    "qm set 136 --args '-device x'",
    "qm set 136 --scsi1 /dev/sda",
    "devices --root /",
    "pct 'set",
    # other guests, and what only looks like one of ours
    "pct set 1350 --features nesting=1",
    "pct set 135,140 --features nesting=1",
    "pct set '135 140' --features nesting=1",
    "pct set 135/../140 --features nesting=1",
    "pct set +135 --features nesting=1",
    "pct set -135 --features nesting=1",
    "pct set \u0661\u0663\u0665 --features nesting=1",
    "pct set 1e2 --features nesting=1",
    "pct set 142 --features nesting=1",
    "qm set 143 --usb0 host=10c4:ea60",
    # other commands, keys and forms
    "PCT set 135 --features nesting=1",
    "/usr/sbin/pct set 135 --features nesting=1",
    "pct  config 135",
    "qm start 136",
    "qm monitor 136",
    "pvesh set /nodes/pve/lxc/135/config --features nesting=1",
    "pct set 135 -features nesting=1",
    "pct set 135 --features=nesting=1",
    "pct set 135 -- --features nesting=1",
    "pct set --features nesting=1 135 x",
    "pct set 135 features nesting=1",
    "pct set 135 --dev /dev/net/tun",
    "pct set 135 --dev1000 /dev/net/tun",
    "pct set 135 --dev\u0661 /dev/net/tun",
    "pct set 135 --dev0x /dev/net/tun",
    "pct set 135 --lxc.apparmor.profile unconfined",
    "pct set 135 --unprivileged 0",
    "pct set 135 --tags hearth",
    "pct set 135 --delete dev0",
    "pct set 135 --features nesting=1 --force",
    "pct set 135 --features nesting=1 --tags hearth",
    "qm set 136 --hostpci0 00:1f.0",
    "qm set 136 --usb0 host=1-1",
    "qm set 136 --usb0 host=10c4:ea60,usb3=1,mapping=x",
    "qm set 136 --usb100 host=10c4:ea60",
    "qm set 136 --dev0 /dev/net/tun",
    "devices; reboot",
    "devices devices",
    # values that reach further
    "pct set 135 --dev0 /dev/../dev/net/tun",
    "pct set 135 --dev0 //dev/net/tun",
    "pct set 135 --dev0 dev/net/tun",
    "pct set 135 --dev0 /dev/net/tun/",
    "pct set 135 --dev0 path=/dev/net/tun",
    "pct set 135 --dev0 '/dev/net/tun mode=0666'",
    "pct set 135 --dev0 '/dev/net/tun\n'",
    "pct set 135 --dev0 /dev/net/tun,mode=4755",
    "pct set 135 --dev0 /dev/net/tun,uid=-1",
    "pct set 135 --dev0 /dev/kvm",
    "pct set 135 --dev0 /dev/ttyUSB0/../sda",
    "pct set 135 --features mount=nfs,nesting=1,",
    "pct set 135 --features nesting=2",
    "pct set 135 --features 'nesting=1\nlxc.mount.entry: /'",
    "pct set 135 --mp0 /mnt/media,mp=/media,mp=/other",
    "pct set 135 --mp0 /mnt/media,mp=/media/../../etc",
    "pct set 135 --mp0 /mnt/media,mp=media",
    "pct set 135 --mp0 '/mnt/media,mp=/media,size=8G'",
    "pct set 135 --mp0 /mnt/media/film,mp=/media",
    "pct set 135 --mp0 volume=/mnt/media,mp=/media",
    "pct set 135 --mp0 /mnt/m\u00e9dia,mp=/media",
    "pct set 135 --mp0 //etc/secret,mp=/x",
    "pct set 135 --mp0 /mnt/./../etc/secret,mp=/x",
    # a shell's own words: none is here to read them
    "pct set 135 --features nesting=1 && reboot",
    "pct set 135 --features nesting=1 | tee /etc/passwd",
    "pct set 135 --features nesting=1 > /etc/passwd",
    "pct set 135 --features `reboot`",
    "pct set 135 --features nesting=1\nreboot",
    "pct set 135 --features ${IFS}nesting=1",
    "sh -c 'pct set 135 --features nesting=1'",
    "exec pct set 135 --features nesting=1",
    "X=1 pct set 135 --features nesting=1",
    "internal-sftp",
    "scp -t /root",
    "/usr/lib/openssh/sftp-server",
    "rsync --server . /",
]


@pytest.mark.parametrize("command", REFUSED)
def test_what_is_refused_reaches_no_tool(
    root: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a tool was started")

    monkeypatch.setattr("subprocess.run", never)
    assert node_wrapper.main(["--root", str(root)], command) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("hearth-node: ")


@pytest.mark.parametrize("command", ALLOWED)
def test_what_is_allowed_is_passed_on_word_for_word(root: Path, command: str) -> None:
    assert parse(command, root) == shlex.split(command)


@pytest.mark.parametrize("command", REFUSED)
def test_everything_else_is_refused(root: Path, command: str) -> None:
    with pytest.raises(Refused):
        parse(command, root)


def test_on_a_real_node_a_device_must_be_a_character_device(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = root / "dev/net/tun"
    assert not stat.S_ISCHR(device.stat().st_mode)
    monkeypatch.setattr(node_wrapper, "_inside", lambda path, _: root / path.lstrip("/"))
    with pytest.raises(Refused):
        parse("pct set 135 --dev1 /dev/net/tun,mode=0666", Path("/"))


def test_the_script_alone_runs_the_tool_without_a_shell(root: Path) -> None:
    tool = root / "pct"
    tool.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    tool.chmod(0o755)
    done = run(root, "pct set 135 --features 'nesting=1,mount=nfs;cifs'")
    assert done.stdout.splitlines() == ["set", "135", "--features", "nesting=1,mount=nfs;cifs"]
    assert done.returncode == 0
    refused = run(root, "pct set 135 --hookscript x")
    assert refused.returncode == 1 and "not allowed" in refused.stderr and refused.stdout == ""


def test_nothing_but_the_request_counts_of_the_clients_environment(root: Path) -> None:
    """sshd passes on what AcceptEnv names: an admin may have put anything there."""
    evil = root / "evil"
    evil.mkdir()
    (evil / "json.py").write_text("raise SystemExit('taken over')\n")
    (evil / "sitecustomize.py").write_text("raise SystemExit('taken over')\n")
    tool = root / "pct"
    tool.write_text("#!/bin/sh\nenv\n")
    tool.chmod(0o755)
    env = {
        "SSH_ORIGINAL_COMMAND": "pct set 135 --features nesting=1",
        "PYTHONPATH": str(evil),
        "PYTHONSTARTUP": str(evil / "json.py"),
        "PERL5OPT": "-Mevil",
        "PATH": str(evil),
        "LC_PVE_TICKET": "x",
    }
    first, *rest = Path(node_wrapper.__file__).read_text().splitlines()[0].removeprefix("#!").split()
    assert (first, rest) == ("/usr/bin/python3", ["-I"])
    argv = [sys.executable, *rest, node_wrapper.__file__, "--root", str(root), "--pct", str(tool)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    seen = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert seen <= {"PATH", "HOME", "LC_ALL", "PWD", "SHLVL", "_"}
    assert str(evil) not in done.stdout


def test_a_request_in_arguments_is_none(root: Path) -> None:
    """The forced command has none; without SSH_ORIGINAL_COMMAND (`ssh node` alone) it refuses."""
    argv = [sys.executable, "-I", node_wrapper.__file__, "--root", str(root)]
    done = subprocess.run(argv, env={}, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1 and done.stdout == ""


def test_the_keys_line_forbids_everything_but_the_wrapper() -> None:
    line = authorized_line("ssh-ed25519 AAAA hearth-node")
    options = line.split(" ssh-ed25519 ")[0]
    assert options == 'restrict,command="/usr/local/sbin/hearth-node"'


def run(root: Path, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The script as sshd runs it: isolated, so that it needs nothing but the standard library."""
    script = Path(node_wrapper.__file__)
    argv = [sys.executable, "-I", str(script), "--root", str(root), "--pct", str(root / "pct"), *options]
    env = {**os.environ, "SSH_ORIGINAL_COMMAND": command}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30)


def test_the_devices_are_told_with_target_group_and_usb_id(root: Path) -> None:
    done = run(root, "devices")
    assert json.loads(done.stdout) == [
        {"path": STICK, "target": "/dev/ttyUSB0", "gid": os.getgid(), "usb": "10c4:ea60"},
        {"path": "/dev/net/tun", "target": "/dev/net/tun", "gid": os.getgid(), "usb": ""},
    ]


def test_the_client_and_the_script_understand_each_other(root: Path) -> None:
    tool = root / "pct"
    tool.write_text(f'#!/bin/sh\nprintf "%s " "$@" > {root}/asked\n')
    tool.chmod(0o755)

    def over_ssh(argv: object) -> tuple[int, str, str]:
        done = run(root, shlex.join(argv))  # type: ignore[arg-type]
        return done.returncode, done.stdout, done.stderr

    shell = NodeShell(over_ssh)
    assert Device(STICK, "/dev/ttyUSB0", os.getgid(), "10c4:ea60") in shell.devices()
    shell.set_root_only(
        135, "lxc", {"dev0": f"{STICK},gid=20,mode=0660", "features": "nesting=1,mount=nfs;cifs"}
    )
    words = (root / "asked").read_text().split()
    assert words == [
        "set",
        "135",
        "--dev0",
        f"{STICK},gid=20,mode=0660",
        "--features",
        "nesting=1,mount=nfs;cifs",
    ]


@pytest.fixture
def dump(root: Path) -> Path:
    """A backup on the node, as zstd has packed it, and a `pvesm` that knows where it is."""
    file = root / "dump" / BACKUP.rpartition("/")[2]
    file.parent.mkdir()
    plain = root / "plain"
    plain.write_bytes(os.urandom(1 << 16))
    subprocess.run(["zstd", "-q", str(plain), "-o", str(file)], check=True)
    tools = root / "tools"
    tools.mkdir()
    (tools / "pvesm").write_text(f'#!/bin/sh\n[ "$1 $2" = "path {BACKUP}" ] && echo /dump/{file.name}\n')
    (tools / "pvesm").chmod(0o755)
    return file


def told(root: Path, volid: str = BACKUP) -> str:
    """What the client hears of a backup."""

    def over_ssh(argv: Sequence[str]) -> tuple[int, str, str]:
        path = f"{root / 'tools'}:{node_wrapper.ENVIRONMENT['PATH']}"
        done = run(root, shlex.join(argv), "--path", path)
        return done.returncode, done.stdout, done.stderr

    return NodeShell(over_ssh).why_not_whole(volid)


needs_zstd = pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")


@needs_zstd
def test_a_whole_backup_is_told_from_one_that_is_not(root: Path, dump: Path) -> None:
    content = dump.read_bytes()
    assert told(root) == ""
    dump.write_bytes(content[: len(content) // 2])
    assert "premature end" in told(root)
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    dump.write_bytes(damaged)
    assert told(root) != ""
    dump.write_bytes(content)
    assert told(root) == ""


@needs_zstd
def test_a_backup_that_is_not_there_is_no_verdict(root: Path, dump: Path) -> None:
    dump.unlink()
    with pytest.raises(HearthError, match="is no file here"):
        told(root)
    with pytest.raises(HearthError, match="is no file here"):
        told(root, "other:backup/vzdump-lxc-135-2026_11_30-02_00_00.tar.zst")


def test_an_older_wrapper_gives_no_verdict() -> None:
    shell = NodeShell(lambda argv: (1, "", "hearth-node: allowed are `pct set VMID --KEY VALUE`"))
    with pytest.raises(HearthError, match="allowed are"):
        shell.why_not_whole(BACKUP)
