"""The wrapper on the node: needed, absent, silent, changed; and sticks that are missing or moved."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import paramiko
import pytest
from doctor_home import Patient
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from hearth.doctor.root_only import root_only_keys
from hearth.fleet.model import Features, Guest, Mount
from hearth.known_hosts import KnownHosts
from hearth.secrets import ensure_ssh_key

STICK = "/dev/serial/by-id/usb-ITead_Sonoff_Zigbee-if00-port0"
PATIENCE = 10.0


class NodeSsh:
    """The node's SSH server: one key, bound to the real wrapper, which sees `root` as its file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host_key = paramiko.ECDSAKey.generate()
        self.accepted = ""  # the public line that may log in
        self.installed = True
        self.options: tuple[str, ...] = ()  # what the key's line gives the wrapper
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.host_key)
            try:
                transport.start_server(server=_Session(self))
            except (paramiko.SSHException, EOFError, OSError):
                continue

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)

    def run(self, command: str) -> subprocess.CompletedProcess[bytes]:
        if not self.installed:
            return subprocess.CompletedProcess([], 127, b"", b"sh: /usr/local/sbin/hearth-node: not found\n")
        wrapper = str(files("hearth.proxmox") / "node_wrapper.py")
        environ = {**os.environ, "SSH_ORIGINAL_COMMAND": command}
        argv = [sys.executable, wrapper, "--root", str(self.root), "--path", "/nowhere", *self.options]
        return subprocess.run(argv, env=environ, capture_output=True, check=False, timeout=PATIENCE)


class _Session(paramiko.ServerInterface):
    def __init__(self, node: NodeSsh) -> None:
        self.node = node

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = key.get_base64() in self.node.accepted and username == "root"
        return int(AUTH_SUCCESSFUL if known else AUTH_FAILED)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def answer() -> None:
            done = self.node.run(command.decode())
            channel.sendall(done.stdout)
            channel.sendall_stderr(done.stderr)
            channel.send_exit_status(done.returncode)
            channel.close()

        # paramiko confirms the request only after this returns; an answer before that closes the channel.
        threading.Timer(0.2, answer).start()
        return True


@pytest.fixture
def node_ssh(tmp_path: Path) -> Iterator[NodeSsh]:
    server = NodeSsh(tmp_path / "node")
    yield server
    server.stop()


@pytest.fixture
def wired(patient: Patient, node_ssh: NodeSsh) -> Patient:
    """A fleet with a stick, a node whose wrapper answers, and a key that may ask it."""
    add_stick(node_ssh, STICK)
    patient.fleet["nodes"]["pve"]["ssh"] = {"port": node_ssh.port}
    patient.guest("comms")["devices"] = [STICK]
    store = patient.home.secrets
    _, node_ssh.accepted = ensure_ssh_key(store, "node")
    store.save()
    return patient


def add_stick(node: NodeSsh, path: str) -> None:
    """A by-id link on the fake node, to a character device."""
    link = node.root / path.lstrip("/")
    link.parent.mkdir(parents=True, exist_ok=True)
    device = node.root / "dev" / "ttyUSB0"
    if not device.exists():
        device.symlink_to("/dev/null")  # any character device; making one needs root
    link.symlink_to("../../ttyUSB0")


def test_all_is_well(wired: Patient) -> None:
    findings = wired.examine()
    assert [finding for finding in findings if finding.status != "ok"] == []
    assert [finding.check for finding in findings].count("device") == 1
    assert wired.pve.log.writes() == []
    assert not wired.home.known_hosts.path.exists()


def test_a_node_that_asks_for_the_tailnet(patient: Patient, node_ssh: NodeSsh) -> None:
    patient.fleet["nodes"]["pve"] |= {"ssh": {"port": node_ssh.port}, "tailnet": True}
    patient.fleet["tailnet"] = {"domain": "tail.example.ts.net"}
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("wrapper", "fail")
    assert "pve: tailnet" in finding.text
    store = patient.home.secrets
    _, node_ssh.accepted = ensure_ssh_key(store, "node")
    store.save()
    finding = patient.complaint()
    assert "its line has no --tailnet" in finding.text and "bootstrap.py" in finding.remedy
    node_ssh.options = ("--tailnet",)
    assert patient.complaints() == []
    assert "may bring it into the tailnet" in "".join(found.text for found in patient.examine())


def test_stick_that_is_missing(wired: Patient, node_ssh: NodeSsh) -> None:
    (node_ssh.root / STICK.lstrip("/")).unlink()
    finding = wired.complaint()
    assert (finding.check, finding.status) == ("device", "fail")
    assert STICK in finding.text
    assert "comms" in finding.text


def test_stick_that_moved(wired: Patient, node_ssh: NodeSsh) -> None:
    (node_ssh.root / STICK.lstrip("/")).unlink()
    moved = STICK.replace("port0", "port1")
    add_stick(node_ssh, moved)
    finding = wired.complaint()
    assert moved in finding.text
    assert "fleet file" in finding.remedy


def test_tun_that_is_missing(wired: Patient) -> None:
    wired.guest("comms")["tun"] = True
    finding = wired.complaint()
    assert finding.check == "device"
    assert "/dev/net/tun" in finding.text


def test_key_that_is_not_installed(wired: Patient, node_ssh: NodeSsh) -> None:
    node_ssh.accepted = ""
    finding = wired.complaint()
    assert (finding.check, finding.status) == ("wrapper", "fail")
    assert "hearth node-key" in finding.remedy
    assert "comms: devices" in finding.text


def test_wrapper_that_is_not_installed(wired: Patient, node_ssh: NodeSsh) -> None:
    node_ssh.installed = False
    finding = wired.complaint()
    assert finding.check == "wrapper"
    assert "not found" in finding.text
    assert "hearth node-key" in finding.remedy


def test_nobody_listens(wired: Patient, node_ssh: NodeSsh) -> None:
    node_ssh.stop()
    assert wired.complaint().check == "wrapper"
    node_ssh.listener = socket.create_server(("127.0.0.1", 0))


def test_no_key_yet(wired: Patient) -> None:
    store = wired.home.secrets
    store.remove("ssh/node")
    store.save()
    finding = wired.complaint()
    assert finding.check == "wrapper"
    assert "hearth node-key" in finding.remedy


def test_changed_host_key(wired: Patient, node_ssh: NodeSsh) -> None:
    known: KnownHosts = wired.home.known_hosts
    known.remember("127.0.0.1", paramiko.ECDSAKey.generate(), node_ssh.port)
    finding = wired.complaint()
    assert finding.check == "wrapper"
    assert f"line 1 of {known.path}" in finding.text
    assert "ssh-keygen -R" in finding.remedy


def test_not_asked_where_nobody_needs_it(patient: Patient, node_ssh: NodeSsh) -> None:
    patient.fleet["nodes"]["pve"]["ssh"] = {"port": node_ssh.port}
    assert patient.complaints() == []


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({}, ()),
        ({"features": Features(nesting=True)}, ()),
        ({"mounts": (Mount(slot="mp0", path="/x", size=1024),)}, ()),
        ({"features": Features(nesting=True, keyctl=True)}, ("features.keyctl",)),
        ({"features": Features(nesting=True), "unprivileged": False}, ("features.nesting",)),
        ({"features": Features(mount=("nfs",))}, ("features.mount",)),
        ({"mounts": (Mount(slot="mp0", path="/x", source="/srv"),)}, ("mounts.mp0",)),
        ({"tun": True}, ("tun",)),
        ({"devices": (STICK,)}, ("devices",)),
        ({"kind": "vm", "devices": (STICK,)}, ("devices",)),
        ({"kind": "vm"}, ()),
    ],
)
def test_what_only_root_may_set(keys: dict[str, object], wanted: tuple[str, ...]) -> None:
    whole: dict[str, object] = {"name": "a", "kind": "lxc", "node": "pve", "vmid": 100, **keys}
    assert root_only_keys(Guest.model_validate(whole)) == wanted
