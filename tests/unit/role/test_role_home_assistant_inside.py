"""What is done inside Home Assistant, given what it says; against a stand-in for its API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from home_assistant_kit import Killed, Memory, StandIn, entry, serving

from hearth.errors import HearthError
from hearth.home_assistant import onboarding, tokens
from hearth.home_assistant.client import Client, LostError, NotThereError, Place, RefusedError
from hearth.home_assistant.duty import Duty, settle
from hearth.home_assistant.entries import WantedEntry, plan_entries
from hearth.home_assistant.home import Home
from hearth.home_assistant.integrations import Entries, Whole, troubles
from hearth.home_assistant.login import Owner
from hearth.home_assistant.people import Onboarded, Password, Tokens
from hearth.home_assistant.preferences import Levels, Settings
from hearth.home_assistant.settings import core_settings, differing, http_settings

OWNER = Owner("Home", "home", "secret", "en")
CLIENTS = ("hearth", "hearth-verify", "mcp-hub-comms")
UNWANTED = ("google_translate", "met", "radio_browser")
ONBOARDED = Onboarded(OWNER, UNWANTED)
TOKENS = Tokens(OWNER, CLIENTS)


@pytest.fixture
def it() -> StandIn:
    return StandIn()


@pytest.fixture
def store() -> Memory:
    return Memory()


@pytest.fixture
def home(it: StandIn, store: Memory) -> Iterator[Home]:
    with serving(it, store) as found:
        yield found


@pytest.fixture
def set_up(it: StandIn, home: Home) -> Home:
    """Onboarded, with its tokens, and started again since."""
    for duty in (ONBOARDED, TOKENS):
        duty.mend(home)
    it.restarted = True
    it.asked.clear()
    return home


def mended(duty: Duty, home: Home) -> None:
    """It is mended, and nothing is missing then."""
    assert duty.missing(home) != []
    duty.mend(home)
    assert duty.missing(home) == []


# -------------------------------------------------------------------- onboarding


def test_a_new_one_is_onboarded_and_what_it_adds_by_itself_is_removed(it: StandIn, home: Home) -> None:
    assert ONBOARDED.missing(home) == [onboarding.SAID[step] for step in onboarding.STEPS]
    assert not it.writes, "asking changes nothing"
    ONBOARDED.mend(home)
    assert it.done == list(onboarding.STEPS)
    assert it.users == {"home": "secret"}
    assert it.entries == []
    assert it.tokens == {}, "no session stays"
    assert ONBOARDED.missing(home) == []


@pytest.mark.parametrize("last", onboarding.STEPS)
def test_onboarding_goes_on_after_a_kill_at_any_step(
    it: StandIn, home: Home, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, do = onboarding._create, onboarding._do

    def create_and_die(client: Client, owner: Owner) -> None:
        create(client, owner)
        if last == "user":
            raise Killed

    def do_and_die(session: Client, step: str, unwanted: Sequence[str]) -> None:
        do(session, step, unwanted)
        if step == last:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(onboarding, "_create", create_and_die)
        patched.setattr(onboarding, "_do", do_and_die)
        with pytest.raises(Killed):
            ONBOARDED.mend(home)
    assert last in it.done
    ONBOARDED.mend(home)
    assert sorted(it.done) == sorted(onboarding.STEPS), "each step once"


def test_the_second_time_nothing_is_asked_but_questions(it: StandIn, set_up: Home) -> None:
    for duty in (ONBOARDED, TOKENS):
        assert duty.missing(set_up) == []
    assert it.writes == []
    assert it.wrong == 0


def test_one_that_does_not_answer_is_told_apart_from_one_that_refuses(it: StandIn, home: Home) -> None:
    nobody = Home(Place("home-assistant", "http://127.0.0.1:9"), Memory())
    with pytest.raises(NotThereError):
        ONBOARDED.missing(nobody)
    it.users, it.done = {"home": "another"}, ["user"]
    with pytest.raises(RefusedError) as refused:
        ONBOARDED.mend(home)
    assert "invalid_auth" in str(refused.value)
    assert "home-assistant/owner" in str(refused.value)
    assert it.done == ["user"]


# ------------------------------------------------------------------------ tokens


def test_every_client_gets_a_token_of_its_own_and_keeps_it(it: StandIn, set_up: Home, store: Memory) -> None:
    kept = {name: store.saved[f"home-assistant/token/{name}"] for name in CLIENTS}
    assert len(set(kept.values())) == len(CLIENTS)
    assert all(tokens.holds(set_up.visitor, text) for text in kept.values())
    TOKENS.mend(set_up)
    assert {name: store.saved[f"home-assistant/token/{name}"] for name in CLIENTS} == kept
    assert all(row["type"] == "long_lived_access_token" for row in it.tokens.values()), "no session stays"


def test_one_whose_secret_is_lost_is_revoked_and_made_anew(it: StandIn, set_up: Home, store: Memory) -> None:
    old = store.saved.pop("home-assistant/token/mcp-hub-comms")
    others = {name: text for name, text in store.saved.items() if "token" in name}
    assert TOKENS.missing(set_up) == ["make the token of mcp-hub-comms"]
    mended(TOKENS, set_up)
    assert store.saved["home-assistant/token/mcp-hub-comms"] != old
    assert not it.knows(old)
    assert others.items() <= store.saved.items(), "the others stay as they are"


def test_one_that_is_listed_and_refused_is_made_anew(it: StandIn, set_up: Home, store: Memory) -> None:
    """Each is signed with a key of its own: after a backup was put back the one that we keep may not hold."""
    kept = "home-assistant/token/mcp-hub-comms"
    store.saved[kept] += "x"
    mended(TOKENS, set_up)
    assert it.knows(store.saved[kept])


@pytest.mark.parametrize("client", CLIENTS)
def test_a_kill_between_making_and_keeping_loses_nothing_for_good(
    it: StandIn, home: Home, store: Memory, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ONBOARDED.mend(home)
    keep = home.keep_token

    def dies(name: str, token: str) -> None:
        if name == client:
            store.crash()
            raise Killed
        keep(name, token)

    with monkeypatch.context() as patched:
        patched.setattr(home, "keep_token", dies)
        with pytest.raises(Killed):
            TOKENS.mend(home)
    mended(TOKENS, home)
    ours = [row["client_name"] for row in it.tokens.values() if row["type"] == tokens.LONG_LIVED]
    assert sorted(ours) == sorted(tokens.PREFIX + name for name in CLIENTS), "one each"


def test_a_home_assistant_made_anew_gives_all_new_tokens_without_trying_the_old_ones(
    it: StandIn, set_up: Home
) -> None:
    it.tokens.clear()
    it.wrong = 0
    mended(TOKENS, set_up)
    assert it.wrong <= 3, "ten wrong ones ban the address we come from"


def test_a_client_that_is_no_more_loses_its_token(it: StandIn, set_up: Home, store: Memory) -> None:
    fewer = Tokens(OWNER, CLIENTS[:2])
    assert fewer.missing(set_up) == ["revoke the token of mcp-hub-comms"]
    fewer.mend(set_up)
    assert "home-assistant/token/mcp-hub-comms" not in store.saved
    assert tokens.PREFIX + "mcp-hub-comms" not in [row["client_name"] for row in it.tokens.values()]


def test_tokens_that_others_made_stay(it: StandIn, set_up: Home) -> None:
    theirs = it.token("my phone", tokens.LONG_LIVED)
    assert TOKENS.missing(set_up) == []
    TOKENS.mend(set_up)
    assert it.knows(theirs)


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "a.e30.c", "a.bnVsbA.c"])
def test_what_is_no_token_has_no_id(text: str) -> None:
    assert tokens.id_of(text) is None


# --------------------------------------------------------------- password, settings


def test_a_changed_secret_changes_the_owners_password_once(it: StandIn, set_up: Home) -> None:
    assert Password(OWNER).missing(set_up) == []
    new = Password(Owner("Home", "home", "new", "en"))
    mended(new, set_up)
    assert it.users == {"home": "new"}


def test_a_password_that_was_changed_inside_is_left_alone(it: StandIn, set_up: Home) -> None:
    it.users["home"] = "their own"
    assert Password(OWNER).missing(set_up) == []


BACKUP = {"schedule": {"recurrence": "daily", "days": []}, "retention": {"copies": 3}}
SETTINGS = Settings({"location_name": "Ours", "unit_system": "metric"}, {"base": False}, BACKUP)


def test_only_settings_that_differ_are_sent(it: StandIn, set_up: Home) -> None:
    assert SETTINGS.missing(set_up) == ["set location_name", "set backup: schedule", "set backup: retention"]
    mended(SETTINGS, set_up)
    assert it.config["location_name"] == "Ours"
    it.asked.clear()
    SETTINGS.mend(set_up)
    assert it.writes == []


def test_analytics_that_were_switched_on_are_switched_off(it: StandIn, set_up: Home) -> None:
    SETTINGS.mend(set_up)
    it.preferences["base"] = True
    assert SETTINGS.missing(set_up) == ["set analytics: base"]
    mended(SETTINGS, set_up)
    assert it.preferences["base"] is False


def test_what_is_still_being_set_up_is_waited_for(it: StandIn, set_up: Home) -> None:
    """A slow first start answers, and has no analytics yet: that is no refusal."""
    it.preferences["base"], it.unready = True, 3
    with pytest.raises(NotThereError):
        SETTINGS.missing(set_up)
    settle(SETTINGS, set_up)
    assert it.preferences["base"] is False


def test_a_deed_whose_line_broke_is_done_again_once(it: StandIn, set_up: Home) -> None:
    class Breaking:
        """A duty that is done only at the given try."""

        def __init__(self, tries: int) -> None:
            self.tries = tries

        def missing(self, home: Home) -> list[str]:
            return ["do it"] if self.tries else []

        def mend(self, home: Home) -> None:
            self.tries -= 1
            if self.tries:
                raise LostError("reach it", "Connection reset by peer")

    settle(Breaking(2), set_up)
    with pytest.raises(LostError):
        settle(Breaking(3), set_up)


@pytest.mark.parametrize(
    ("wanted", "found", "left"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, {}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, {}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": None}, {"a": {"b": 1}}),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, {}),
        ({"a": ["x"]}, {"a": ["x", "y"]}, {"a": ["x"]}),
        ({"a": 52.1}, {"a": 52.1000000000001}, {}),
        ({"a": 52.1}, {"a": 52.2}, {"a": 52.1}),
        ({"a": False}, {"a": None}, {"a": False}),
    ],
)
def test_what_differs(wanted: dict[str, Any], found: dict[str, Any], left: dict[str, Any]) -> None:
    assert differing(wanted, found) == left


def test_units_are_compared_by_their_system() -> None:
    assert core_settings({"unit_system": "metric"}, {"unit_system": {"length": "km"}}) == {}
    assert core_settings({"unit_system": "metric"}, {"unit_system": {"length": "mi"}}) != {}


def test_the_web_server_is_told_the_whole_and_keeps_what_is_not_ours() -> None:
    stable = {"server_port": 8123, "cors_allowed_origins": ["x"], "created_at": "then", "error": None}
    found = {"stable": stable, "pending": None, "default": {}}
    assert http_settings({"server_port": 8123}, found) is None
    assert http_settings({"server_port": 18123}, found) == {
        "server_port": 18123,
        "cors_allowed_origins": ["x"],
    }
    assert http_settings({"server_port": 8123}, {**found, "pending": {"server_port": 1}}) is not None


# ------------------------------------------------------------------- integrations


def mqtt(password: str = "right") -> WantedEntry:
    return WantedEntry("mqtt", ({"password": password},), reconfigures=True, hint="look at the broker")


def test_an_integration_is_added_once_and_changed_when_its_settings_do(it: StandIn, set_up: Home) -> None:
    mended(Entries((mqtt(),)), set_up)
    assert [row["domain"] for row in it.entries] == ["mqtt"]
    it.asked.clear()
    Entries((mqtt(),)).mend(set_up)
    assert it.writes == []
    it.mqtt_password = "new"
    changed = Entries((mqtt("new"),))
    assert changed.missing(set_up) == ["change the integration mqtt (its settings differ)"]
    mended(changed, set_up)
    assert len(it.entries) == 1


def test_a_refused_integration_fails_with_the_forms_words_and_is_tried_again(
    it: StandIn, set_up: Home
) -> None:
    with pytest.raises(RefusedError) as refused:
        Entries((mqtt("wrong"),)).mend(set_up)
    assert "cannot_connect" in str(refused.value)
    assert "look at the broker" in str(refused.value)
    assert "wrong" not in str(refused.value), "the password is not said"
    assert any(line.startswith("DELETE") for line in it.asked), "the flow is taken back"
    assert Entries((mqtt("wrong"),)).missing(set_up) != []


def test_an_integration_there_is_none_of_fails_with_home_assistants_words(set_up: Home) -> None:
    with pytest.raises(RefusedError, match="Invalid handler"):
        Entries((WantedEntry("unknown", ({},)),)).mend(set_up)


def test_unwanted_ones_are_removed(it: StandIn, set_up: Home) -> None:
    it.entries += [entry("met"), entry("hue")]
    mended(Entries((), UNWANTED), set_up)
    assert [row["domain"] for row in it.entries] == ["hue"]


@pytest.mark.parametrize(
    ("there", "told", "reauth", "deed"),
    [
        ({}, True, (), ""),
        ({}, False, (), "change"),
        ({}, True, ("e-mqtt",), "change"),
        ({"state": "setup_error"}, True, (), "change"),
        ({"state": "setup_retry"}, True, (), ""),
        ({"disabled_by": "user"}, False, ("e-mqtt",), ""),
    ],
)
def test_when_an_entry_is_changed(
    there: dict[str, Any], told: bool, reauth: tuple[str, ...], deed: str
) -> None:
    found = [{**entry("mqtt"), **there}]
    prints = {"mqtt": mqtt().fingerprint if told else None}
    steps = plan_entries([mqtt()], (), found, prints, frozenset(reauth))
    assert [step.deed for step in steps] == ([deed] if deed else [])


def test_an_entry_that_cannot_be_changed_is_left_as_it_is() -> None:
    wanted = WantedEntry("season", ({"type": "astronomical"},))
    assert plan_entries([wanted], (), [entry("season", "setup_error")], {"season": None}) == []


# ------------------------------------------------------------------ levels, the whole


def test_levels_are_set_without_a_restart_and_dropped_ones_go_back(it: StandIn, set_up: Home) -> None:
    mended(Levels({"default": "warning", "logs": {"a": "debug"}}), set_up)
    assert "POST /api/services/logger/set_level" in it.asked
    it.asked.clear()
    mended(Levels({"default": "info", "logs": {}}), set_up)
    assert "POST /api/services/logger/set_default_level" in it.asked
    assert "POST /api/services/logger/set_level" in it.asked, "`a` goes back to the default"


FINE = {"state": "RUNNING", "recovery_mode": False, "components": ["mqtt", "sensor.mqtt", "recorder"]}


@pytest.mark.parametrize(
    ("config", "entries", "said"),
    [
        ({}, [], ""),
        ({"recovery_mode": True}, [], "recovery mode"),
        ({"state": "STARTING"}, [], "STARTING"),
        ({"components": ["mqtt"]}, [], "recorder is not set up"),
        ({}, [entry("hue", "setup_error")], "hue has failed"),
        ({}, [entry("hue", "setup_retry")], ""),
        ({}, [{**entry("hue", "setup_error"), "disabled_by": "user"}], ""),
    ],
)
def test_what_is_wrong_is_found(config: dict[str, Any], entries: list[Any], said: str) -> None:
    found = troubles({**FINE, **config}, entries, ["mqtt", "recorder"])
    assert bool(found) == bool(said)
    assert said in "; ".join(found)


def test_one_that_stays_broken_fails_with_what_is_wrong(
    it: StandIn, set_up: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hearth.home_assistant.integrations.SETS_UP", 0.3)
    assert Whole(("mqtt",)).missing(set_up) == []
    it.config["recovery_mode"] = True
    with pytest.raises(HearthError, match="recovery mode"):
        Whole(("mqtt",)).mend(set_up)
