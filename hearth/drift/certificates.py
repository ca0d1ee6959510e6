"""The certificates that the home keeps: due, for other names, not our CA's. Pure, of what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from hearth.drift.finding import Finding
from hearth.pki.authority import RENEW
from hearth.pki.certificates import Names, names_of, signed_by


@dataclass(frozen=True)
class Kept:
    """A guest's certificate.

    Args:
        guest: its guest.
        wanted: what it has to be valid for.
        certificate: the stored one; None where there is none.
    """

    guest: str
    wanted: Names
    certificate: x509.Certificate | None


def of_certificate(kept: Kept, authority: x509.Certificate | None, now: datetime) -> Iterator[Finding]:
    """What of a guest's certificate is otherwise.

    Args:
        kept: it.
        authority: the home's CA; None before it is made.
        now: the time, UTC.
    """

    def found(field: str, there: str, wanted: str) -> Finding:
        return Finding(kept.guest, "certificate", kept.guest, field, there, wanted)

    certificate = kept.certificate
    if certificate is None:
        yield found("certificate", "missing", "there")
        return
    end = certificate.not_valid_after_utc
    if end <= now:
        yield found("end", f"it ended on {end:%Y-%m-%d}", "renewed")
    elif end - now < RENEW:
        yield found("end", f"{end:%Y-%m-%d}, in {(end - now).days} days", "renewed: a deploy does it")
    there = names_of(certificate)
    if there != kept.wanted:
        yield found("names", _listed(there), _listed(kept.wanted))
    if authority is None or not signed_by(certificate, authority):
        yield found("issuer", "somebody else", "the home's CA")


def _listed(names: Names) -> str:
    return ", ".join(sorted(map(str, names))) or "none"
