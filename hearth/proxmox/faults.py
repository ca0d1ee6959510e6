"""What can go wrong between a run and Proxmox, in words that the admin can act on.

The reason phrase of the HTTP answer carries Proxmox's message; statuses 595 to 599 are its proxy's
(PVE::APIServer::AnyEvent, https://metacpan.org/pod/AnyEvent::HTTP).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import requests
from proxmoxer.core import ResourceException  # type: ignore[import-untyped]
from urllib3.exceptions import NewConnectionError

from hearth.errors import HearthError

PROXY = "is PROXMOX_VE_ENDPOINT the node itself, port 8006?"
_LOCK = re.compile(
    r"can't lock file .*got timeout|got lock request timeout|^(?:CT|VM) is locked \(|is locked \("
)
_REMEDIES = (
    (re.compile(r"no quorum"), "the cluster has lost its quorum: see `pvecm status`"),
    (
        re.compile(r"only allowed for root@pam|Only root"),
        "this goes through the node's SSH wrapper",
    ),
    (
        re.compile(r"Permission check failed"),
        "the token lacks a right: `hearth doctor` says what to type",
    ),
    (
        re.compile(r"is locked \((\w+)\)"),
        "wait until that is over; if it is dead: `pct unlock`, `qm unlock`",
    ),
    (_LOCK, "another task holds the lock: wait for it and run again"),
    (
        re.compile(r"No space left|not enough (?:free )?space", re.I),
        "free some space on that storage and run again",
    ),
    (
        re.compile(r"already exists on node"),
        "it is on a node that the fleet file lacks, or the token may not see it: `hearth doctor`",
    ),
    (re.compile(r"modified configuration|checksum mismatch"), "somebody else changed it just now: run again"),
)
UNAUTHORIZED = 401
_CONNECTING, _ANSWERING = 595, (596, 597, 598, 502, 503, 504)


class ApiError(HearthError):
    """Proxmox refused a request.

    Args:
        status: the HTTP status; None where there was no answer.
        errors: what is wrong with each parameter.
    """

    def __init__(
        self,
        action: str,
        reason: str,
        remedy: str = "",
        status: int | None = None,
        errors: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.errors = errors or {}
        super().__init__(action, reason, remedy)


class UnsentError(ApiError):
    """The request surely had no effect; it may be sent again."""


class UnreachableError(UnsentError):
    """The endpoint cannot be reached. `passing`: it may be a matter of a second."""

    passing = True


class LostAnswerError(ApiError):
    """The request may or may not have had its effect: read back before it is sent again."""


class TaskError(HearthError):
    """A task of Proxmox's failed. `exitstatus` is its message; `log` the last lines of its log."""

    def __init__(self, action: str, exitstatus: str, remedy: str = "", log: Sequence[str] = ()) -> None:
        self.exitstatus = exitstatus
        self.log = tuple(log)
        told = [line for line in self.log if exitstatus not in line]
        super().__init__(action, "; ".join([exitstatus.strip(), *told]), remedy or remedy_for(exitstatus))


def is_lock(message: str) -> bool:
    """True where a message says only that something is locked for now."""
    return bool(_LOCK.search(message))


def remedy_for(message: str) -> str:
    """What to do about a message of Proxmox's; empty where nothing is known."""
    return next((remedy for pattern, remedy in _REMEDIES if pattern.search(message)), "")


def node_of(upid: str) -> str:
    """The node of a task: UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER:."""
    return upid.split(":")[1]


def from_status(endpoint: str, method: str, path: str, error: ResourceException) -> ApiError:
    """The error for an answer with a status of 400 or more."""
    action, status = f"{method} {path}", int(error.status_code)
    reason = str(error.content or error.status_message or f"HTTP {status}").strip()
    if status == UNAUTHORIZED:
        remedy = "check PROXMOX_VE_API_TOKEN (user@realm!id=uuid): `hearth doctor`"
        return ApiError(f"log in at {endpoint}", reason, remedy, status)
    if status == _CONNECTING:
        return UnsentError(
            action, f"the node did not answer its own cluster: {reason}", "is the node up?", status
        )
    if status in _ANSWERING:
        return LostAnswerError(action, f"no answer came back ({status} {reason})", "run again", status)
    fields = error.errors if isinstance(error.errors, dict) else {}
    errors = {str(key): str(text).strip() for key, text in fields.items() if not isinstance(text, bytes)}
    if errors:
        reason = f"{reason.rstrip('.')}: " + "; ".join(
            f"{key}: {text}" for key, text in sorted(errors.items())
        )
    return ApiError(action, reason, remedy_for(reason), status, errors)


def from_transport(endpoint: str, method: str, path: str, error: Exception) -> ApiError:
    """The error for a request without an answer."""
    if isinstance(error, requests.exceptions.SSLError):
        remedy = "name a copy of /etc/pve/pve-root-ca.pem in PROXMOX_VE_CA_BUNDLE, or set PROXMOX_VE_INSECURE"
        return _final(UnreachableError(f"trust {endpoint}", _cause(error), remedy))
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return _final(
            UnreachableError(f"reach Proxmox at {endpoint}", "it does not answer", "is the node up?")
        )
    if _never_connected(error):
        return UnreachableError(
            f"reach Proxmox at {endpoint}", _cause(error), "is the node up, and pveproxy running?"
        )
    if isinstance(error, requests.exceptions.ReadTimeout):
        return LostAnswerError(
            f"{method} {path}", "no answer came in time", "is the node overloaded? run again"
        )
    return LostAnswerError(f"{method} {path}", f"the connection broke ({_cause(error)})", "run again")


def _never_connected(error: Exception) -> bool:
    """True for a refused connection or an unknown name: the reason of urllib3's MaxRetryError."""
    inner = error.args[0] if isinstance(error, requests.exceptions.ConnectionError) and error.args else None
    return isinstance(getattr(inner, "reason", None), NewConnectionError)


def _final(error: UnreachableError) -> UnreachableError:
    error.passing = False
    return error


def _cause(error: Exception) -> str:
    """The shortest true words in a nest of exceptions."""
    text = str(error)
    found = re.search(r"(?:\[Errno -?\d+\] |certificate verify failed: |SSLError\()([^'\")]+)", text)
    return found.group(1).strip() if found else type(error).__name__
