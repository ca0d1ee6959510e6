"""Adding, renewing and ending phones: list and secrets agree in the end, wherever it is cut off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hearth.errors import HearthError
from hearth.phones import credentials as phone_credentials
from hearth.phones.credentials import Credentials
from hearth.phones.registry import Phone, Phones, change_phones, check_name, load_phones
from hearth.pki import Authority
from hearth.secrets import SecretStore


@dataclass(frozen=True)
class Added:
    """What `add` did.

    Args:
        phone: what is listed of it now.
        credentials: what it proves itself with.
        issued: whether they are new.
    """

    phone: Phone
    credentials: Credentials
    issued: bool


class Keeper:
    """Who changes the list of phones.

    Args:
        path: the list (hearth.phones.registry).
        store: the secrets.
        authority: signs the phones' certificates.
    """

    def __init__(self, path: Path, store: SecretStore, authority: Authority) -> None:
        self._path, self._store, self._authority = path, store, authority

    @property
    def phones(self) -> Phones:
        """The list as it is."""
        return load_phones(self._path)

    def add(self, name: str, renew: bool = False, biometric: bool | None = None) -> Added:
        """Make a phone's credentials, or take those that it has.

        The secrets are on disk before the phone is listed. Cut off between the two, the next call begins anew
        (nobody has seen the credentials), or after a renewal ends the former certificate.

        Args:
            name: the phone.
            renew: make new ones; the former end.
            biometric: whether the app asks for a finger or a face; None: as it is, yes for a new phone.

        Raises:
            HearthError: no such name, a damaged secret, or nothing can be written.
        """
        listed = self.phones.present.get(check_name(name))
        found = phone_credentials.kept(self._store, name) if listed and not renew else None
        given = found or phone_credentials.new(self._store, self._authority, name)
        self._store.save()
        asks = biometric if biometric is not None else listed.biometric if listed else True
        phone = Phone(serial=given.serial, until=given.until, biometric=asks)
        change_phones(self._path, self._listing(name, phone))
        return Added(phone, given, found is None)

    def revoke(self, name: str) -> bool:
        """End a phone: it is no longer listed, and its credentials are forgotten.

        Args:
            name: the phone.

        Returns:
            True where it was still listed; False where an earlier call ended it.

        Raises:
            HearthError: there never was such a phone, or nothing can be written.
        """
        before = self.phones
        if check_name(name) not in before.present and name not in before.gone:
            there = f"there is {', '.join(before.names)}" if before.names else "hearth android list"
            raise HearthError(f"revoke the phone {name}", "there is none of this name", there)
        change_phones(self._path, lambda now: now.without(name) if name in now.present else now)
        phone_credentials.forget(self._store, name)
        self._store.save()
        return name in before.present

    def _listing(self, name: str, phone: Phone) -> Callable[[Phones], Phones]:
        return lambda now: now.with_phone(name, phone)
