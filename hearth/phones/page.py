"""The page that is printed for a phone: QR codes and how to set it up. Nothing of it is from elsewhere.

It opens the bundle, and holds no password: page and bundle are each of no use alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import segno
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hearth.phones.bundle import Parcel
from hearth.phones.registry import topics_of, user_of

QUIET = 4  # modules around a QR code, ISO/IEC 18004, 5.3.8
TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Code:
    """A QR code with its words.

    Args:
        title: what it is.
        what: what it is for.
        text: what the code says, in full.
        big: whether a person may have to type it.
    """

    title: str
    what: str
    text: str
    big: bool = False

    @property
    def svg(self) -> Markup:
        """The code, black on white whatever the page's colours are: some readers take nothing else."""
        drawn = segno.make_qr(self.text, error="m")
        return Markup(drawn.svg_inline(border=QUIET, dark="#000", light="#fff", omitsize=True))


def page(parcel: Parcel, bundle: str, made: date, sealed_for_keys: bool = False) -> str:
    """The page, HTML.

    Args:
        parcel: the phone.
        bundle: the bundle's file name.
        made: today.
        sealed_for_keys: the bundle is for age keys: then the page has no passphrase. Else it is secret.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    where = parcel.places
    return environment.get_template(TEMPLATE).render(
        name=parcel.name,
        user=user_of(parcel.name),
        made=made,
        until=parcel.phone.until,
        serial=parcel.phone.serial,
        biometric=parcel.phone.biometric,
        bundle=bundle,
        passphrase=not sealed_for_keys,
        codes=codes(parcel, sealed_for_keys),
        invitation=where.invitation,
        services=tuple(where.services.values()),
        topics=topics_of(parcel.name) if where.broker else None,
    )


def codes(parcel: Parcel, sealed_for_keys: bool = False) -> tuple[Code, ...]:
    """The page's QR codes. The passphrase is secret."""
    found: list[Code] = []
    if not sealed_for_keys:
        text = parcel.credentials.bundle.reveal()
        found.append(Code("Bundle passphrase", "Opens the encrypted file.", text, big=True))
    invitation = parcel.places.invitation
    if invitation:
        found.append(Code("Home Assistant", "Opens its app and adds this home.", invitation))
    pins = "\n".join(f"sha256/{value}" for value in parcel.pins)
    found.append(Code("What the app trusts", "The keys of the home's CA, and of the next one.", pins))
    return tuple(found)
