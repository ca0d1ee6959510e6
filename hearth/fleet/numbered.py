"""Guests with `count`: one entry of the file, several guests with a number each, addresses from a range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import PlainValidator

from hearth.fleet import addresses as a
from hearth.fleet import scalars as s
from hearth.fleet.entries import GuestEntry
from hearth.fleet.mistakes import Place, Report, WrongError
from hearth.fleet.sections import check_name, entry, require

MOST = 100  # guests of one entry
ALONE = ("mac", "devices")  # what two of them cannot both have

T = TypeVar("T", IPv4Address, IPv6Address)


@dataclass(frozen=True)
class Range(Generic[T]):
    """Addresses from the first to the last one, both counted."""

    first: T
    last: T

    @property
    def size(self) -> int:
        """How many there are."""
        return int(self.last) - int(self.first) + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def range4(value: object) -> Range[IPv4Address]:
    """192.168.1.150-192.168.1.159, or in short 192.168.1.150-159."""
    first, last = _ends(value, "192.168.1.150-159", ".", a.v4)
    return _ordered(value, a.v4(first), a.v4(last))


def range6(value: object) -> Range[IPv6Address] | Literal["dhcp", "auto"]:
    """fd00::150-fd00::159, or in short fd00::150-159; dhcp and auto as for one guest."""
    if value == "dhcp":
        return "dhcp"
    if value == "auto":
        return "auto"
    first, last = _ends(value, "fd00::150-159", ":", a.v6)
    return _ordered(value, a.v6(first), a.v6(last))


def _ends(value: object, example: str, dot: str, single: Any) -> tuple[str, str]:
    first, dash, last = s.text(value).partition("-")
    if not dash:
        single(first)  # where it is no address at all, that is what is wrong
        raise WrongError(f"{s.show(value)} is one address, and there are several guests", f"write {example}")
    if dot not in last:
        last = first.rpartition(dot)[0] + dot + last
    return first, last


def _ordered(value: object, first: T, last: T) -> Range[T]:
    if last < first:
        raise WrongError(f"{s.show(value)} ends before it begins", f"write {last}-{first}")
    return Range(first, last)


class NumberedEntry(GuestEntry):
    """guests.NAME with count"""

    count: Annotated[int, PlainValidator(s.whole(1, MOST))] | None = None
    address: Annotated[Range[IPv4Address], PlainValidator(range4)] | None = None  # type: ignore[assignment]
    address6: Annotated[Any, PlainValidator(range6)] = None


def own_entries(
    name: str, raw: Mapping[str, Any], place: Place, report: Report
) -> Iterator[tuple[str, str | None, GuestEntry]]:
    """The guests of one entry: (name, the entry's name where it has `count`, their own keys).

    Args:
        name: the entry's name. raw: its keys. place: where it stands.
        report: told of mistakes; those that all the guests share are told once.
    """
    if "count" not in raw:
        yield name, None, entry(GuestEntry, raw, place, report)
        return
    given = entry(NumberedEntry, raw, place, report)
    for key in ALONE:
        if key in given.model_fields_set:
            report.add((*place, key), "cannot be several guests'", "remove it, or write guests without count")
    for number in range(1, _possible(given, place, report) + 1):
        numbered = f"{name}-{number}"
        report.numbered[numbered] = name
        check_name(a.label, numbered, place, report)
        yield numbered, name, _one(given, number)


def _possible(given: NumberedEntry, place: Place, report: Report) -> int:
    """How many guests are made: those with addresses, so that what else is wrong is found too."""
    count = given.count or 1  # a wrong count is reported already
    if not given.appliance:
        require((*place, "address"), given.address, report, "write a range, e.g. 192.168.1.150-159")
    for key in ("address", "address6"):
        found = getattr(given, key)
        if isinstance(found, Range) and found.size < (given.count or 1):
            report.add(
                (*place, key),
                f"{found} has {found.size} addresses, and count is {given.count}",
                "write a longer range, or a smaller count",
            )
            count = min(count, found.size)
    return count


def _one(given: NumberedEntry, number: int) -> GuestEntry:
    values = {key: getattr(given, key) for key in given.model_fields_set - {"count", *ALONE}}
    for key in ("address", "address6"):
        if isinstance(values.get(key), Range):
            values[key] = _nth(values[key], number)
    if values.get("vmid") is not None:
        values["vmid"] += number - 1
    return GuestEntry.model_construct(**values)


def _nth(found: Range[IPv4Address] | Range[IPv6Address], number: int) -> IPv4Address | IPv6Address:
    return found.first + (number - 1)


def taken(names: Mapping[str, object], report: Report) -> None:
    """Report a guest of the file that has the name of a numbered one.

    Args:
        names: the entries of the file.
        report: knows the numbered ones.
    """
    for numbered, group in report.numbered.items():
        if numbered in names:
            wrong = f"{group} has a guest of this name, for it has a count"
            report.add(("guests", numbered), wrong, "give one of them another name")
