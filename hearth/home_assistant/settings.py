"""What an admin sets about Home Assistant as a whole: compared first, sent only where it differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

METRIC = {"length": "km"}


def units(found: Mapping[str, Any]) -> str:
    """The name of a unit system, which `get_config` spells out: "metric" or "us_customary"."""
    return "metric" if found.get("length") == METRIC["length"] else "us_customary"


def differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The wanted values that are not found so; nested mappings are compared key by key, lists as sets."""
    return {key: value for key, value in wanted.items() if not _same(value, found.get(key))}


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and not differing(wanted, found)
    if isinstance(wanted, (list, tuple)):
        return isinstance(found, (list, tuple)) and sorted(map(str, wanted)) == sorted(map(str, found))
    if isinstance(wanted, float) and isinstance(found, (int, float)):
        return math.isclose(wanted, found, abs_tol=1e-9)
    return bool(wanted == found)


def core_settings(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What `config/core/update` is to be sent, given what `get_config` says."""
    return differing(wanted, {**found, "unit_system": units(found.get("unit_system", {}))})


def http_settings(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The whole `http` configuration to be sent, given what `http/config` says; None where it is so.

    What is not ours in it stays. `created_at` and errors are the store's own.
    """
    stable = found.get("stable") or found["default"]
    if not differing(wanted, stable) and not found.get("pending"):
        return None
    kept = {
        key: value for key, value in stable.items() if key not in ("created_at", "error", "error_message")
    }
    return {**kept, **wanted}
