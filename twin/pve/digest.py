"""The digest of a guest's config."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest_of(guest: Any) -> str:
    """The digest of a guest's whole config file: with what is pending and the snapshots."""
    blob = json.dumps([guest.config, guest.pending, guest.snapshots], sort_keys=True)
    return hashlib.sha1(blob.encode()).hexdigest()
