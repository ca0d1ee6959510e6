"""Generated passwords, SSH keys and Mosquitto hashes, proven by the programs that use them."""

import base64
import re
import subprocess
import time
from pathlib import Path

import pytest
from secret_place import Place

from hearth.errors import HearthError
from hearth.secrets import (
    Secret,
    ensure_ssh_key,
    mosquitto_hash,
    mqtt_user,
    password,
    ssh_key,
    ssh_public_key,
)


def test_password_length_and_alphabet() -> None:
    assert re.fullmatch(r"[A-Za-z0-9]{32}", password())
    assert len(password(20)) == 20
    assert len({password() for _ in range(100)}) == 100


def test_ssh_keygen_accepts_the_key_and_agrees_on_the_public_half(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    text = ssh_key()
    file.write_text(text)
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-f", file], capture_output=True, text=True, check=True
    ).stdout
    assert shown.split()[:2] == ssh_public_key(Secret(text), "me").split()[:2]
    assert ssh_public_key(Secret(text), "me").startswith("ssh-ed25519 AAAA")
    assert ssh_public_key(Secret(text), "me").endswith(" me")


def test_ssh_key_is_kept(place: Place) -> None:
    store = place.open()
    private, public = ensure_ssh_key(store, "deploy")
    store.save()
    assert ensure_ssh_key(place.open(), "deploy") == (private, public)
    assert ensure_ssh_key(place.open(), "node")[1] != public


def test_damaged_ssh_key_is_a_clear_error() -> None:
    with pytest.raises(HearthError) as caught:
        ssh_public_key(Secret("canary"))
    assert "canary" not in str(caught.value)


def test_hash_is_the_one_mosquitto_passwd_writes(tmp_path: Path) -> None:
    """Take the salt and iterations of a real mosquitto_passwd and come to the same hash."""
    file = tmp_path / "passwd"
    file.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", file, "kitchen", "pass wörd"], check=True, capture_output=True)
    line = file.read_text().strip()
    name, _, given = line.partition(":")
    _, kind, iterations, salt, _ = given.split("$")
    assert (name, kind, iterations) == ("kitchen", "7", "101")
    assert mosquitto_hash("pass wörd", base64.b64decode(salt)) == given


@pytest.mark.parametrize("length", [0, 8, 11, 13, 16])
def test_salt_that_the_broker_would_refuse(length: int) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        mosquitto_hash("x", b"s" * length)


def test_user_is_stable_across_runs(place: Place) -> None:
    store = place.open()
    first = mqtt_user(store, "kitchen")
    store.save()
    again = mqtt_user(place.open(), "kitchen")
    assert again == first
    assert place.open().get("mqtt/kitchen") == first.password


def test_hash_follows_the_password(place: Place) -> None:
    store = place.open()
    first = mqtt_user(store, "kitchen")
    store.put("mqtt/kitchen", "another")
    second = mqtt_user(store, "kitchen")
    assert second.hash != first.hash
    assert second.hash.reveal().split("$")[3] == first.hash.reveal().split("$")[3]


@pytest.mark.parametrize("salt", ["canary", "AAAA", ""])
def test_damaged_salt_is_a_clear_error(place: Place, salt: str) -> None:
    store = place.open()
    store.put("mqtt-salt/kitchen", salt)
    with pytest.raises(HearthError, match="mqtt-salt/kitchen") as caught:
        mqtt_user(store, "kitchen")
    assert salt == "" or salt not in str(caught.value)


def test_a_real_broker_takes_the_hash(place: Place, tmp_path: Path, free_port: int) -> None:
    user = mqtt_user(place.open(), "kitchen")
    passwords, config = tmp_path / "passwd", tmp_path / "mosquitto.conf"
    passwords.write_text(f"kitchen:{user.hash.reveal()}\n")
    passwords.chmod(0o644)
    tmp_path.chmod(0o755)
    config.write_text(f"listener {free_port} 127.0.0.1\npassword_file {passwords}\nuser root\n")
    broker = subprocess.Popen(
        ["mosquitto", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert _login(free_port, "kitchen", user.password.reveal()) == 0
        assert _login(free_port, "kitchen", "wrong") == 5
        assert _login(free_port, "other", user.password.reveal()) == 5
    finally:
        broker.terminate()
        broker.wait(10)


def _login(port: int, user: str, secret: str) -> int:
    """The CONNACK's return code (MQTT 3.1.1, 3.2.2.3); waits for the broker to listen."""
    import socket

    body = b"\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01x" + b"".join(
        len(text.encode()).to_bytes(2, "big") + text.encode() for text in (user, secret)
    )
    deadline = time.monotonic() + 10
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), 5)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    with connection:
        connection.sendall(b"\x10" + bytes([len(body)]) + body)
        return connection.recv(4)[3]
