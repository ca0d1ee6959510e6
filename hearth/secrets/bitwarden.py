"""Secrets that live in Bitwarden or Vaultwarden, fetched by their `bw` CLI.

The secrets file then holds `bw://ITEM` (the item's password) or `bw://ITEM#notes` (also `username`, `totp`)
in place of the value. `bw` is unlocked beforehand: `export BW_SESSION=$(bw unlock --raw)`
(https://bitwarden.com/help/cli/).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from hearth.errors import HearthError
from hearth.secrets.value import Secret

SCHEME = "bw://"
PARTS = ("password", "username", "notes", "totp")
TIMEOUT = 60.0  # seconds; bw is slow to start, and may synchronise


def is_reference(value: Secret) -> bool:
    """True when the value only says where the secret is."""
    return value.reveal().startswith(SCHEME)


def check_reference(text: str) -> str:
    """Return a reference if it is one.

    Raises:
        HearthError: it names no item, or a part that `bw get` does not have.
    """
    item, _, part = text.removeprefix(SCHEME).partition("#")
    if not text.startswith(SCHEME) or not item or item.startswith("-") or (part or PARTS[0]) not in PARTS:
        raise HearthError(
            f"use {text!r} as a reference", "it names nothing in Bitwarden", "bw://ITEM or bw://ITEM#notes"
        )
    return text


def fetch(name: str, reference: Secret, environ: Mapping[str, str]) -> Secret:
    """Ask `bw` for what a reference points to.

    Args:
        name: the secret's name, for messages.
        reference: `bw://ITEM` or `bw://ITEM#PART`.
        environ: BW_SESSION and PATH come from here.

    Raises:
        HearthError: bw is not there, is locked, or finds nothing.
    """
    item, _, part = check_reference(reference.reveal()).removeprefix(SCHEME).partition("#")
    action = f"fetch the secret {name} from Bitwarden"
    argv = ["bw", "--nointeraction", "get", part or PARTS[0], item]
    try:
        done = subprocess.run(
            argv,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise HearthError(action, "there is no command bw", "npm install -g @bitwarden/cli") from None
    except subprocess.TimeoutExpired:
        raise HearthError(action, f"bw did not answer in {TIMEOUT:.0f} s", "bw status") from None
    value = done.stdout.decode(errors="replace").removesuffix("\n")
    if done.returncode != 0 or not value:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise HearthError(
            action, told[0] if told else f"it has no item {item}", "export BW_SESSION=$(bw unlock --raw)"
        )
    return Secret(value)
