"""Zigbee2MQTT's settings: which ones are ours, and how it takes them.

It owns its configuration.yaml: it writes devices, groups and whatever is changed in its frontend into it. So
nothing of ours writes there. Zigbee2MQTT itself merges variables ZIGBEE2MQTT_CONFIG_* into the file
whenever it writes that (applyEnvironmentVariables, lib/util/settings.ts): what is held here stays so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hearth.errors import HearthError

from .network import Network

PREFIX = "ZIGBEE2MQTT_CONFIG_"
SERIAL = "/dev/serial/by-id/"
# Its schema has no names below these: they are given whole.
WHOLE = (("device_options",), ("advanced", "log_namespaced_levels"))
# What it keeps itself, what the secrets hold, and what other roles and the unit rely on.
NOT_TUNED = (
    "version",
    "devices",
    "groups",
    "mqtt.base_topic",
    "mqtt.server",
    "mqtt.ca",
    "mqtt.reject_unauthorized",
    "mqtt.user",
    "mqtt.password",
    "serial.port",
    "frontend.enabled",
    "frontend.host",
    "frontend.port",
    "frontend.auth_token",
    "frontend.base_url",
    "homeassistant.discovery_topic",
    "homeassistant.status_topic",
    "advanced.network_key",
    "advanced.pan_id",
    "advanced.ext_pan_id",
)
ACTION = "configure Zigbee2MQTT"
HERE = "group_data/zigbee2mqtt.py"


@dataclass(frozen=True)
class Adapter:
    """The Zigbee radio.

    Args:
        port: `tcp://HOST:PORT`, or the device's path.
        kind: what speaks to it, e.g. "zstack"; None: Zigbee2MQTT finds out.
    """

    port: str
    kind: str | None

    @property
    def device(self) -> str | None:
        """The device's path; None where it is in the network."""
        return self.port if self.port.startswith("/") else None


def adapter(chosen: object, kind: object, devices: Sequence[str]) -> Adapter:
    """The radio of a guest.

    Args:
        chosen: `zigbee2mqtt_adapter`; None: the guest's one serial device.
        kind: `zigbee2mqtt_adapter_type`.
        devices: what the fleet file gives the guest of the node's devices.

    Raises:
        HearthError: there is none, it could be several, the guest has not got it, or its kind must be said.
    """
    serial = [path for path in devices if path.startswith(SERIAL)]
    if chosen is None and len(serial) != 1:
        had = f"the guest has {len(serial)} serial devices" if serial else "the guest has no serial device"
        remedy = f"set it in {HERE}, or give the guest one device {SERIAL}... in the fleet file"
        raise HearthError(ACTION, f"zigbee2mqtt_adapter is not set, and {had}", remedy)
    port = serial[0] if chosen is None else str(chosen)
    if port.startswith("tcp://"):
        _check_address(port, kind)
    elif port not in devices:
        remedy = f"write tcp://HOST:PORT, or a path of the guest's `devices` ({SERIAL}...)"
        raise HearthError(ACTION, f"the guest has no device {port}", remedy)
    return Adapter(port, None if kind is None else str(kind))


def _check_address(port: str, kind: object) -> None:
    name, _, number = port.removeprefix("tcp://").rpartition(":")
    if not name or not number.isdecimal() or any(character.isspace() for character in name):
        raise HearthError(ACTION, f"{port!r} is no address of an adapter", "write tcp://HOST:PORT")
    if kind is None:
        raise HearthError(
            ACTION,
            "the kind of an adapter in the network cannot be found out",
            f"set zigbee2mqtt_adapter_type in {HERE}",
        )


def merged(ours: Mapping[str, Any], tuned: object) -> dict[str, Any]:
    """The role's settings with those of the admin, who wins where the role does not depend on them.

    Args:
        ours: section -> settings, as in configuration.yaml.
        tuned: `zigbee2mqtt_settings`.

    Raises:
        HearthError: a setting that is not for the admin to set here, or no mapping.
    """
    if not isinstance(tuned, Mapping):
        raise HearthError(ACTION, "zigbee2mqtt_settings is no mapping", f"mend {HERE}")
    for path, _ in leaves(tuned):
        name = ".".join(path)
        if any(name == no or name.startswith(f"{no}.") for no in NOT_TUNED):
            raise HearthError(
                ACTION, f"zigbee2mqtt_settings has {name}, which Hearth or Zigbee2MQTT keeps", "take it out"
            )
    return _over(ours, tuned)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _over(below[key], value)
        for key, value in above.items()
        if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
    }
    return {**below, **above, **both}


def with_network(settings: Mapping[str, Any], network: Network) -> dict[str, Any]:
    """The settings with those that the network has of its own; the key stands in secret.yaml."""
    ours = {
        "network_key": "!secret network_key",
        "pan_id": network.pan_id,
        "ext_pan_id": list(network.ext_pan_id),
    }
    return _over(settings, {"advanced": ours})


def secret_file(mqtt_password: str, auth_token: str, network_key: Sequence[int]) -> str:
    """Zigbee2MQTT's secret.yaml: what its settings refer to by `!secret`."""
    found = {"mqtt_password": mqtt_password, "auth_token": auth_token, "network_key": list(network_key)}
    # JSON is YAML, and there are no two ways to quote in it.
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in found.items())


def leaves(settings: Mapping[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting with its path, as the schema has them."""
    for key, value in settings.items():
        path = (*at, str(key))
        if isinstance(value, Mapping) and path not in WHOLE:
            yield from leaves(value, path)
        else:
            yield path, value


def environment(settings: Mapping[str, Any]) -> str:
    """The settings as systemd's EnvironmentFile, systemd.exec(5).

    Raises:
        HearthError: a value that no environment variable can carry to Zigbee2MQTT.
    """
    lines = [f"{PREFIX}{'_'.join(path).upper()}={_quoted(path, value)}" for path, value in leaves(settings)]
    return "# Written by Hearth: what Zigbee2MQTT merges into its configuration.yaml.\n" + "".join(
        f"{line}\n" for line in lines
    )


def _quoted(path: tuple[str, ...], value: object) -> str:
    if isinstance(value, bool | list | tuple | Mapping):
        text = json.dumps(value)
    elif isinstance(value, str | int | float):
        text = str(value)
    else:
        text = ""
    if not text or not text.isprintable():
        raise HearthError(
            ACTION, f"{'.'.join(path)} is {value!r}", "Zigbee2MQTT takes no such value: leave it out"
        )
    for character in '\\"$`':
        text = text.replace(character, f"\\{character}")
    return f'"{text}"'
