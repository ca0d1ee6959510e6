"""What a home must not lose, made in the twin's home, and looked for again after a disaster."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from hearth.home_assistant.client import Client, Place
from hearth.role.tokens import token_name
from tests.twin.handle import ROUTER, TwinHandle, until
from tests.twin.home_kit import WHOLE, Done, Home
from tests.twin.test_home_zigbee2mqtt import heard
from tests.verify.mqtt_client import Mqtt
from twin.devices.control import Devices
from twin.devices.phone import Phone

SENSOR = "sensor.0x00124b0022aa0001_temperature"
MEASURED = 26.75  # degrees, which nothing else here measures
TOPIC = "hearth/verify/kept"
ACCOUNT = "keeper@example.org"
ATTACHMENT = "/var/lib/vaultwarden/attachments/item/file"
PLACE, PORT = ROUTER, 8999  # as somebody elsewhere
STORAGE = "elsewhere"  # of Proxmox, for its own backups: not the node's
BACK = 180.0  # seconds until what came back is seen in the whole home
CRITICAL, ALL = 5, 20  # minutes that are promised in a twin


class Kept(Home):
    """The home with backups on, and with values of its own.

    Args:
        home: the default home.
        fleet_file: its fleet file.
        values: a file of values that win over the twin's stand-ins.
        project: where commands are typed; None: where the home's are.
    """

    def __init__(self, home: Home, fleet_file: Path, values: Path, project: Path | None = None) -> None:
        super().__init__(home.twin, home.place, project or home.project, fleet_file, home.own_secrets)
        self.values_file = values

    @property
    def settings(self) -> dict[str, str]:
        """See Home."""
        return {
            **super().settings,
            "HEARTH_OVERRIDES": f"{self.twin.twin.dir / 'standins.yaml'}:{self.values_file}",
        }

    def restore(self, *data: str) -> Done:
        """`pyinfra inventory restore.py -y`."""
        words = [word for pair in data for word in ("--data", pair)]
        return self.run("pyinfra", "inventory", "restore.py", "-y", *words, patience=WHOLE)

    def timeline(self) -> dict[str, Any]:
        """What the last restore wrote down."""
        return dict(json.loads((self.state_dir / "restore.json").read_text()))


def kept_home(home: Home, place: Path) -> Kept:
    """The home whose backups are copied elsewhere, and whose Proxmox backs up to a storage elsewhere."""
    content = yaml.safe_load(home.fleet_file.read_text())
    content["guests"]["data"]["roles"] = ["postgresql", "cloud_data_sync", "config_backup"]
    everybody = {"schedule": "02:00", "keep": {"last": 3}}
    content["backup"] = {"storage": STORAGE, "jobs": {"all": everybody}}
    fleet_file, values = place / "fleet.yaml", place / "values.yaml"
    fleet_file.write_text(yaml.safe_dump(content, sort_keys=False))
    own = {
        "cloud_data_sync_repository": f"rest:http://{PLACE}:{PORT}/",
        "restore_critical_minutes": CRITICAL,
        "restore_all_minutes": ALL,
    }
    values.write_text(yaml.safe_dump(own))
    return Kept(home, fleet_file, values)


@contextmanager
def elsewhere(twin: TwinHandle, folder: Path) -> Iterator[None]:
    """Somebody elsewhere who takes backups: rclone's restic server, reached in the twin's network."""
    folder.mkdir(exist_ok=True)
    serve = ["rclone", "serve", "restic", "--addr", f"{PLACE}:{PORT}", str(folder)]
    process = subprocess.Popen(["nsenter", f"--net={twin.twin.netns_file}", "--", *serve])
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


class Belongings:
    """What must not be lost.

    Args:
        home: whose.
    """

    def __init__(self, home: Kept) -> None:
        self.home = home
        self.devices = Devices.of(home.twin.twin)
        self.began = datetime.now(UTC)
        ca = home.place / "ca.pem"
        ca.write_text(home.secret("ca/cert"))
        url = f"https://{home.address('home-assistant')}:8123"
        token = home.secret(token_name("hearth"))
        self.phone = home.twin.call(lambda: Phone(url, ca, token, "old-phone"))
        self.identities: dict[str, Any] = {}

    def make(self) -> None:
        """Make it all."""
        self.devices.measure(temperature=MEASURED)
        until(lambda: MEASURED in self.history() or None, BACK)
        with self.mqtt("hearth-verify") as client:
            client.publish(TOPIC, "kept", 1, retain=True)
        self.invite()
        self.home.said("security", f"install -d $(dirname {ATTACHMENT}); echo attached >{ATTACHMENT}")
        self.home.twin.call(self.phone.register)
        self.home.twin.call(lambda: self.phone.register_sensor("battery", "Battery", 80))
        self.identities = self.identity()

    def look(self) -> None:
        """All of it is there, and the old phone reconnects without pairing."""
        until(lambda: MEASURED in self.history() or None, BACK)
        with self.mqtt("hearth-verify") as client:
            client.subscribe(TOPIC)
            assert client.message().payload == b"kept"
        users = "sqlite3 -readonly /var/lib/vaultwarden/db.sqlite3 'select email from users'"
        assert ACCOUNT in self.home.said("security", users).split()
        assert self.home.said("security", f"cat {ATTACHMENT}") == "attached"
        assert self.identity() == self.identities
        self.paired()
        self.called()

    def paired(self) -> None:
        """The sensor is heard as far as Home Assistant, and nobody let it join."""
        value = round(20 + time.time() % 5, 2)

        def arrived() -> bool | None:
            self.devices.measure(temperature=value)
            return True if float(self.state(SENSOR)) == value else None

        until(_patient(arrived), BACK)

    def called(self) -> None:
        """The old phone is reached with what it had: its webhook, its channel, its sensor."""
        self.home.twin.call(lambda: self.phone.await_channel(BACK))
        self.home.twin.call(lambda: self.phone.update_sensor("battery", 55))
        content = {"message": "are you there?"}
        with self.client() as client:
            path = "/api/services/notify/mobile_app_old_phone"
            self.home.twin.call(lambda: client.call("POST", path, "notify", json=content))
        self.phone.wait_for_notification(30, lambda each: each["message"] == content["message"])
        self.phone.notifications.clear()

    # ------------------------------------------------------------------- parts

    def client(self) -> Client:
        """Home Assistant's API."""
        name = "home-assistant"
        trusted = ssl.create_default_context(cadata=self.home.secret("ca/cert"))
        place = Place(name, f"https://{self.home.address(name)}:8123", trusted=trusted)
        return Client(place, self.home.secret(token_name("hearth")))

    def asked(self, path: str) -> Any:
        """A GET of its API."""
        with self.client() as client:
            return self.home.twin.call(lambda: client.call("GET", path, "ask"))

    def state(self, entity: str) -> str:
        """An entity's state."""
        return str(self.asked(f"/api/states/{entity}")["state"])

    def history(self) -> list[float]:
        """What the sensor has measured since this began, as the recorder has it."""
        since = quote(self.began.isoformat())
        rows = self.asked(f"/api/history/period/{since}?filter_entity_id={SENSOR}&minimal_response")
        states = [row["state"] for row in (rows[0] if rows else [])]
        return [float(state) for state in states if state.replace(".", "", 1).isdigit()]

    def mqtt(self, user: str) -> Mqtt:
        """A client of the broker."""
        tls = ssl.create_default_context(cadata=self.home.secret("ca/cert"))
        login = (self.home.address("comms"), 8883, user, self.home.secret(f"mqtt/{user}"), tls)
        return self.home.twin.call(lambda: Mqtt(*login))

    def invite(self) -> None:
        """Somebody gets an account in the vault."""
        plain = "http://127.0.0.1:18443"
        script = (
            "read token; cd $(mktemp -d); ask='curl -sf --noproxy *'; set -f; "
            f"$ask -o page -c jar -d token=$token {plain}/admin && $ask -o /dev/null -b jar "
            f"-H 'Content-Type: application/json' -d '{{\"email\": \"{ACCOUNT}\"}}' {plain}/admin/invite"
        )
        token = self.home.secret("vaultwarden/admin-token") + "\n"
        subprocess.run(self.home.ssh("security", script), input=token, text=True, timeout=60, check=True)

    def identity(self) -> dict[str, Any]:
        """Who the guests are in the tailnet, and which network the Zigbee devices are in."""
        found: dict[str, Any] = {}
        for guest in self.home.fleet.guests:
            if "tailscale" in guest.roles:
                status = json.loads(self.home.said(guest.name, "tailscale status --json --peers=false"))
                found[guest.name] = {key: status["Self"][key] for key in ("ID", "PublicKey", "HostName")}
        found["zigbee"] = sorted(row["ieee_address"] for row in self.zigbee_devices())
        return found

    def zigbee_devices(self) -> list[dict[str, Any]]:
        """What Zigbee2MQTT knows."""
        with self.mqtt("zigbee2mqtt-comms") as client:
            client.subscribe("zigbee2mqtt/bridge/devices")
            return list(heard(client, "zigbee2mqtt/bridge/devices", bool))

    # ----------------------------------------------------------------- backups

    def back_up(self) -> None:
        """States collected, and copied elsewhere."""
        for unit in ("hearth-backup", "hearth-backup-copy"):
            self.home.said("data", f"systemctl start {unit}.service")

    def back_up_guests(self) -> None:
        """Proxmox's own backups, of every guest."""
        vmids = ",".join(str(guest.vmid) for guest in self.home.fleet.guests)
        upid = self.home.twin.as_root(
            "POST", "/nodes/pve/vzdump", vmid=vmids, storage=STORAGE, compress="zstd", mode="snapshot"
        )
        path = f"/nodes/pve/tasks/{upid}"
        ended = until(lambda: _ended(self.home.twin.as_root("GET", f"{path}/status")), 900)
        assert ended == "OK", self.home.twin.as_root("GET", f"{path}/log?limit=500")


def _ended(status: dict[str, Any]) -> str | None:
    return str(status["exitstatus"]) if status["status"] == "stopped" else None


def _patient(look: Callable[[], Any]) -> Callable[[], Any]:
    """While something comes up, an error is not yet an answer."""

    def patient() -> Any:
        try:
            return look()
        except (OSError, ValueError, AssertionError):
            return None
        except Exception as error:
            if "HearthError" in {kind.__name__ for kind in type(error).__mro__}:
                return None
            raise

    return patient
