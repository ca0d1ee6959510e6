"""The list of phones and the secrets: what is written, what is refused, and what a kill leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from hearth.errors import HearthError
from hearth.phones import keeper as keepers
from hearth.phones.keeper import Keeper
from hearth.phones.registry import Phone, Phones, change_phones, load_phones, phones_file
from hearth.pki import Authority
from hearth.secrets import SecretStore

ANNA = Phone(serial="0A", until=date(2029, 1, 1))


class Killed(BaseException):
    """The process ends here, as by kill -9."""


@dataclass
class Place:
    """A project's folder; every keeper is another process."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "phones.yaml"

    @property
    def store(self) -> SecretStore:
        return SecretStore(self.folder / "secrets.age", self.folder / "age.key", {})

    @property
    def keeper(self) -> Keeper:
        store = self.store
        return Keeper(self.path, store, Authority(store))

    @property
    def secrets(self) -> set[str]:
        """The names of what is kept of phones."""
        return {name for name in self.store.names() if "phone" in name}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# ------------------------------------------------------------------------------------ adding and ending


def test_a_phone_is_listed_without_any_secret(place: Place) -> None:
    added = place.keeper.add("anna")
    assert added.issued
    assert load_phones(place.path).present == {"anna": added.phone}
    text = place.path.read_text()
    for name in place.secrets:
        assert place.store.get(name).reveal() not in text
    assert added.phone.serial in text


def test_a_second_add_changes_nothing(place: Place) -> None:
    first = place.keeper.add("anna")
    files = {path: path.read_bytes() for path in (place.path, place.folder / "secrets.age")}
    second = place.keeper.add("anna")
    assert not second.issued
    assert (second.phone, second.credentials.mqtt) == (first.phone, first.credentials.mqtt)
    assert {path: path.read_bytes() for path in files} == files


def test_the_flag_changes_without_a_new_certificate(place: Place) -> None:
    first = place.keeper.add("anna")
    second = place.keeper.add("anna", biometric=False)
    assert (first.phone.biometric, second.phone.biometric) == (True, False)
    assert second.phone.serial == first.phone.serial
    assert place.keeper.add("anna").phone.biometric is False, "it stays as it was set"


def test_renewing_makes_everything_new_and_ends_the_former(place: Place) -> None:
    first = place.keeper.add("anna")
    second = place.keeper.add("anna", renew=True)
    assert second.issued
    for part in ("mqtt", "home_assistant", "p12", "bundle", "serial"):
        assert getattr(first.credentials, part) != getattr(second.credentials, part), part
    found = load_phones(place.path)
    assert found.serials == (second.phone.serial,)
    assert [each.serial for each in found.ended] == [first.phone.serial]
    assert found.gone == (), "the phone itself is still there"


def test_revoking_forgets_every_secret(place: Place) -> None:
    first = place.keeper.add("anna")
    place.keeper.add("berta")
    assert place.keeper.revoke("anna") is True
    found = load_phones(place.path)
    assert (found.names, found.gone) == (("berta",), ("anna",))
    assert [each.serial for each in found.ended] == [first.phone.serial]
    assert not [name for name in place.secrets if "anna" in name]
    assert [name for name in place.secrets if "berta" in name]
    assert place.keeper.revoke("anna") is False, "again, it says that it had ended"


def test_a_phone_added_again_gets_nothing_of_the_old_one(place: Place) -> None:
    first = place.keeper.add("anna")
    place.keeper.revoke("anna")
    second = place.keeper.add("anna")
    assert second.credentials.mqtt != first.credentials.mqtt
    assert load_phones(place.path).gone == ()
    assert first.phone.serial in {each.serial for each in load_phones(place.path).ended}


def test_a_phone_that_never_was_cannot_be_revoked(place: Place) -> None:
    place.keeper.add("berta")
    with pytest.raises(HearthError, match="there is berta"):
        place.keeper.revoke("anna")


@pytest.mark.parametrize(
    "name", ["", "Anna", "anna/b", "anna+", "#", "-anna", "anna-", "a" * 33, "a b", "änna"]
)
def test_a_name_that_is_none_is_refused(place: Place, name: str) -> None:
    with pytest.raises(HearthError, match="as a phone's name"):
        place.keeper.add(name)
    assert not place.path.exists()
    assert not place.secrets


# -------------------------------------------------------------------------------------------- killed


def killed_before_listing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on the process ends before it writes the list; the result undoes that."""

    def kill(*_: object) -> Phones:
        raise Killed

    monkeypatch.setattr(keepers, "change_phones", kill)
    return lambda: monkeypatch.setattr(keepers, "change_phones", change_phones)


def test_a_kill_while_adding_leaves_no_phone_and_the_next_call_begins_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_on = killed_before_listing(monkeypatch)
    with pytest.raises(Killed):
        place.keeper.add("anna")
    assert load_phones(place.path) == Phones()
    left = place.store.get("mqtt/phone-anna")
    live_on()
    added = place.keeper.add("anna")
    assert added.issued
    assert added.credentials.mqtt != left
    assert load_phones(place.path).serials == (added.phone.serial,)


def test_a_kill_while_renewing_ends_the_former_certificate_with_the_next_call(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.keeper.add("anna")
    live_on = killed_before_listing(monkeypatch)
    with pytest.raises(Killed):
        place.keeper.add("anna", renew=True)
    assert load_phones(place.path).serials == (first.phone.serial,)
    live_on()
    found = place.keeper.add("anna").phone
    listed = load_phones(place.path)
    assert listed.serials == (found.serial,)
    assert [each.serial for each in listed.ended] == [first.phone.serial]


def test_a_kill_while_revoking_is_completed_by_the_next_call(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.keeper.add("anna")

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(keepers.phone_credentials, "forget", kill)
        with pytest.raises(Killed):
            place.keeper.revoke("anna")
    assert load_phones(place.path).gone == ("anna",), "it is shut out first"
    assert place.secrets
    place.keeper.revoke("anna")
    assert not place.secrets


# ---------------------------------------------------------------------------------------- the file


def test_what_is_written_is_read_again(place: Place) -> None:
    there = (
        Phones().with_phone("anna", ANNA).with_phone("berta", Phone(serial="0B0C", until=date(2030, 2, 3)))
    )
    there = there.without("anna")
    assert change_phones(place.path, lambda _: there) == there
    assert load_phones(place.path) == there
    assert load_phones(place.folder / "none.yaml") == Phones()


def test_a_change_that_changes_nothing_writes_nothing(place: Place) -> None:
    change_phones(place.path, lambda now: now)
    assert not place.path.exists()


PHONE = "phones: {anna: {serial: '0A', until: 2029-01-01}}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("phones: [", "phones.yaml"),
        ("- anna\n", "no mapping"),
        ("guests: {}\n", "no mapping"),
        ("phones: [anna]\n", "phones.yaml"),
        ("phones: {anna: {serial: 'zz', until: 2029-01-01}}\n", "serial"),
        ("phones: {anna: {serial: '0A 0B', until: 2029-01-01}}\n", "serial"),
        ("phones: {anna: {serial: '0A', until: never}}\n", "until"),
        ("phones: {anna: {serial: '0A', until: 2029-01-01, admin: true}}\n", "admin"),
        ("phones: {'an na': {serial: '0A', until: 2029-01-01}}\n", "an na"),
        ("phones: {anna: }\n", "phones.yaml"),
        ("ended: [{name: anna, serial: '0A'}]\n", "until"),
        (f"{PHONE}ended: [{{name: anna, serial: '0A', until: 2029-01-01}}]\n", "0A is under"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(place: Place, text: str, words: str) -> None:
    place.path.write_text(text)
    with pytest.raises(HearthError, match=words):
        load_phones(place.path)


def test_where_the_list_is(tmp_path: Path) -> None:
    file = tmp_path / "inventory" / "fleet.yaml"
    assert phones_file(tmp_path, file, {}) == tmp_path / "inventory" / "phones.yaml"
    assert phones_file(tmp_path, file, {"HEARTH_PHONES": "/elsewhere/p.yaml"}) == Path("/elsewhere/p.yaml")
    assert phones_file(tmp_path, file, {"HEARTH_PHONES": "p.yaml"}) == tmp_path / "p.yaml"
