"""Secrets: the age-encrypted file that is the root of trust, and what is generated into it."""

from hearth.secrets.generators import (
    MqttUser,
    ensure_ssh_key,
    mosquitto_hash,
    mqtt_logins,
    mqtt_user,
    passphrase,
    password,
    ssh_key,
    ssh_public_key,
)
from hearth.secrets.store import ENVIRONMENT, MissingSecretError, SecretStore
from hearth.secrets.value import Secret

__all__ = [
    "ENVIRONMENT",
    "MissingSecretError",
    "MqttUser",
    "Secret",
    "SecretStore",
    "ensure_ssh_key",
    "mosquitto_hash",
    "mqtt_logins",
    "mqtt_user",
    "passphrase",
    "password",
    "ssh_key",
    "ssh_public_key",
]
