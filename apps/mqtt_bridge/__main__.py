"""`python3 -m mqtt_bridge SETTINGS STATE`: keep a standby broker and the primary alike, for ever.

`python3 -m mqtt_bridge --check SETTINGS` only says whether it could begin.

SETTINGS is JSON: "guest", its name, and "primary" and "standby", each with the keys of link.Place.
STATE is a file for what both brokers last agreed on.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from mqtt_bridge.link import PATIENCE, UPDATES, ApartError, Heard, Link, Place, began_at, bridged, confirmed
from mqtt_bridge.memory import Digest, Memory, decide, digest, load, save

SIDES = ("primary", "standby")
AGAIN = 1.0  # seconds between two tries: clients must not be back at the primary before we are
SAVE = 60.0  # seconds between two writes of the state
MARK = 0.2  # seconds after a change until both brokers get a new mark


class Bridge:
    """The two brokers, while both are there.

    Args:
        settings: see above.
        state: the file for the memory.
    """

    def __init__(self, settings: dict[str, Any], state: Path) -> None:
        self.guest = str(settings["guest"])
        self.places = [Place(side=side, **settings[side]) for side in SIDES]
        self.state = state
        self.memory: Memory = load(state)
        self.inbox: queue.Queue[Heard] = queue.Queue()
        self.links: dict[str, Link] = {}
        self.heard: dict[str, str] = {}  # topic -> where it was said while the other broker was away
        self.unmarked = False
        self.unsure: deque[tuple[Any, str, Digest]] = deque()  # sent, but not confirmed by the broker yet
        self.pending: list[tuple[str, int, Any]] = []  # marks, likewise
        self.told = ""  # why they are apart, as last said

    def serve(self) -> None:
        """Bring both to one state, then pass on what happens. Raises ApartError when one is lost."""
        self.pending = []
        self.unsure.clear()
        self.join()
        try:
            self.agree()
            for link in self.links.values():
                link.say("state", "1")
            self.pass_on()
        except ApartError:
            self.part()
            raise
        finally:
            self.keep()

    def join(self) -> None:
        """Connect to each broker that is not; whoever is there is listened to. Raises ApartError."""
        away = []
        for place in self.places:
            if place.side not in self.links:
                try:
                    self.links[place.side] = Link(place, self.guest, self.inbox).__enter__()
                    self.links[place.side].retained()
                except ApartError as error:
                    away.append(error)
        self.drop(lost=True)
        if away:
            raise away[0]

    def part(self) -> None:
        """Go on with the broker that is left; where neither is lost one is at fault: with none."""
        self.memory.together = False
        if not any(link.lost for link in self.links.values()):
            self.drop()
        self.drop(lost=True)
        for link in self.links.values():
            link.say("state", "0")

    def drop(self, lost: bool = False) -> None:
        """Close the connections; `lost`: only those that are lost."""
        for side, link in list(self.links.items()):
            if link.lost or not lost:
                del self.links[side]
                link.__exit__()

    def listen(self, seconds: float) -> None:
        """Note what is said at one broker while the other is away."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                self.note(self.inbox.get(timeout=left))

    def note(self, heard: Heard) -> None:
        """Remember that something retained was said there last."""
        if heard.message is not None and heard.message.retain and bridged(heard.message.topic):
            self.heard[heard.message.topic] = heard.side

    def catch_up(self) -> None:
        """Note what waits in the inbox. Raises ApartError where it says that a broker is lost."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.note(self.inbox.get_nowait())
        for side, link in self.links.items():
            if link.lost:
                raise ApartError(f"the {side} is gone")

    def agree(self) -> None:
        """Tell each broker what it lacks of the other's retained messages."""
        for link in self.links.values():
            link.gather()
        self.catch_up()
        found = {side: link.retained() for side, link in self.links.items()}
        reverted = [self.reverted(side, found[side]) for side in SIDES]
        primary, standby = (
            {topic: payload for topic, payload in found[side].items() if bridged(topic)} for side in SIDES
        )
        began = began_at(found["standby"])
        stopped = self.stopped_with_us(began)
        told = decide(self.memory, primary, standby, *reverted, heard=self.heard, standby_stopped=stopped)
        missing = dict(zip(SIDES, told, strict=True))
        now = time.time()
        for side, messages in missing.items():
            for topic, payload in messages.items():
                self.memory.outdated(topic, digest(found[side].get(topic)), now)
                self.tell(side, topic, payload, qos=1, retain=True)
        both = {*primary, *standby, *self.memory.entries}
        for topic in both - {*missing["primary"], *missing["standby"]}:
            self.memory.note(topic, digest(primary.get(topic)), now)
        self.settle()
        self.heard.clear()
        self.memory.together, self.memory.standby_began = True, began
        counts = ", ".join(f"{len(messages)} for the {side}" for side, messages in missing.items())
        kept = sum(1 for topic in both if self.memory.agreed(topic))
        say(f"both brokers agree on {kept} retained messages; there were {counts}")
        self.told = ""
        self.mark()

    def stopped_with_us(self, began: float) -> bool:
        """True where the standby was stopped after we were, as with its guest: it had passed on its news.

        Args:
            began: when the standby began; see `began_at`.
        """
        return self.memory.together and 0 < self.memory.standby_began < began - UPDATES - 1

    def settle(self) -> None:
        """Wait until the brokers have what they were told. Raises ApartError when one does not say so."""
        end = time.monotonic() + PATIENCE
        while self.unsure:
            if time.monotonic() > end or any(link.lost for link in self.links.values()):
                raise ApartError("a broker did not take what the other one has")
            time.sleep(0.01)
            self.confirm()

    def reverted(self, side: str, retained: dict[str, bytes]) -> bool:
        """True where a broker lacks the last mark that it confirmed: it was killed, and is as last saved."""
        mark = retained.get(f"{self.links[side].own}mark", b"")
        known = self.memory.marks.get(side, 0)
        old = known > 0 and (int(mark) if mark.isdigit() else 0) < known
        if old:
            say(f"the {side} came back as it was before: what is known from then is not taken for news")
        return old

    def pass_on(self) -> None:
        """Every message at one broker to the other. Raises ApartError when one is lost."""
        saved = marked = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                self.carry(self.inbox.get(timeout=MARK))
            self.confirm()
            now = time.monotonic()
            if self.unmarked and now - marked >= MARK:
                self.mark()
                marked = now
            if now - saved >= SAVE:
                self.keep()
                saved = now

    def carry(self, heard: Heard) -> None:
        """One message to the other broker. Raises ApartError when it is the news of a lost one."""
        if heard.message is None:
            raise ApartError(f"the {heard.side} is gone")
        message = heard.message
        if not bridged(message.topic):
            return
        other = SIDES[1 - SIDES.index(heard.side)]
        self.tell(
            other,
            message.topic,
            message.payload,
            qos=message.qos,
            retain=message.retain,
            properties=getattr(message, "properties", None),
        )

    def tell(
        self, side: str, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Any = None
    ) -> None:
        """Send a message; a retained one so that its broker confirms it: only then both have it."""
        info = self.links[side].send(topic, payload, max(qos, 1) if retain else qos, retain, properties)
        if retain:
            self.unsure.append((info, topic, digest(payload)))

    def mark(self) -> None:
        """Give both brokers a mark greater than any before: where it is retained, all before it is too."""
        mark = max(int(time.time() * 1000), *(self.memory.marks.get(side, 0) + 1 for side in SIDES))
        self.confirm()
        self.pending += [(side, mark, link.say("mark", str(mark))) for side, link in self.links.items()]
        self.unmarked = False

    def confirm(self) -> None:
        """Remember what the brokers have confirmed: retained messages, and marks."""
        while self.unsure and confirmed(self.unsure[0][0]):
            _, topic, found = self.unsure.popleft()
            if self.memory.note(topic, found, time.time()):
                self.unmarked = True
        for side, mark, info in self.pending:
            if confirmed(info):
                self.memory.marks[side] = max(mark, self.memory.marks.get(side, 0))
        self.pending = [each for each in self.pending if not confirmed(each[2])]

    def keep(self) -> None:
        """Write the memory down."""
        self.confirm()
        self.memory.forget(time.time())
        try:
            save(self.memory, self.state)
        except OSError as error:  # a full disk is no reason to part the brokers
            say(f"cannot write {self.state}: {error.strerror}")


def say(text: str) -> None:
    """A line for the journal."""
    print(text, file=sys.stderr, flush=True)


def main(settings: str, state: str) -> None:
    """Serve for ever; SIGTERM ends it, with the memory written."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    bridge = Bridge(json.loads(Path(settings).read_text()), Path(state))
    with contextlib.ExitStack() as stack:
        stack.callback(bridge.drop)
        while True:
            try:
                bridge.serve()
            except ApartError as error:
                if str(error) != bridge.told:
                    say(f"apart: {error}")
                bridge.told = str(error)
            bridge.listen(AGAIN)


def check(settings: str) -> None:
    """Whether a bridge could begin with these settings; the reason ends the program."""
    try:
        bridge = Bridge(json.loads(Path(settings).read_text()), Path("/nonexistent"))
        for place in bridge.places:
            Link(place, bridge.guest, bridge.inbox)
    except (OSError, ValueError, TypeError, KeyError) as error:
        sys.exit(f"{settings}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        main(sys.argv[1], sys.argv[2])
