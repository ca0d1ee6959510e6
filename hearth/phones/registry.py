"""The phones there are, and those that were: `inventory/phones.yaml`. It holds no secret.

The `hearth` command writes it, every deploy reads it: the broker's users, the front's list of certificates
and the logins at Home Assistant follow from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hearth.durable import locked, write_durably
from hearth.errors import HearthError

VARIABLE = "HEARTH_PHONES"
FILE = "phones.yaml"
HEAD = "# Written by `hearth android`: who may come in from outside, and who no longer. It holds no secret.\n"
# A name becomes a part of MQTT topics and user names, of secrets' names and of files' names.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
SERIAL = r"(?:[0-9A-F]{2}){1,20}"  # of at most 20 bytes: RFC 5280, 4.1.2.2


class Phone(BaseModel):
    """A phone's certificate and what the app is told.

    Args:
        serial: the certificate's serial number, whole bytes in upper case hex, as HAProxy shows it.
        until: the certificate's last day, UTC.
        biometric: the app asks for a finger or a face before it opens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    serial: str = Field(pattern=f"^{SERIAL}$")
    until: date
    biometric: bool = True


class Ended(BaseModel):
    """A certificate that is refused, though it may not have run out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    serial: str = Field(pattern=f"^{SERIAL}$")
    until: date


@dataclass(frozen=True)
class Phones:
    """All of the file.

    Args:
        present: name -> phone.
        ended: certificates of phones that were revoked or renewed, oldest first.
    """

    present: Mapping[str, Phone] = field(default_factory=dict)
    ended: tuple[Ended, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The phones' names, sorted."""
        return tuple(sorted(self.present))

    @property
    def gone(self) -> tuple[str, ...]:
        """The names of phones that are no more, sorted."""
        return tuple(sorted({each.name for each in self.ended} - set(self.present)))

    @property
    def serials(self) -> tuple[str, ...]:
        """The certificates that are let in, by the phones' names."""
        return tuple(self.present[name].serial for name in self.names)

    def with_phone(self, name: str, phone: Phone) -> Phones:
        """With this phone; where its certificate is another than before, the former one has ended."""
        before = self.present.get(name)
        ended = self.ended
        if before and before.serial != phone.serial:
            ended = (*ended, Ended(name=name, serial=before.serial, until=before.until))
        return replace(self, present={**self.present, name: phone}, ended=ended)

    def without(self, name: str) -> Phones:
        """With this phone ended; KeyError where there is none."""
        phone = self.present[name]
        kept = {other: each for other, each in self.present.items() if other != name}
        return Phones(kept, (*self.ended, Ended(name=name, serial=phone.serial, until=phone.until)))


def user_of(name: str) -> str:
    """A phone's user name, at the broker and at Home Assistant."""
    return f"phone-{name}"


def topics_of(name: str) -> str:
    """The one topic filter that a phone may publish and subscribe to."""
    return f"phones/{name}/#"


def check_name(name: str) -> str:
    """The name if it is one.

    Raises:
        HearthError: it is not.
    """
    if not NAME.fullmatch(name):
        remedy = "use up to 32 small letters, digits and hyphens, e.g. anna-pixel"
        raise HearthError(f"use {name!r} as a phone's name", "it has other characters, or too many", remedy)
    return name


def phones_file(project: Path, fleet_file: Path, environ: Mapping[str, str]) -> Path:
    """Where the phones are listed: HEARTH_PHONES (from the project's folder), or beside the fleet file."""
    named = environ.get(VARIABLE)
    return project / named if named else fleet_file.with_name(FILE)


def load_phones(path: Path) -> Phones:
    """The file's content; nothing where there is no file.

    Raises:
        HearthError: it cannot be read, or is not as this module writes it.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Phones()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unreadable(path, " ".join(str(error).split())) from None
    try:
        return _parsed(found if found is not None else {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _unreadable(path, f"{where}: {first['msg']}") from None
    except (TypeError, ValueError, HearthError) as error:
        raise _unreadable(path, str(error)) from None


def _parsed(found: Any) -> Phones:
    if not isinstance(found, dict) or not set(found) <= {"phones", "ended"}:
        raise ValueError("it is no mapping with `phones` and `ended`")
    listed, over = found.get("phones") or {}, found.get("ended") or []
    if not isinstance(listed, dict) or not isinstance(over, list):
        raise ValueError("`phones` is a mapping, and `ended` a list")
    present = {check_name(str(name)): Phone.model_validate(value) for name, value in listed.items()}
    ended = tuple(Ended.model_validate(value) for value in over)
    both = {phone.serial for phone in present.values()} & {each.serial for each in ended}
    if both:  # a merge of two branches that went wrong must not let somebody back in
        raise ValueError(f"the certificate {sorted(both)[0]} is under `phones` and under `ended`")
    return Phones(present, ended)


def change_phones(path: Path, change: Callable[[Phones], Phones]) -> Phones:
    """Replace the file's content by what `change` makes of it, no other process writing meanwhile.

    Raises:
        HearthError: it cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent):
            before = load_phones(path)
            after = change(before)
            if after != before:
                write_durably(path, _text(after).encode(), mode=0o644)
    except OSError as error:
        raise HearthError(f"write {path}", error.strerror or str(error)) from None
    return after


def _text(phones: Phones) -> str:
    content = {
        "phones": {name: phones.present[name].model_dump() for name in phones.names},
        "ended": [each.model_dump() for each in phones.ended],
    }
    return HEAD + yaml.safe_dump(content, sort_keys=False)


def _unreadable(path: Path, reason: str) -> HearthError:
    return HearthError(f"read the phones in {path}", reason, f"git checkout -- {path}, or mend it")
