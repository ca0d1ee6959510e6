"""The tailnet's policy: inventory/policy.hujson is the admin's, and never overwrites what others wrote.

What was applied last, and under which tag the server keeps it, is remembered. The tag is the server's word,
not our hash: headscale's v2 API, as of July 2026, blanks the comments of what it is given.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import json5

from hearth.durable import write_durably
from hearth.errors import HearthError
from hearth.tailnet.errors import CHANGED, NotServedError, PolicyChangedError
from hearth.tailnet.model import Api, Policy

FILE: Final = "inventory/policy.hujson"
MEMORY: Final = "tailnet-policy.json"  # in the state folder
UNTOUCHED: Final = '"ts-default"'  # the tag of a policy that nobody ever set (tailscale.com/api, policy file)
#: What servers have before anybody sets one: headscale before 0.30 has none, later ones this rule.
ALL_TO_ALL: Final = {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
SHOWN: Final = 12  # characters of a tag that tell policies apart


class State(Enum):
    """How the file and the policy there stand to each other."""

    SAME = "the policy there is the file's"
    SAME_RULES = "the policy there has the file's rules; its comments or layout are others"
    FILE_NEWER = "the file was changed since it was applied"
    UNTOUCHED = "nobody has set a policy yet"
    ELSEWHERE = "the policy there was changed elsewhere since it was applied"
    UNKNOWN = "the policy there is not one that was applied from here"


WELL: Final = (State.SAME, State.SAME_RULES)
OVERWRITES: Final = (State.ELSEWHERE, State.UNKNOWN)
APPLIED: Final = (State.FILE_NEWER, State.UNTOUCHED)  # by a deploy, unasked


@dataclass(frozen=True)
class Applied:
    """What was applied last from here.

    Args:
        sent: SHA-256 of the file, in hex.
        etag: under which tag the server keeps it.
    """

    sent: str
    etag: str


def digest(text: str) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def seen(etag: str) -> str:
    """The short form of a tag, for an admin to type."""
    return etag.removeprefix("W/").strip('"')[:SHOWN]


def compare(text: str, there: Policy, applied: Applied | None) -> State:
    """How the file stands to the policy there.

    Args:
        text: the file.
        there: the policy of the server.
        applied: what was applied last from here.
    """
    untouched = applied is not None and applied.etag == there.etag
    if text == there.text or (untouched and applied and applied.sent == digest(text)):
        return State.SAME
    if untouched:
        return State.FILE_NEWER
    rules = rules_of(there.text)
    if rules is not None and rules == rules_of(text):
        return State.SAME_RULES
    if applied is not None:
        return State.ELSEWHERE
    virgin = there.etag == UNTOUCHED or not there.text.strip() or rules == ALL_TO_ALL
    return State.UNTOUCHED if virgin else State.UNKNOWN


def rules_of(text: str) -> Any:
    """What a policy says without its comments and layout; None where it is no HuJSON."""
    try:
        return json5.loads(text)
    except ValueError:
        return None


def load(file: Path) -> str:
    """The policy file.

    Raises:
        HearthError: it is missing, or no HuJSON.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HearthError(
            f"read {file}", "there is no such file", "docs/tailnet.md shows a first one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise HearthError(f"read {file}", str(error)) from None
    try:
        json5.loads(text)
    except ValueError as error:
        raise HearthError(f"read {file}", str(error).replace("<string>:", "line "), "mend the file") from None
    return text


class Memory:
    """What was applied last, in a file of the state folder, for each server and tailnet.

    Args:
        file: may be absent.
        place: the server's URL and the tailnet's name.
    """

    def __init__(self, file: Path, place: str) -> None:
        self._file = file
        self._place = place

    def applied(self) -> Applied | None:
        """What is remembered; None where nothing is, or the file is damaged: then nothing is overwritten."""
        entry = self._entries().get(self._place)
        return Applied(**entry) if entry else None

    def remember(self, text: str, etag: str) -> None:
        """This text was applied, and the server keeps it under this tag."""
        entries = {**self._entries(), self._place: asdict(Applied(digest(text), etag))}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self._file, json.dumps(entries, indent=1).encode())

    def _entries(self) -> dict[str, dict[str, str]]:
        try:
            found = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        good = {"sent", "etag"}
        return {place: entry for place, entry in found.items() if set(entry) == good}


def validated(api: Api, text: str) -> bool:
    """Have the server judge the policy and run its tests.

    Returns:
        False where it only does so when the policy is applied.

    Raises:
        PolicyRefusedError: it is not valid, or one of its tests fails.
    """
    try:
        api.validate(text)
    except NotServedError:
        return False
    return True


def apply(api: Api, text: str, memory: Memory, over: str = "") -> State:
    """Make the policy there the file's.

    Args:
        api: the coordination server.
        text: the file.
        memory: what was applied last.
        over: the short tag of the policy that may be overwritten although it is not ours: the admin saw it.

    Returns:
        How it stood before.

    Raises:
        PolicyChangedError: it was changed elsewhere; nothing was overwritten.
        PolicyRefusedError: it is not valid, or one of its tests fails.
    """
    there = api.policy()
    state = compare(text, there, memory.applied())
    if state in OVERWRITES and over != seen(there.etag):
        raise _refused(state, there)
    if state in WELL:
        memory.remember(text, there.etag)
        return state
    validated(api, text)
    memory.remember(text, api.set_policy(text, there.etag).etag)
    return state


def _refused(state: State, there: Policy) -> PolicyChangedError:
    remedy = (
        "`hearth tailnet policy --show` prints it: bring what is wanted of it into the file, then "
        f"`hearth tailnet policy --apply --over {seen(there.etag)}`"
    )
    return PolicyChangedError("apply the policy", state.value, remedy, CHANGED)
