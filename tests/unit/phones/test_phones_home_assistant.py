"""A phone's login at Home Assistant: made, kept, renewed and ended; against a stand-in for its API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from home_assistant_kit import Memory, StandIn, entry, serving
from phones_kit import a_parcel, ended, listed
from role_kit import FakeRun, fleet, guest

from hearth.errors import HearthError
from hearth.home_assistant import phones as ha_phones
from hearth.home_assistant.client import RefusedError
from hearth.home_assistant.home import Home, print_of
from hearth.home_assistant.login import Owner, logged_in
from hearth.home_assistant.people import Onboarded, Tokens
from hearth.home_assistant.phones import LoginStep, PhoneLogin, PhoneLogins, plan_logins
from hearth.phones.registry import Ended, Phones

ANNA, BERTA = PhoneLogin("anna", "hers"), PhoneLogin("berta", "theirs")


@pytest.fixture
def it() -> StandIn:
    return StandIn()


@pytest.fixture
def home(it: StandIn) -> Iterator[Home]:
    """Onboarded, with the run's own token."""
    owner = Owner("Home", "home", "secret", "en")
    with serving(it, Memory()) as found:
        for duty in (Onboarded(owner), Tokens(owner, ("hearth",))):
            duty.mend(found)
        it.restarted = True
        it.entries.clear()
        it.asked.clear()
        yield found


@pytest.fixture
def both(it: StandIn, home: Home) -> Home:
    """With two phones let in."""
    PhoneLogins((ANNA, BERTA), ()).mend(home)
    it.asked.clear()
    return home


def usernames(it: StandIn) -> list[str]:
    return [row["username"] for row in it.accounts]


def logs_in(home: Home, login: PhoneLogin) -> bool:
    try:
        with logged_in(home.visitor, Owner("x", f"phone-{login.name}", login.password, "en")):
            return True
    except RefusedError:
        return False


def registered(it: StandIn, login: str, title: str) -> None:
    """What Home Assistant has after the app of this phone has registered."""
    row = next(row for row in it.accounts if row["username"] == login)
    person = next(person for person in it.persons if person["user_id"] == row["id"])
    tracker = f"device_tracker.{title}"
    person["device_trackers"] = [tracker]
    found = {**entry("mobile_app"), "entry_id": f"e-{title}", "title": title}
    it.entries.append(found)
    it.registry.append({"entity_id": tracker, "platform": "mobile_app", "config_entry_id": found["entry_id"]})


# ------------------------------------------------------------------------------------------ let in


def test_every_phone_gets_a_user_without_rights_and_a_person(it: StandIn, both: Home) -> None:
    assert usernames(it) == ["phone-anna", "phone-berta"]
    assert {tuple(row["group_ids"]) for row in it.accounts} == {("system-users",)}
    assert [person["user_id"] for person in it.persons] == [row["id"] for row in it.accounts]
    assert logs_in(both, ANNA)
    assert not logs_in(both, PhoneLogin("anna", "theirs"))


def test_the_second_time_nothing_is_asked_but_questions(it: StandIn, both: Home) -> None:
    duty = PhoneLogins((ANNA, BERTA), ("clara",))
    assert duty.missing(both) == []
    duty.mend(both)
    assert it.writes == []


def test_planning_only_reads(it: StandIn, both: Home) -> None:
    assert len(PhoneLogins((PhoneLogin("anna", "new"),), ("berta",)).missing(both)) == 3
    assert it.writes == []


def test_a_user_that_could_not_be_made_whole_is_taken_back(it: StandIn, home: Home) -> None:
    it.users["phone-anna"] = "somebody's"
    with pytest.raises(RefusedError):
        PhoneLogins((ANNA,), ()).mend(home)
    assert it.accounts == []


def test_what_a_kill_left_is_made_anew(it: StandIn, home: Home) -> None:
    made = {"is_active": True, "is_owner": False, "group_ids": ["system-users"]}
    it.accounts.append({"id": "u1", "username": None, "name": ha_phones.shown_name("anna"), **made})
    PhoneLogins((ANNA,), ()).mend(home)
    assert usernames(it) == ["phone-anna"]
    assert logs_in(home, ANNA)


# -------------------------------------------------------------------------------------------- ended


def test_a_revoked_phone_loses_user_person_tokens_and_app_and_the_others_keep_theirs(
    it: StandIn, both: Home
) -> None:
    registered(it, "phone-anna", "pixel")
    registered(it, "phone-berta", "fold")
    it.entries.append(entry("mqtt"))
    hers = it.token("her app", "long_lived_access_token", "phone-anna")
    theirs = it.token("their app", "long_lived_access_token", "phone-berta")
    PhoneLogins((BERTA,), ("anna",)).mend(both)
    assert usernames(it) == ["phone-berta"]
    assert [person["name"] for person in it.persons] == ["berta"]
    assert [row["entry_id"] for row in it.entries] == ["e-fold", "e-mqtt"]
    assert not it.knows(hers)
    assert it.knows(theirs)
    assert not logs_in(both, ANNA)
    assert logs_in(both, BERTA)
    assert PhoneLogins((BERTA,), ("anna",)).missing(both) == []


def test_its_tokens_are_revoked_before_its_user_goes(it: StandIn, both: Home) -> None:
    """Home Assistant ends a token's open connections when it is revoked, and not when its user is deleted."""
    PhoneLogins((BERTA,), ("anna",)).mend(both)
    done = [line.split()[0] for line in it.asked]
    assert done.index("auth/delete_all_refresh_tokens") < done.index("config/auth/delete")


def test_a_phone_that_cannot_be_logged_out_is_ended_all_the_same(it: StandIn, both: Home) -> None:
    row = next(row for row in it.accounts if row["username"] == "phone-anna")
    it.users.pop("phone-anna")
    row["username"] = None
    PhoneLogins((BERTA,), ("anna",)).mend(both)
    assert usernames(it) == ["phone-berta"]


def test_a_renewed_phone_starts_anew(it: StandIn, both: Home) -> None:
    registered(it, "phone-anna", "pixel")
    before = it.token(None, "normal", "phone-anna")
    renewed = PhoneLogin("anna", "new")
    PhoneLogins((renewed, BERTA), ()).mend(both)
    assert not it.knows(before)
    assert [row["entry_id"] for row in it.entries] == []
    assert logs_in(both, renewed)
    assert not logs_in(both, ANNA)


def test_a_revoked_phone_that_is_added_again_under_its_password_of_old_starts_anew(
    it: StandIn, both: Home
) -> None:
    PhoneLogins((BERTA,), ("anna",)).mend(both)
    PhoneLogins((ANNA, BERTA), ()).mend(both)
    assert logs_in(both, ANNA)
    assert PhoneLogins((ANNA, BERTA), ()).missing(both) == []


# ---------------------------------------------------------------------------------------- the decision


def row(ident: str, username: str | None, name: str, **more: Any) -> dict[str, Any]:
    return {"id": ident, "username": username, "name": name, "is_active": True, "is_owner": False, **more}


def test_a_user_of_somebody_elses_is_left_alone() -> None:
    users = [row("u1", "phone-anna", "Anna herself"), row("u2", "anna", "Anna")]
    assert plan_logins((), ("anna",), users, {}) == []
    with pytest.raises(HearthError, match="another person's"):
        plan_logins((ANNA,), (), users, {})


def test_the_owner_is_never_ended() -> None:
    users = [row("u1", "phone-anna", ha_phones.shown_name("anna"), is_owner=True)]
    assert plan_logins((), ("anna",), users, {}) == []


def test_one_that_somebody_has_switched_off_is_made_anew() -> None:
    told = {"anna": print_of("hers")}
    good = row("u1", "phone-anna", ha_phones.shown_name("anna"))
    assert plan_logins((ANNA,), (), [good], told) == []
    off = {**good, "is_active": False}
    assert plan_logins((ANNA,), (), [off], told) == [
        LoginStep("end", "anna", "u1"),
        LoginStep("make", "anna"),
    ]


# ------------------------------------------------------------------------------------------ the deploy


def a_home() -> FakeRun:
    return FakeRun(fleet(guest("home-assistant", 134, "home_assistant", "front")))


def test_the_deploy_asks_for_what_the_list_says() -> None:
    from roles.home_assistant.inside import phones

    run = a_home()
    assert phones(run.here("home-assistant", "home_assistant")) == []
    anna = a_parcel(run)
    listed(run, anna)
    listed(run, a_parcel(run, "berta"))
    ended(run, anna)
    ((_, duty),) = phones(run.here("home-assistant", "home_assistant"))
    assert isinstance(duty, PhoneLogins)
    password = run.secrets.get("phone/berta/home-assistant").reveal()
    assert duty == PhoneLogins((PhoneLogin("berta", password),), ("anna",))
    assert password not in repr(duty)


def test_a_phone_without_its_secrets_is_named() -> None:
    from roles.home_assistant.inside import phones

    run = a_home()
    listed(run, a_parcel(run))
    run.secrets.remove("phone/anna/home-assistant")
    with pytest.raises(HearthError, match="hearth android"):
        phones(run.here("home-assistant", "home_assistant"))


def test_the_last_phone_that_is_revoked_is_ended_too() -> None:
    from roles.home_assistant.inside import phones

    run = a_home()
    parcel = a_parcel(run)
    over = (Ended(name="anna", serial=parcel.phone.serial, until=parcel.phone.until),)
    run.phones = Phones({}, over)
    ((_, duty),) = phones(run.here("home-assistant", "home_assistant"))
    assert duty == PhoneLogins((), ("anna",))
