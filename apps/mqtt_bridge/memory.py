"""What both brokers retained when they last agreed, and for a while what they retained before that.

A broker that was killed comes back as it was at its last autosave. What it has then is no news: it is known
from before. Without that memory an old state could not be told from a new one, for MQTT keeps no times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

REMEMBERED = 3600.0  # seconds; longer than any autosave interval that makes sense
GONE = -1  # what a broker has not is older than anything that it could have
NEW = 1 << 30  # what nobody has seen is newer than anything known
HEARD = NEW + 1  # what was said while the other broker was away is newer than what that one brings along

NOTHING: Mapping[str, str] = {}
Digest = str | None  # None: nothing is retained


def digest(payload: bytes | None) -> Digest:
    """A short name for a payload; None for none, which is what an empty one means (MQTT 5.0, 3.3.1.3)."""
    return hashlib.sha256(payload).hexdigest()[:24] if payload else None


@dataclass
class Entry:
    """One topic.

    Args:
        now: what both retain.
        was: what it was before, oldest first, each with the time at which it was replaced.
    """

    now: Digest = None
    was: list[tuple[float, Digest]] = field(default_factory=list)


class Memory:
    """Every topic's entry, the last mark that each broker has confirmed, and how things stood in the end."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.marks: dict[str, int] = {}
        self.together = False
        self.standby_began = 0.0  # seconds since 1970, at most UPDATES late; 0: not known

    def agreed(self, topic: str) -> Digest:
        """What both retained."""
        return self.entries[topic].now if topic in self.entries else None

    def note(self, topic: str, found: Digest, at: float) -> bool:
        """Both retain this now; True where that is new."""
        entry = self.entries.setdefault(topic, Entry())
        if entry.now == found:
            return False
        entry.was = [old for old in entry.was if old[0] > at - REMEMBERED]
        entry.was.append((at, entry.now))
        entry.now = found
        return True

    def outdated(self, topic: str, found: Digest, at: float) -> None:
        """One of them retained this and is told something newer: it is known, should it come back so."""
        entry = self.entries.setdefault(topic, Entry())
        if found is not None and found != entry.now:
            entry.was.append((at, found))

    def rank(
        self, topic: str, found: Digest, reverted: bool, heard: bool = False, stopped: bool = False
    ) -> int:
        """How new a broker's message is: the greater the newer.

        Args:
            topic: the topic.
            found: what the broker retains.
            reverted: the broker came back as it was some time ago.
            heard: it was said there while the other broker was away.
            stopped: the broker had passed on all its news before it was stopped.
        """
        if heard and not reverted:
            return HEARD
        entry = self.entries.get(topic, Entry())
        if found == entry.now:
            return len(entry.was)
        if stopped:
            return GONE
        if not reverted:
            return NEW
        if found is None:
            return GONE
        known = [old for _, old in entry.was]
        return len(known) - 1 - known[::-1].index(found) if found in known else NEW

    def forget(self, now: float) -> None:
        """Drop topics that nobody retains and nobody could bring back."""
        for topic, entry in list(self.entries.items()):
            entry.was = [old for old in entry.was if old[0] > now - REMEMBERED]
            if entry.now is None and not entry.was:
                del self.entries[topic]

    def text(self) -> str:
        """All of it, for a file."""
        entries = {topic: [entry.now, entry.was] for topic, entry in self.entries.items()}
        stood = {"together": self.together, "standby_began": self.standby_began}
        return json.dumps({"marks": self.marks, **stood, "entries": entries})

    @classmethod
    def of_text(cls, text: str) -> Memory:
        """What `text` gave. Raises ValueError, TypeError or KeyError where it is something else."""
        memory = cls()
        found = json.loads(text)
        memory.marks = {str(side): int(mark) for side, mark in found["marks"].items()}
        memory.together = bool(found.get("together"))
        memory.standby_began = float(found.get("standby_began", 0))
        for topic, (now, was) in found["entries"].items():
            memory.entries[topic] = Entry(now, [(float(at), old) for at, old in was])
        return memory


def load(path: Path) -> Memory:
    """The memory of a file; an empty one where there is none, or one that was cut short."""
    try:
        return Memory.of_text(path.read_text())
    except (OSError, ValueError, TypeError, KeyError):
        return Memory()


def save(memory: Memory, path: Path) -> None:
    """Write the file whole or not at all. Raises OSError."""
    new = path.with_suffix(".new")
    new.write_text(memory.text())
    new.replace(path)


def decide(
    memory: Memory,
    primary: Mapping[str, bytes],
    standby: Mapping[str, bytes],
    primary_reverted: bool = False,
    standby_reverted: bool = False,
    *,
    heard: Mapping[str, str] = NOTHING,
    standby_stopped: bool = False,
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What each broker must be told so that both retain the newest.

    Who was told something while the other was away wins: what that one brings along is from before, like the
    will of a client that has long been at the other. Then who has what nobody has seen before; where both
    have, the primary. Empty payloads delete.

    Args:
        memory: what they last agreed on.
        primary: topic -> retained payload.
        standby: the same.
        primary_reverted: it came back as it was some time ago.
        standby_reverted: the same.
        heard: topic -> the side at which it was said while the other was away.
        standby_stopped: both were together until it was stopped, with us: what it has besides is from its
            clients' wills.

    Returns:
        For the primary and for the standby: topic -> payload.
    """
    for_primary: dict[str, bytes] = {}
    for_standby: dict[str, bytes] = {}
    for topic in sorted({*memory.entries, *primary, *standby}):
        here, there = primary.get(topic, b""), standby.get(topic, b"")
        if here == there:
            continue
        at = heard.get(topic)
        newer = memory.rank(topic, digest(here), primary_reverted, at == "primary")
        if newer >= memory.rank(topic, digest(there), standby_reverted, at == "standby", standby_stopped):
            for_standby[topic] = here
        else:
            for_primary[topic] = there
    return for_primary, for_standby
