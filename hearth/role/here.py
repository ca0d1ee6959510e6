"""What a role's deploy function is given: where it is, and what the fleet says around it.

Deploy functions run while pyinfra prepares, when the guest may not exist yet: every fact then gives its
default. So a role never branches in Python on what a guest's facts say; it branches on the fleet, and on
operations through `_if`.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from hearth.errors import HearthError
from hearth.ops.files import File
from hearth.role.certificates import certificate_for, fixed_addresses, host_names
from hearth.role.declaration import Port, Role
from hearth.role.loud import LEVEL, WORD, loud_until

if TYPE_CHECKING:
    from hearth.fleet.model import Fleet, Guest
    from hearth.known_hosts import KnownHosts
    from hearth.phones.registry import Phones
    from hearth.pki import Authority, Leaf
    from hearth.secrets import SecretStore


class Restoring(Protocol):
    """What brings the state of roles back (hearth.deploy.restore)."""

    def state(self, here: Here) -> None:
        """Bring a role's state back here: an operation."""
        ...

    def done(self, here: Here) -> None:
        """All of the role is deployed: an operation that notes it."""
        ...


class RunLike(Protocol):
    """What Here takes from the run (hearth.run.Run)."""

    @property
    def project(self) -> Path: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def roles(self) -> Mapping[str, Role]: ...
    @property
    def secrets(self) -> SecretStore: ...
    @property
    def authority(self) -> Authority: ...
    @property
    def phones(self) -> Phones: ...
    @property
    def known_hosts(self) -> KnownHosts: ...
    @property
    def restoring(self) -> Restoring | None: ...


@dataclass(frozen=True)
class Provider:
    """A guest that serves a port.

    Args:
        guest: the guest.
        port: the port.
    """

    guest: Guest
    port: Port


class Here:
    """One role on one guest.

    Args:
        run: the run.
        guest: the guest being prepared.
        host: its pyinfra host; `host.data` has the values of group_data.
        role: the role whose deploy function is called.
        calm: its log level is the usual one, also while `log_debug` of group_data says otherwise.
    """

    def __init__(self, run: RunLike, guest: Guest, host: Any, role: Role, calm: bool = False) -> None:
        self.run = run
        self.calm = calm
        self.guest = guest
        self.host = host
        self.role = role
        self._restored = False

    @property
    def fleet(self) -> Fleet:
        """The whole fleet."""
        return self.run.fleet

    @property
    def roles(self) -> Mapping[str, Role]:
        """Every role there is, by name."""
        return self.run.roles

    @property
    def secrets(self) -> SecretStore:
        """The store; `ensure(name, generate)` generates what is missing."""
        return self.run.secrets

    @property
    def authority(self) -> Authority:
        """The fleet's own certificate authority."""
        return self.run.authority

    @property
    def phones(self) -> Phones:
        """The phones that may come in from outside, and those that no longer may."""
        return self.run.phones

    def value(self, name: str) -> Any:
        """A value of group_data/<role>.py, asked for without the role's prefix: `here.value("log_level")`.

        `log_level` is "debug" while `log_debug` of group_data says so.

        Raises:
            HearthError: neither group_data nor the guest has it.
        """
        if name == LEVEL and not self.calm and self.loud_until:
            return WORD
        full = f"{self.role.name}_{name}"
        try:
            return getattr(self.host.data, full)
        except AttributeError:
            raise HearthError(
                f"deploy {self.role.name} on {self.guest.name}",
                f"{full} is not set",
                f"set it in group_data/{self.role.name}.py",
            ) from None

    @cached_property
    def loud_until(self) -> datetime | None:
        """Until when this role logs at debug level here (`log_debug`); None: it does not.

        Raises:
            HearthError: see `hearth.role.loud.loud_until`; or the role has no log level that could come back.
        """
        value = getattr(self.host.data, "log_debug", {})
        zone = self.fleet.admin.timezone
        found = loud_until(value, self.role.name, self.guest.name, zone, datetime.now(UTC))
        if found is not None and self.role.logging is None:
            raise HearthError(
                "use log_debug",
                f"role {self.role.name} has no level that would come back by itself",
                f"take {self.role.name} out of log_debug in group_data/all.py",
            )
        return found

    def calmly(self) -> Here:
        """The same at its usual log level."""
        return Here(self.run, self.guest, self.host, self.role, calm=True)

    def number(self, name: str, least: int = 1) -> int:
        """A value of group_data that is a whole number of at least `least`; see `value`.

        Raises:
            HearthError: it is not set, no whole number, or too small.
        """
        found = self.value(name)
        if isinstance(found, bool) or not isinstance(found, int) or found < least:
            raise HearthError(
                f"deploy {self.role.name} on {self.guest.name}",
                f"{self.role.name}_{name} is {found!r}",
                f"write a whole number of at least {least} into group_data/{self.role.name}.py",
            )
        return found

    def refuse_a_second_guest(self, why: str) -> None:
        """Refuse a role that only one guest of the fleet can have.

        Raises:
            HearthError: several have it; `why` says what they would share.
        """
        guests = [guest.name for guest in self.fleet.with_role(self.role.name)]
        if len(guests) > 1:
            raise HearthError(
                f"deploy {self.role.name}",
                f"{', '.join(guests)} have the role: {why}",
                "give it to one guest",
            )

    def restore_state(self) -> None:
        """The place where restore.py brings this role's state back; any other run does nothing here.

        A role whose service must never start without its state calls it once user and folder are there. After
        the deploy function it is called anyway; the second time it does nothing.
        """
        if self.run.restoring is not None and self.role.state and not self._restored:
            self.run.restoring.state(self)
        self._restored = True

    def port(self, name: str) -> Port:
        """A port of this role by its name; KeyError when there is none."""
        return self.role.port(name)

    def providers(self, address: str) -> tuple[Provider, ...]:
        """The guests that serve `role.port`, in the fleet's order: `here.providers("mosquitto.mqtts")`."""
        role, _, port = address.partition(".")
        found = self.roles[role].port(port)
        return tuple(Provider(guest, found) for guest in self.fleet.with_role(role))

    def certificate(self) -> Leaf:
        """This guest's certificate and key.

        Raises:
            HearthError: none of its roles declares a TLS port.
        """
        names = certificate_for(self.guest, self.fleet, self.roles)
        if names is None:
            raise HearthError(
                f"give {self.guest.name} a certificate",
                "none of its roles serves TLS",
                "declare a port with tls=True",
            )
        return self.authority.leaf(self.guest.name, names.names, names.addresses)

    def packages(self) -> tuple[str, ...]:
        """The Debian packages of all roles of this guest, sorted."""
        return tuple(sorted({name for role in self.guest.roles for name in self.roles[role].packages}))

    def host_lines(self) -> tuple[str, ...]:
        """Lines of /etc/hosts for every guest and node with a fixed address, this guest's own first."""
        guests = sorted(self.fleet.guests, key=lambda guest: guest.name != self.guest.name)
        lines = [
            _host_line(address, host_names(guest, self.fleet))
            for guest in guests
            for address in fixed_addresses(guest)
        ]
        taken = {guest.name for guest in guests}
        return (
            *lines,
            *(f"{node.address} {node.name}" for node in self.fleet.nodes if node.name not in taken),
        )

    def template(self, source: str, path: str, **attributes: Any) -> File:
        """Render templates/<role>/<source> to a file of the guest.

        The template sees `here` and whatever is in `values`; an undefined name is an error. Templates of
        templates/_shared can be imported.

        Args:
            source: the template's name within the role's folder.
            path: absolute path on the guest.
            attributes: `values`, a mapping for the template; `late=True`: render it again at execution, for
                secrets that an earlier operation brings; the rest goes to `hearth.ops.files.File`.

        Raises:
            HearthError: the template is missing or cannot be rendered; its line is named.
        """
        values, late = attributes.pop("values", {}), attributes.pop("late", False)
        text = partial(self.render, source, **values) if late else self.render(source, **values)
        return File(path, text, **attributes)

    def render(self, source: str, **values: Any) -> str:
        """The text of templates/<role>/<source>; see `template`."""
        folder = self.run.project / "templates" / self.role.name
        environment = Environment(
            loader=FileSystemLoader([folder, folder.parent / "_shared"]),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        try:
            return environment.get_template(source).render(here=self, **values)
        except TemplateError as error:
            line = getattr(error, "lineno", None) or _template_line(error, folder)
            where = f"{folder / source}:{line}" if line else str(folder / source)
            raise HearthError(f"render {where}", str(error) or type(error).__name__) from error


def _template_line(error: TemplateError, folder: Path) -> int | None:
    """Jinja puts the template's own lines into the traceback; the deepest one is meant."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if folder in Path(frame.filename).parents), None)


def _host_line(address: IPv4Address | IPv6Address, names: tuple[str, ...]) -> str:
    # The full name first: that is what `hostname --fqdn` answers, hosts(5).
    return " ".join([str(address), *reversed(names)])
