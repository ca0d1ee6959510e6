"""When each secret is to be replaced, as moments: what monitoring is told (nothing of a value)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from hearth.secrets.policy import CA_DAYS, check_policy, days_of, due, is_part, kind_of
from hearth.secrets.store import SecretStore

AUTHORITY = "ca/cert"


@dataclass(frozen=True)
class Ending:
    """A secret with an end.

    Args:
        secret: its name.
        kind: e.g. "MQTT password".
        on: when it is to be replaced, UTC.
    """

    secret: str
    kind: str
    on: datetime


def endings(store: SecretStore, policy: Mapping[str, Any], now: datetime) -> tuple[Ending, ...]:
    """Every secret of the file that is to be replaced some day, by name.

    Guests' certificates are not among them: whoever asks the guest sees how long they hold.

    Args:
        store: the secrets.
        policy: `secrets_due` of group_data.
        now: the time, UTC; it decides nothing but ages.

    Raises:
        HearthError: the policy is none, or the secrets cannot be read.
    """
    days = check_policy(policy)
    found = []
    for name in store.names():
        if is_part(name) or store.overridden(name):
            continue
        on = _authority(store) if name == AUTHORITY else due(store.created(name), days_of(name, days), now).on
        if on is not None:
            found.append(Ending(name, kind_of(name).name, on))
    return tuple(found)


def _authority(store: SecretStore) -> datetime:
    text = store.get(AUTHORITY).reveal().encode()
    return x509.load_pem_x509_certificate(text).not_valid_after_utc - timedelta(days=CA_DAYS)
