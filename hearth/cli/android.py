"""`hearth android`: phones that come in from outside."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import click

from hearth.doctor.examine import Home
from hearth.durable import write_durably
from hearth.errors import HearthError
from hearth.fleet.model import Fleet
from hearth.phones.bundle import Parcel, sealed
from hearth.phones.keeper import Added, Keeper
from hearth.phones.page import page
from hearth.phones.places import places
from hearth.phones.registry import Phones, load_phones, phones_file
from hearth.pki import Authority
from hearth.role.catalogue import load_roles
from hearth.secrets.age import check_recipient

FOLDER = "phones"  # of the state folder
ROLES = ("mosquitto", "front", "home_assistant")  # where a phone is let in
SOON = 60  # days


@click.group()
def android() -> None:
    """Phones that come in from outside: certificates, logins, bundles."""


@android.command()
@click.argument("name")
@click.option("--renew", is_flag=True, help="New certificate and passwords; the former end.")
@click.option("--biometric/--no-biometric", default=None, help="Whether the app asks for a finger or face.")
@click.option("--recipient", "recipients", multiple=True, metavar="age1...", help="Who opens the bundle.")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), help="Where to write (default: .hearth/phones)."
)
@click.pass_obj
def add(
    home: Home,
    name: str,
    *,
    renew: bool,
    biometric: bool | None,
    recipients: tuple[str, ...],
    folder: Path | None,
) -> None:
    """Write the encrypted bundle and the printable page of the phone NAME.

    A phone that there is keeps its certificate and passwords: the same bundle is written again.
    """
    keys = tuple(check_recipient(text) for text in recipients)
    fleet = home.load_fleet()
    where = places(fleet, load_roles(home.project / "roles"))
    store = home.secrets
    authority = Authority(store)
    added = Keeper(_file(home), store, authority).add(name, renew, biometric)
    parcel = Parcel(name, added.phone, added.credentials, where, authority.ca_pem, authority.pins())
    target = folder or _folder(home)
    bundle, sheet = target / f"{name}.age", target / f"{name}.html"
    text = page(parcel, bundle.name, datetime.now(UTC).date(), sealed_for_keys=bool(keys))
    _write({bundle: sealed(parcel, keys), sheet: text.encode()})
    click.echo(bundle)
    click.echo(sheet)
    _tell_added(name, added, bool(keys))


def _tell_added(name: str, added: Added, for_keys: bool) -> None:
    if added.issued:
        click.echo(f"hearth: {name} is let in by the next deploy: pyinfra inventory deploy.py", err=True)
    else:
        click.echo(f"hearth: {name} keeps its certificate and passwords (--renew makes new ones)", err=True)
    if not for_keys:
        click.echo("hearth: the page opens the bundle: keep the two apart", err=True)


def _write(files: Mapping[Path, bytes]) -> None:
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_durably(path, content)
        except OSError as error:
            raise HearthError(f"write {path}", error.strerror or str(error)) from None


@android.command("list")
@click.option("--all", "everything", is_flag=True, help="Also certificates that have ended.")
@click.pass_obj
def list_phones(home: Home, everything: bool) -> None:
    """Print the phones, their certificates' last days and serial numbers."""
    for line in lines(load_phones(_file(home)), datetime.now(UTC).date(), everything):
        click.echo(line)


def lines(phones: Phones, today: date, everything: bool) -> list[str]:
    """One line a phone, and where asked one for each certificate that has ended."""
    width = max([0, *map(len, phones.names), *(len(each.name) for each in phones.ended if everything)])
    found = []
    for name in phones.names:
        phone = phones.present[name]
        lock = "biometric" if phone.biometric else "no lock  "
        found.append(f"{name:{width}}  {phone.until}  {lock}  {phone.serial}{_due(phone.until, today)}")
    if everything:
        found += [f"{each.name:{width}}  {each.until}  ended      {each.serial}" for each in phones.ended]
    return found


def _due(until: date, today: date) -> str:
    left = (until - today).days
    if left < 0:
        return "  run out: hearth android add --renew"
    return f"  {left} days left: hearth android add --renew" if left < SOON else ""


@android.command()
@click.argument("name")
@click.option("--now", is_flag=True, help="Deploy at once to the guests that let phones in.")
@click.pass_obj
def revoke(home: Home, name: str, now: bool) -> int:
    """End the phone NAME: at the broker, at the front and at Home Assistant, with the next deploy."""
    store = home.secrets
    listed = Keeper(_file(home), store, Authority(store)).revoke(name)
    _discard(_folder(home), name)
    said = "has ended" if listed else "had ended already"
    if not now:
        click.echo(
            f"hearth: {name} {said}; the next deploy shuts it out: pyinfra inventory deploy.py", err=True
        )
        return 0
    click.echo(f"hearth: {name} {said}; deploying", err=True)
    return deploy(home, concerned(home.load_fleet()))


def _discard(folder: Path, name: str) -> None:
    for path in (folder / f"{name}.age", folder / f"{name}.html"):
        path.unlink(missing_ok=True)


def concerned(fleet: Fleet) -> tuple[str, ...]:
    """The guests at which a phone is let in or shut out."""
    found = {guest.name for role in ROLES for guest in fleet.with_role(role) if not guest.appliance}
    return tuple(guest.name for guest in fleet.guests if guest.name in found)


def deploy(home: Home, guests: Sequence[str]) -> int:
    """Run the deploy for these guests; its exit code.

    Raises:
        HearthError: pyinfra is not there, or no guest lets phones in.
    """
    beside = Path(sys.executable).with_name("pyinfra")
    found = str(beside) if beside.exists() else shutil.which("pyinfra", path=home.environ.get("PATH"))
    if not guests or found is None:
        reason = "no guest lets phones in" if found else "pyinfra is not installed here"
        raise HearthError("deploy at once", reason, "pyinfra inventory deploy.py")
    limits = [word for name in guests for word in ("--limit", name)]
    command = [found, "inventory", "deploy.py", "-y", *limits]
    return subprocess.run(command, cwd=home.project, env=dict(home.environ), check=False).returncode


def _file(home: Home) -> Path:
    return phones_file(home.project, home.fleet_file, home.environ)


def _folder(home: Home) -> Path:
    return home.project / (home.environ.get("HEARTH_STATE_DIR") or ".hearth") / FOLDER
