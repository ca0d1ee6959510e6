"""The bridge between real brokers: both directions, no loop, and never an old state over a newer one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from bridge_kit import SERVICE, Bridge, a_bridge, a_pair, a_run, client, heard, keep, kept, kill, saved
from broker_kit import Broker, RefusedError, a_broker
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from hearth.role.acl import VERIFIER


@pytest.fixture(scope="module")
def linked() -> Iterator[tuple[Broker, Broker]]:
    """Two brokers and the bridge, for what does not disturb them."""
    with a_pair() as (primary, standby), a_bridge(primary, standby):
        yield primary, standby


@pytest.fixture
def pair() -> Iterator[tuple[Broker, Broker, Bridge]]:
    """Two brokers and the bridge, of a test's own."""
    with a_pair() as (primary, standby), a_bridge(primary, standby) as bridge:
        yield primary, standby, bridge


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("way", [(0, 1), (1, 0)], ids=["to the standby", "to the primary"])
def test_messages_cross_once_and_never_come_back(
    linked: tuple[Broker, Broker], way: tuple[int, int], qos: int
) -> None:
    source, target = linked[way[0]], linked[way[1]]
    with client(source) as near, client(target) as far, client(source) as sender:
        for who in (near, far):
            who.subscribe("app/x/#")
        for number in range(20):
            sender.publish(f"app/x/{number}", str(number), qos)
        for who in (near, far):
            found = heard(who)
            assert [message.payload.decode() for message in found] == [str(number) for number in range(20)]
            assert {message.qos for message in found} == {qos}


def test_a_retained_message_is_retained_at_both_and_deleted_at_both(linked: tuple[Broker, Broker]) -> None:
    for source, target in (linked, linked[::-1]):
        with client(target) as far:
            far.subscribe("app/kept")
            keep(source, "app/kept", "yes")
            assert far.message().payload == b"yes"
            assert kept(target)["app/kept"] == "yes"
            keep(source, "app/kept", "")
            assert far.message().payload == b""
            assert "app/kept" not in kept(target)


def test_what_travels_with_a_message_arrives(linked: tuple[Broker, Broker]) -> None:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    primary, standby = linked
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "app/answer"
    properties.CorrelationData = b"7"
    properties.UserProperty = ("key", "value")
    with client(primary) as sender, client(standby) as far:
        far.subscribe("app/asked")
        sender._client.publish("app/asked", "x", 1, properties=properties)
        found = far.message().properties
        assert found is not None
        assert (found.ResponseTopic, found.CorrelationData) == ("app/answer", b"7")
        assert found.UserProperty == [("key", "value")]


def test_each_brokers_own_topics_and_checks_stay_at_home(linked: tuple[Broker, Broker]) -> None:
    primary, standby = linked
    with client(primary, VERIFIER) as near, client(standby, VERIFIER) as far:
        far.subscribe("#")
        near.publish("hearth/verify/here", "stays", 1)
        near.publish("hearth/verify/bridged/x", "crosses", 1)
        assert [message.topic for message in heard(far)] == ["hearth/verify/bridged/x"]
    user = "mosquitto-standby"
    with client(standby, user) as all_seeing:
        all_seeing.subscribe("$SYS/#")
        all_seeing.subscribe("hearth/bridge/#")
        topics = {message.topic for message in heard(all_seeing)}
    own = {"hearth/bridge/standby/state", "hearth/bridge/standby/mark"}
    assert topics == own | {"$SYS/broker/uptime"}


def test_the_bridges_user_is_no_master_of_the_broker(linked: tuple[Broker, Broker]) -> None:
    for broker in linked:
        with client(broker, "mosquitto-standby") as bridge, pytest.raises(RefusedError):
            bridge.publish("$SYS/broker/version", "mine", 1)


def test_the_same_users_with_the_same_rights_are_at_both(linked: tuple[Broker, Broker]) -> None:
    for broker in linked:
        with client(broker, "lamp") as lamp:
            lamp.publish("lamp/state", "on", 1)
            with pytest.raises(RefusedError):
                lamp.publish("app/x", "forbidden", 1)


def test_two_standbys_hear_each_other_once_through_the_primary() -> None:
    run = a_run("one", "two")
    with (
        a_broker(run, "comms") as primary,
        a_broker(run, "one") as one,
        a_broker(run, "two") as two,
        a_bridge(primary, one),
        a_bridge(primary, two),
        client(one) as sender,
        client(two) as far,
    ):
        far.subscribe("app/#")
        for number in range(10):
            sender.publish("app/x", str(number), 1)
        assert [message.payload.decode() for message in heard(far)] == [str(number) for number in range(10)]


def test_what_each_had_before_both_have_and_in_a_conflict_the_primarys_holds() -> None:
    with a_pair() as (primary, standby):
        keep(primary, "app/p", "p")
        keep(standby, "app/s", "s")
        keep(primary, "app/both", "primary")
        keep(standby, "app/both", "standby")
        with a_bridge(primary, standby):
            assert kept(primary) == kept(standby) == {"app/p": "p", "app/s": "s", "app/both": "primary"}


def test_more_retained_messages_than_a_broker_queues_arrive() -> None:
    wanted = {f"app/many/{number}": str(number) for number in range(1500)}
    with a_pair() as (primary, standby):
        with client(primary) as sender:
            for topic, payload in wanted.items():
                sender._client.publish(topic, payload, 0, retain=True)
            sender.publish("app/last", "", 1)
        with a_bridge(primary, standby):
            standby.until(lambda: len(kept(standby)) == len(wanted))
            assert kept(standby) == wanted


# ------------------------------------------------------------------------------- apart, and together again


def test_the_standby_serves_alone_and_its_news_win_when_the_primary_is_back(
    pair: tuple[Broker, Broker, Bridge],
) -> None:
    primary, standby, bridge = pair
    for topic in ("app/state", "app/gone"):
        keep(primary, topic, "before")
    bridge.until(lambda: len(kept(standby)) == 2)
    primary.stop()
    with client(standby) as app, client(standby, "lamp") as lamp:
        app.subscribe("lamp/state")  # may not read it: the same rights as ever
        app.subscribe("app/#")
        app.publish("app/state", "meanwhile", 1, retain=True)
        lamp.publish("lamp/state", "on", 1)
        keep(standby, "app/gone", "")
        keep(standby, "app/new", "new")
        assert "lamp/state" not in {message.topic for message in heard(app)}
    primary.start()
    bridge.agreed_again()
    assert kept(primary) == kept(standby) == {"app/state": "meanwhile", "app/new": "new"}


def test_what_was_said_at_the_standby_meanwhile_is_newer_than_what_the_primary_brings_along(
    pair: tuple[Broker, Broker, Bridge],
) -> None:
    """A primary that is stopped publishes its clients' wills; they have gone to the standby long before."""
    primary, standby, bridge = pair
    bridge.agreed_on("app/state", "online", at=primary)
    bridge.loses(primary)
    keep(standby, "app/state", "online")
    other = {"app/other": "nobody else said anything of it"}
    bridge.finds(primary, {"app/state": "offline", **other})
    wanted = {"app/state": "online", **other}
    assert kept(primary) == kept(standby) == wanted
    keep(primary, "app/state", "offline")
    bridge.until(lambda: kept(standby) == {**wanted, "app/state": "offline"})


def test_a_client_that_went_to_the_standby_stays_online(pair: tuple[Broker, Broker, Bridge]) -> None:
    primary, standby, bridge = pair
    device = Client(CallbackAPIVersion.VERSION2, "device")
    device.username_pw_set(SERVICE, primary.password(SERVICE))
    device.will_set("app/state", "offline", 1, retain=True)
    device.connect("127.0.0.1", primary.plain_port)
    device.loop_start()
    keep(primary, "app/state", "online")
    bridge.until(device.is_connected)
    primary.stop()
    device.disconnect()
    device.loop_stop()
    bridge.until(lambda: "apart" in bridge.log)
    keep(standby, "app/state", "online")
    primary.start()
    bridge.agreed_again()
    assert kept(primary) == kept(standby) == {"app/state": "online"}


def test_a_will_that_was_overruled_does_not_come_back_with_a_power_cut(
    pair: tuple[Broker, Broker, Bridge],
) -> None:
    """Since that will was saved, the broker saved nothing more."""
    primary, standby, bridge = pair
    bridge.agreed_on("app/state", "online", at=standby)
    bridge.loses(standby)
    keep(primary, "app/state", "online")
    bridge.finds(standby, {"app/state": "offline"})
    assert kept(primary) == kept(standby) == {"app/state": "online"}
    time.sleep(0.5)  # a mark
    kill(standby)
    bridge.stop()
    standby.start()
    assert kept(standby) == {"app/state": "offline"}
    bridge.start()
    assert kept(primary) == kept(standby) == {"app/state": "online"}


def ran_longer(bridge: Bridge) -> None:
    """As if the standby had run for a minute before: Mosquitto says it to ten seconds only."""
    memory = json.loads(bridge.state.read_text())
    bridge.state.write_text(json.dumps(memory | {"standby_began": memory["standby_began"] - 60}))


def test_a_guest_that_is_restarted_brings_no_wills_along(pair: tuple[Broker, Broker, Bridge]) -> None:
    """The bridge stops first, then the broker; its clients go to the primary, where that changes nothing."""
    primary, standby, bridge = pair
    bridge.agreed_on("app/state", "online", at=standby)
    bridge.stop()
    keep(standby, "app/state", "offline")
    keep(standby, "app/other", "a will too")
    standby.stop()
    ran_longer(bridge)
    keep(primary, "app/new", "said meanwhile")
    standby.start()
    bridge.start()
    assert kept(primary) == kept(standby) == {"app/state": "online", "app/new": "said meanwhile"}


def test_what_the_standby_served_alone_before_its_restart_is_news(
    pair: tuple[Broker, Broker, Bridge],
) -> None:
    primary, standby, bridge = pair
    bridge.agreed_on("app/state", "before", at=primary)
    bridge.loses(primary)
    keep(standby, "app/state", "meanwhile")
    bridge.stop()
    standby.stop()
    ran_longer(bridge)
    standby.start()
    primary.start()
    bridge.start()
    assert kept(primary) == kept(standby) == {"app/state": "meanwhile"}


def test_an_old_state_of_the_standby_overwrites_nothing_at_a_primary_that_was_quicker(
    pair: tuple[Broker, Broker, Bridge],
) -> None:
    primary, standby, bridge = pair
    keep(primary, "app/state", "offline")
    keep(primary, "app/gone", "x")
    bridge.until(lambda: kept(standby) == {"app/state": "offline", "app/gone": "x"})
    bridge.pause()  # clients are back at the primary before the bridge is
    primary.stop()
    primary.start()
    with client(primary) as watcher:
        keep(primary, "app/state", "online")
        keep(primary, "app/gone", "")
        keep(standby, "app/other", "said at the standby")
        watcher.subscribe("app/state")
        bridge.go_on()
        bridge.agreed_again()
        wanted = {"app/state": "online", "app/other": "said at the standby"}
        assert kept(primary) == kept(standby) == wanted
        assert [message.payload for message in heard(watcher)] == [b"online"], "nobody heard the old one"


def test_a_primary_that_was_killed_comes_back_older_and_learns_what_it_lost(
    pair: tuple[Broker, Broker, Bridge],
) -> None:
    primary, standby, bridge = pair
    keep(primary, "app/state", "old")
    keep(primary, "app/deleted", "x")
    keep(primary, "app/changed", "old")
    bridge.until(lambda: len(kept(standby)) == 3)
    saved(primary)
    keep(primary, "app/state", "newer")
    keep(primary, "app/new", "new")
    keep(primary, "app/deleted", "")
    wanted = {"app/state": "newer", "app/new": "new", "app/changed": "old"}
    bridge.until(lambda: kept(standby) == wanted)
    marked(bridge)
    bridge.pause()
    kill(primary)
    primary.start()
    assert kept(primary)["app/state"] == "old", "the broker forgets what it has not saved"
    keep(primary, "app/changed", "changed after its return")
    bridge.go_on()
    bridge.agreed_again()
    assert kept(primary) == kept(standby) == {**wanted, "app/changed": "changed after its return"}


def marked(bridge: Bridge) -> None:
    """Wait until both brokers have the mark that follows the last change (a fifth of a second at most)."""

    def last(broker: Broker) -> bytes:
        with client(broker, "mosquitto-standby") as who:
            who.subscribe("hearth/bridge/standby/mark")
            return heard(who)[-1].payload  # silent for more than that fifth

    bridge.until(lambda: last(bridge.primary) == last(bridge.standby))


def test_more_than_the_broker_tells_is_not_taken_for_all() -> None:
    """A list cut short would look like so many deletions."""
    with a_pair() as (primary, standby):
        with client(primary) as sender:
            for number in range(60):
                sender.publish(f"app/{number}", "x", 1, retain=True)
        with a_bridge(primary, standby) as bridge:
            standby.until(lambda: len(kept(standby)) == 60)
            bridge.stop()
            bridge.write(most=50)
            bridge.start(wait=False)
            bridge.until(lambda: "mosquitto_max_queued" in bridge.log)
            assert len(kept(primary)) == len(kept(standby)) == 60


def test_a_standby_that_lost_everything_gets_it_back_and_empties_nothing(
    pair: tuple[Broker, Broker, Bridge],
) -> None:
    primary, standby, bridge = pair
    keep(primary, "app/state", "x")
    bridge.until(lambda: kept(standby) == {"app/state": "x"})
    marked(bridge)
    kill(standby)
    (standby.root / "db/mosquitto.db").unlink(missing_ok=True)
    standby.start()
    bridge.agreed_again()
    assert kept(primary) == kept(standby) == {"app/state": "x"}


def test_a_restarted_bridge_remembers_who_has_news(pair: tuple[Broker, Broker, Bridge]) -> None:
    primary, standby, bridge = pair
    keep(primary, "app/state", "old")
    bridge.until(lambda: kept(standby) == {"app/state": "old"})
    bridge.stop()
    assert bridge.state.stat().st_size
    keep(standby, "app/state", "news")
    bridge.start()
    assert kept(primary) == {"app/state": "news"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"marks": {}, "entries": {"a": 1}}'])
def test_a_damaged_memory_is_none(pair: tuple[Broker, Broker, Bridge], text: str) -> None:
    primary, standby, bridge = pair
    bridge.stop()
    bridge.state.write_text(text)
    keep(primary, "app/state", "x")
    bridge.start()
    assert kept(standby) == {"app/state": "x"}


def test_everybody_sees_whether_the_brokers_are_together(pair: tuple[Broker, Broker, Bridge]) -> None:
    primary, standby, bridge = pair

    def state(broker: Broker) -> str:
        with client(broker, "mosquitto-standby") as who:
            who.subscribe("hearth/bridge/standby/state")
            return who.message().payload.decode()

    bridge.until(lambda: state(primary) == state(standby) == "1")
    primary.stop()
    bridge.until(lambda: state(standby) == "0")
    primary.start()
    bridge.until(lambda: state(primary) == state(standby) == "1")
    assert bridge.process
    bridge.process.kill()  # it has no time to say so
    bridge.process.wait(10)
    bridge.process = None
    bridge.until(lambda: state(primary) == state(standby) == "0")


def test_a_refused_password_is_said_once_and_the_standby_goes_on(pair: tuple[Broker, Broker, Bridge]) -> None:
    _, standby, bridge = pair
    bridge.stop()
    bridge.write(password="wrong")
    bridge.start(wait=False)
    bridge.until(lambda: "apart: " in bridge.log)
    keep(standby, "app/x", "1")
    bridge.write()
    bridge.stop()
    assert bridge.log.count("apart: ") == 1
    assert "wrong" not in bridge.log
    bridge.start()


def test_a_primary_of_another_authority_is_not_believed(pair: tuple[Broker, Broker, Bridge]) -> None:
    _, _, bridge = pair
    bridge.stop()
    (bridge.root / "ca.crt").write_text(a_run("standby").authority.ca_pem)
    bridge.start(wait=False)
    bridge.until(lambda: "CERTIFICATE_VERIFY_FAILED" in bridge.log)
    assert "both brokers agree" not in bridge.log
