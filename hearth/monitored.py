"""Questions to the home's own monitoring: Prometheus and Alertmanager, over TLS with the home's authority."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httpx

from hearth.errors import HearthError
from hearth.fleet.model import Fleet
from hearth.pki import Authority
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Role
from hearth.secrets import Secret, SecretStore

SECONDS: Final = 20.0  # for one answer
USER: Final = "admin"  # the login of people; its password is the secret ROLE/admin


class RunLike(Protocol):
    """What `place_of` takes from the run (hearth.run.Run)."""

    @property
    def fleet(self) -> Fleet: ...
    @property
    def roles(self) -> Mapping[str, Role]: ...
    @property
    def secrets(self) -> SecretStore: ...
    @property
    def authority(self) -> Authority: ...


@dataclass(frozen=True)
class Place:
    """Where one of them answers.

    Args:
        name: for errors: "Prometheus on monitoring".
        url: without a slash at the end.
        ca_pem: the authority of its certificate; empty: the system's.
        user: its login; empty: it asks for none.
        password: the login's password.
    """

    name: str
    url: str
    ca_pem: str = ""
    user: str = ""
    password: Secret | None = None

    def ask(self, path: str, **query: str) -> Any:
        """The answer to a GET, parsed.

        Args:
            path: with its slash.
            query: the query.

        Raises:
            HearthError: it does not answer, refuses, or answers something else than JSON.
        """
        login = (self.user, self.password.reveal()) if self.user and self.password else None
        verify: ssl.SSLContext | bool = (
            ssl.create_default_context(cadata=self.ca_pem) if self.ca_pem else True
        )
        try:
            # Not through a proxy: it is at home.
            with httpx.Client(verify=verify, auth=login, timeout=SECONDS, trust_env=False) as client:
                answer = client.get(f"{self.url}{path}", params=query)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise HearthError(f"ask {self.name}", reason, "is its guest up? `hearth doctor`") from None
        if answer.status_code != httpx.codes.OK:
            raise HearthError(f"ask {self.name}", f"it answered {answer.status_code}: {answer.text[:200]}")
        try:
            return answer.json()
        except ValueError:
            raise HearthError(f"ask {self.name}", "its answer is no JSON", f"is {self.url} it?") from None


def place_of(run: RunLike, role: str, port: str, called: str) -> Place | None:
    """Where a program of the monitoring is reached; None where the fleet has none.

    Args:
        run: the run.
        role, port: what serves it.
        called: its name, for errors.

    Raises:
        HearthError: its guest has no fixed address, or the secrets cannot be opened.
    """
    guest = next(iter(run.fleet.with_role(role)), None)
    if guest is None:
        return None
    addresses = fixed_addresses(guest)
    if not addresses:
        raise HearthError(f"ask {called} on {guest.name}", "the guest has no fixed address")
    host = str(addresses[0]) if addresses[0].version == 4 else f"[{addresses[0]}]"  # noqa: PLR2004
    served = run.roles[role].port(port)
    scheme = "https" if served.tls else "http"
    return Place(
        f"{called} on {guest.name}",
        f"{scheme}://{host}:{served.number}",
        run.authority.ca_pem if served.tls else "",
        USER,
        run.secrets.find(f"{role}/{USER}"),
    )
