"""Which of two retained messages is the newer one: plain data, no broker."""

from __future__ import annotations

import queue
import sys

import pytest
from bridge_kit import APPS
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(APPS))
from mqtt_bridge.link import Link, Place, bridged, confirmed
from mqtt_bridge.memory import REMEMBERED, Memory, decide, digest

PAYLOADS = st.dictionaries(st.sampled_from("abc"), st.sampled_from([b"1", b"2", b"3"]))


def agreed(*payloads: bytes, at: float = 0.0, topic: str = "t") -> Memory:
    """What both retained, one after the other."""
    memory = Memory()
    for step, payload in enumerate(payloads):
        memory.note(topic, digest(payload), at + step)
    return memory


def outcome(
    memory: Memory, primary: bytes, standby: bytes, *, primary_old: bool = False, standby_old: bool = False
) -> bytes:
    """What both have afterwards."""
    found = [{"t": payload} if payload else {} for payload in (primary, standby)]
    for_primary, for_standby = decide(memory, *found, primary_old, standby_old)
    after = for_primary.get("t", primary), for_standby.get("t", standby)
    assert after[0] == after[1]
    return after[0]


@pytest.mark.parametrize(
    ("before", "primary", "standby", "wanted"),
    [
        (b"1", b"1", b"2", b"2"),  # the standby has news
        (b"1", b"2", b"1", b"2"),  # the primary has
        (b"1", b"2", b"3", b"2"),  # both have: the primary's
        (b"", b"", b"2", b"2"),
        (b"", b"2", b"", b"2"),
        (b"1", b"", b"1", b""),  # deleted at one
        (b"1", b"1", b"", b""),
        (b"1", b"", b"2", b""),
        (b"1", b"2", b"2", b"2"),
    ],
)
def test_who_has_news_wins(before: bytes, primary: bytes, standby: bytes, wanted: bytes) -> None:
    assert outcome(agreed(before), primary, standby) == wanted


def test_an_earlier_state_is_news_unless_the_broker_came_back_older() -> None:
    memory = agreed(b"on", b"off")
    assert outcome(memory, b"on", b"off") == b"on", "switched on again meanwhile"
    assert outcome(memory, b"on", b"off", primary_old=True) == b"off"
    assert outcome(memory, b"off", b"on", standby_old=True) == b"off"


def test_what_a_broker_that_came_back_older_lacks_is_not_deleted() -> None:
    memory = agreed(b"1")
    assert outcome(memory, b"", b"1", primary_old=True) == b"1"
    assert outcome(memory, b"1", b"", standby_old=True) == b"1"


def test_what_was_deleted_does_not_come_back_with_an_older_broker() -> None:
    assert outcome(agreed(b"1", b""), b"1", b"", primary_old=True) == b""


@pytest.mark.parametrize(
    ("side", "old", "wanted"),
    [
        ("standby", (False, False), b"on"),  # as it was when both agreed, but said again since
        ("primary", (False, False), b"off"),
        ("standby", (False, True), b"off"),  # it came back as before it was said
    ],
)
def test_what_was_said_while_the_other_was_away_wins(
    side: str, old: tuple[bool, bool], wanted: bytes
) -> None:
    for_primary, for_standby = decide(
        agreed(b"on"), {"t": b"off"}, {"t": b"on"}, old[0], old[1], heard={"t": side}
    )
    assert for_primary.get("t", b"off") == for_standby.get("t", b"on") == wanted


def test_what_lost_once_is_no_news_of_a_broker_that_came_back_older() -> None:
    memory = agreed(b"on")
    memory.outdated("t", digest(b"off"), 5.0)  # a will at the standby, overruled
    memory.note("t", digest(b"on"), 6.0)
    assert outcome(memory, b"on", b"off", standby_old=True) == b"on"
    assert outcome(memory, b"off", b"on", primary_old=True) == b"on"
    assert outcome(memory, b"on", b"off") == b"off", "said again meanwhile"
    memory.outdated("t", None, 7.0)
    assert outcome(memory, b"on", b"", standby_old=True) == b"on"


def test_of_two_that_came_back_older_the_less_old_wins() -> None:
    memory = agreed(b"1", b"2", b"3")
    assert outcome(memory, b"1", b"2", primary_old=True, standby_old=True) == b"2"
    assert outcome(memory, b"2", b"1", primary_old=True, standby_old=True) == b"2"
    assert outcome(memory, b"1", b"", primary_old=True, standby_old=True) == b"1"


def test_what_nobody_knows_is_news_even_from_an_older_broker() -> None:
    assert outcome(agreed(b"1", b"2"), b"4", b"2", primary_old=True) == b"4"


def test_it_forgets_what_is_long_gone_only() -> None:
    memory = agreed(b"1", b"")
    memory.note("kept", digest(b"x"), 0.0)
    memory.forget(10.0)
    assert set(memory.entries) == {"t", "kept"}
    memory.forget(REMEMBERED + 10)
    assert set(memory.entries) == {"kept"}
    memory.note("kept", digest(b"y"), 3 * REMEMBERED)
    assert len(memory.entries["kept"].was) == 1


def test_it_is_the_same_after_a_file() -> None:
    memory = agreed(b"1", b"2", topic="a/\N{LATIN SMALL LETTER U WITH DIAERESIS}")
    memory.marks["primary"] = 7
    again = Memory.of_text(memory.text())
    assert (again.entries, again.marks) == (memory.entries, memory.marks)


@given(PAYLOADS, PAYLOADS, PAYLOADS, st.booleans(), st.booleans())
def test_both_always_end_alike_with_something_that_one_of_them_had(
    before: dict[str, bytes], primary: dict[str, bytes], standby: dict[str, bytes], one: bool, two: bool
) -> None:
    memory = Memory()
    for topic, payload in before.items():
        memory.note(topic, digest(payload), 0.0)
    for_primary, for_standby = decide(memory, primary, standby, one, two)
    assert not set(for_primary) & set(for_standby)
    for topic in "abc":
        had = {primary.get(topic, b""), standby.get(topic, b"")}
        ends = (
            for_primary.get(topic, primary.get(topic, b"")),
            for_standby.get(topic, standby.get(topic, b"")),
        )
        assert ends[0] == ends[1]
        assert ends[0] in had


@pytest.mark.parametrize(
    ("topic", "wanted"),
    [
        ("zigbee2mqtt/lamp", True),
        ("hearth/verify/x", False),
        ("hearth/verify/bridged/x", True),
        ("hearth/bridge/standby/state", False),
        ("$SYS/broker/version", False),
        ("hearth/other", True),
    ],
)
def test_which_topics_cross(topic: str, wanted: bool) -> None:
    assert bridged(topic) is wanted


def test_a_broker_that_vanishes_while_it_is_told_something_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """paho still calls itself connected, but takes no message any more."""
    link = Link(Place("primary", "127.0.0.1", 1, "user", "password"), "standby", queue.Queue())
    monkeypatch.setattr(link._client, "is_connected", lambda: True)
    info = link.say("mark", "1")
    assert info.rc != 0
    assert not confirmed(info)
    link.__exit__()
