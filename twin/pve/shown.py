"""What a guest's config looks like from outside: current, pending, and its digest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fakepve.routing import die

HIDDEN = "**********"


def digest_of(guest: Any) -> str:
    """The digest of a guest's whole config file: with what is pending and the snapshots."""
    blob = json.dumps([guest.config, guest.pending, guest.snapshots], sort_keys=True)
    return hashlib.sha1(blob.encode()).hexdigest()


def pending_rows(guest: Any) -> list[dict[str, Any]]:
    """`GET .../pending`: one row a key, and one for the digest (recordings 23, 285)."""
    rows = [{"key": "digest", "value": digest_of(guest)}]
    for key in sorted({*guest.config, *guest.pending}):
        row = {"key": key}
        if key in guest.config:
            row["value"] = guest.config[key]
        if key in guest.pending and guest.pending[key] is None:
            row["delete"] = 1
        elif key in guest.pending:
            row["pending"] = guest.pending[key]
        if key == "cipassword":
            row.update({part: HIDDEN for part in ("value", "pending") if part in row})
        rows.append(row)
    return rows


def shown_config(guest: Any, values: dict[str, Any]) -> dict[str, Any]:
    """`GET .../config`: with pending changes unless `current` is set (recordings 686, 687)."""
    if values.get("snapshot"):
        snapshot = guest.snapshots.get(values["snapshot"])
        if snapshot is None:
            raise die(f"snapshot '{values['snapshot']}' does not exist")
        config = dict(snapshot)
    else:
        config = dict(guest.config)
        if not values.get("current"):
            config.update(guest.pending)
            config = {key: value for key, value in config.items() if value is not None}
    if "cipassword" in config:
        config["cipassword"] = HIDDEN
    return {**config, "digest": digest_of(guest)}
