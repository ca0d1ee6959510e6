"""The remote repository, from group_data and the secrets: for the guest that copies to it, and restores."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from hearth.errors import HearthError
from hearth.secrets import Secret

ACTION = "use the remote repository"
IN_TEXT = re.compile(r"\{([a-z0-9][a-z0-9_./-]*)\}")
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
KEY, KNOWN_HOSTS, RCLONE = "sftp-key", "sftp-known-hosts", "rclone.conf"
VALUES = ("repository", "environment", "secrets", "sftp", "rclone", "limit_upload", "limit_download")
Get = Callable[[str], Secret]


@dataclass(frozen=True)
class Remote:
    """A repository elsewhere.

    Args:
        repository: as restic's `--repo` has it; it may hold a password.
        environment: what its backend needs to know.
        options: for restic.
        files: what stands in the folder that it was made for: name -> content.
    """

    repository: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    options: tuple[str, ...]
    files: Mapping[str, str] = field(repr=False)


def remote(values: Mapping[str, Any], get: Get, folder: str) -> Remote | None:
    """The remote repository; None where group_data names none.

    Args:
        values: of group_data/cloud_data_sync.py, without the prefix.
        get: gives a secret.
        folder: where its files will be.

    Raises:
        HearthError: a value means nothing, or a secret is missing.
    """
    where = values["repository"]
    if where is None:
        return None
    if not isinstance(where, str) or not re.match(r"[a-z0-9]+:.+|/.+", where):
        _refuse("repository", where, 'write e.g. "s3:https://s3.example.org/bucket/home", or None')
    repository = IN_TEXT.sub(lambda match: get(match[1]).reveal(), where)
    environment = _environment(values, get)
    options, files = _limits(values), {}
    if repository.startswith("sftp:"):
        options += _sftp(repository, values["sftp"], folder)
        files = _sftp_files(values["sftp"], get)
    if values["rclone"] is not None:
        files[RCLONE] = get(values["rclone"]).reveal()
        environment["RCLONE_CONFIG"] = f"{folder}/{RCLONE}"
    return Remote(repository, environment, tuple(options), files)


def _environment(values: Mapping[str, Any], get: Get) -> dict[str, str]:
    found = dict(values["environment"]) | {
        name: get(secret).reveal() for name, secret in values["secrets"].items()
    }
    for name, value in found.items():
        if not VARIABLE.fullmatch(str(name)) or str(name).startswith("RESTIC_"):
            _refuse("environment", name, "write names of a backend's variables, e.g. AWS_ACCESS_KEY_ID")
        if not isinstance(value, str):
            _refuse("environment", value, "write texts")
    return found


def _limits(values: Mapping[str, Any]) -> list[str]:
    found = []
    for way in ("upload", "download"):
        limit = values[f"limit_{way}"]
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            _refuse(f"limit_{way}", limit, "write KiB a second, or 0 for as fast as it goes")
        if limit:
            found.append(f"--limit-{way}={limit}")
    return found


def _sftp(repository: str, settings: Mapping[str, Any], folder: str) -> list[str]:
    """How ssh is called: with the key and the host's key that are given, and no others."""
    host, port = _sftp_host(repository)
    command = [
        *("ssh", "-F", "/dev/null", "-o", f"IdentityFile={folder}/{KEY}", "-o", "IdentitiesOnly=yes"),
        *("-o", f"UserKnownHostsFile={folder}/{KNOWN_HOSTS}", "-o", "StrictHostKeyChecking=yes"),
        *("-o", "BatchMode=yes", "-o", "ServerAliveInterval=60"),
        *(["-p", str(port)] if port else []),
        *(host, "-s", "sftp"),
    ]
    return ["-o", f"sftp.command={shlex.join(command)}"]


def _sftp_host(repository: str) -> tuple[str, int | None]:
    """`sftp:user@host:/path` and `sftp://user@host:port//path`, restic's documentation, "SFTP"."""
    if repository.startswith("sftp://"):
        parts = urlsplit(repository)
        return parts.netloc.rpartition(":")[0] if parts.port else parts.netloc, parts.port
    return repository.removeprefix("sftp:").partition(":")[0], None


def _sftp_files(settings: Mapping[str, Any], get: Get) -> dict[str, str]:
    key, known = settings.get("key"), settings.get("known_hosts")
    if not key or not known:
        _refuse("sftp", dict(settings), 'write {"key": "SECRET", "known_hosts": "HOST ssh-ed25519 AAAA..."}')
    return {KEY: get(str(key)).reveal().rstrip("\n") + "\n", KNOWN_HOSTS: str(known).rstrip("\n") + "\n"}


def _refuse(name: str, value: Any, remedy: str) -> None:
    raise HearthError(ACTION, f"cloud_data_sync_{name} is {value!r}", remedy)
