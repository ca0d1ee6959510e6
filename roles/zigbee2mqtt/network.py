"""The Zigbee network's identity: made once, kept in the secrets, taken over from a home that has one.

Whoever starts Zigbee2MQTT with another key, PAN ID or extended PAN ID forms a new network, and every device
has to be paired again. What each is: https://www.zigbee2mqtt.io/guide/configuration/zigbee-network.html
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pyinfra.api.command import FunctionCommand
from pyinfra.api.operation import operation
from pyinfra.context import host as this_host

from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.secrets import SecretStore

KEY, PAN_ID, EXT_PAN_ID = NAMES = (
    "zigbee2mqtt/network-key",
    "zigbee2mqtt/pan-id",
    "zigbee2mqtt/ext-pan-id",
)
KEY_BYTES, EXT_BYTES = 16, 8
BYTE = range(256)
LARGEST_PAN_ID = 0xFFFE  # 0xFFFF is "any", lib/util/settings.schema.json
# What a configuration without them means, `defaults` in lib/util/settings.ts.
DEFAULT_KEY = (1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13)
DEFAULT_PAN_ID = 0x1A62
DEFAULT_EXT_PAN_ID = (0xDD,) * EXT_BYTES
GENERATE = "GENERATE"  # Zigbee2MQTT is to make one at its first start


@dataclass(frozen=True)
class Network:
    """What tells one Zigbee network from another.

    Args:
        key: 16 bytes.
        pan_id: 1 to 65534.
        ext_pan_id: 8 bytes.

    Raises:
        ValueError: a part is none.
    """

    key: tuple[int, ...]
    pan_id: int
    ext_pan_id: tuple[int, ...]

    def __post_init__(self) -> None:
        if not _bytes(self.key, KEY_BYTES) or not _bytes(self.ext_pan_id, EXT_BYTES):
            raise ValueError("key or extended PAN ID is no list of 16 or 8 bytes")
        if not isinstance(self.pan_id, int) or not 0 < self.pan_id <= LARGEST_PAN_ID:
            raise ValueError("the PAN ID is no number from 1 to 65534")

    def __repr__(self) -> str:
        return f"Network(pan_id={self.pan_id})"  # the key shows nowhere


def generated() -> Network:
    """A network of its own."""
    return Network(
        tuple(secrets.token_bytes(KEY_BYTES)),
        secrets.randbelow(LARGEST_PAN_ID) + 1,
        tuple(secrets.token_bytes(EXT_BYTES)),
    )


def from_secrets(store: SecretStore) -> Network:
    """The network that the secrets hold.

    Raises:
        MissingSecretError: they do not hold all of it.
        HearthError: what they hold is damaged.
    """
    texts = [store.get(name).reveal() for name in NAMES]
    try:
        key, pan_id, ext_pan_id = map(json.loads, texts)
        return Network(tuple(key), pan_id, tuple(ext_pan_id))
    except (ValueError, TypeError):
        raise HearthError(
            f"read the Zigbee network in the secrets {', '.join(NAMES)}",
            "they are not 16 bytes as a JSON list, a number, and 8 bytes as a JSON list",
            "set them as the home's configuration.yaml has them (hearth secrets set)",
        ) from None


def in_secrets(store: SecretStore) -> bool:
    """Whether the secrets hold a network; a part of one counts too."""
    return any(store.find(name) is not None for name in NAMES)


def to_secrets(store: SecretStore, network: Network) -> None:
    """Put the network into the secrets; they are not saved yet."""
    store.put(KEY, json.dumps(network.key))
    store.put(PAN_ID, json.dumps(network.pan_id))
    store.put(EXT_PAN_ID, json.dumps(network.ext_pan_id))


def found_in(files: Mapping[str, str]) -> Network | None:
    """The network that a data folder of Zigbee2MQTT belongs to; None where it never had one.

    Args:
        files: name -> content of the folder's files; of database.db and coordinator_backup.json the name is
            enough.

    Raises:
        HearthError: there is one, and it cannot be read.
    """
    if "configuration.yaml" not in files:
        return None
    formed = "database.db" in files or "coordinator_backup.json" in files
    try:
        advanced = _advanced(files)
        told_of: list[Any] = [advanced.get(name) for name in ("network_key", "pan_id", "ext_pan_id")]
        if not formed and all(value in (None, GENERATE) for value in told_of):
            return None
        fallback: tuple[Any, ...] = (DEFAULT_KEY, DEFAULT_PAN_ID, DEFAULT_EXT_PAN_ID)
        key, pan_id, ext_pan_id = (
            default if value is None else value for value, default in zip(told_of, fallback, strict=True)
        )
        return Network(tuple(key), pan_id, tuple(ext_pan_id))
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError):
        raise HearthError(
            "take over the Zigbee network of this guest",
            "its configuration.yaml cannot be read, or has no whole network key, PAN ID and extended PAN ID",
            f"mend it, or set the secrets {', '.join(NAMES)} by hand",
        ) from None


@operation()
def kept(store: SecretStore, folder: str) -> Generator[FunctionCommand, None, None]:
    """
    A Zigbee network that the secrets hold: the guest's own, or a new one where it never had any.

    + store: the secrets
    + folder: Zigbee2MQTT's data folder

    **Example:**

    .. code:: python

        network.kept(name="Keep the Zigbee network", store=here.secrets, folder="/var/lib/zigbee2mqtt")
    """
    if in_secrets(store):
        this_host.noop("the secrets hold the Zigbee network")
        return
    yield FunctionCommand(_keep, (store, folder), {})


@told
def _keep(state: Any, host: Any, store: SecretStore, folder: str) -> None:
    found = found_in(_files(host, folder))
    to_secrets(store, found or generated())
    store.save()
    host.log(
        "took the guest's Zigbee network over into the secrets" if found else "made a new Zigbee network"
    )


def _files(host: Any, folder: str) -> dict[str, str]:
    """The folder's files, past pyinfra's log: among them is the key."""
    script = (
        f"cd {folder} 2>/dev/null || exit 0; for f in *.yaml *.yml; do "
        'if [ -f "$f" ]; then echo "$f $(base64 -w0 <"$f")"; fi; done; '
        'for f in database.db coordinator_backup.json; do if [ -f "$f" ]; then echo "$f "; fi; done'
    )
    ended_well, output = host.run_shell_command(script, print_output=False, print_input=False)
    if not ended_well:
        raise HearthError(f"read {folder} on {host.name}", output.stderr.strip() or "the command failed")
    lines = (line.partition(" ") for line in output.stdout_lines)
    return {name: base64.b64decode(content).decode() for name, _, content in lines}


def _advanced(files: Mapping[str, str]) -> dict[str, Any]:
    """The section `advanced`, its key looked up where it stands in another file (`!secret network_key`)."""
    advanced = dict((yaml.safe_load(files["configuration.yaml"]) or {}).get("advanced") or {})
    key = advanced.get("network_key")
    if isinstance(key, str) and key.startswith("!"):
        name, _, entry = key[1:].partition(" ")
        name = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
        advanced["network_key"] = yaml.safe_load(files[name])[entry]
    return advanced


def _bytes(values: Sequence[int], count: int) -> bool:
    return len(values) == count and all(isinstance(value, int) and value in BYTE for value in values)
