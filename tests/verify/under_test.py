"""The fleet that is being verified: whatever the fleet file describes, in the twin or at home."""

from __future__ import annotations

import io
import os
import ssl
from functools import cached_property
from pathlib import Path
from typing import Any

import paramiko
import pytest
import testinfra

from hearth.firewall.flows import Flow, flows
from hearth.firewall.settings import read_settings
from hearth.fleet.loader import load_fleet
from hearth.fleet.model import Fleet, Guest
from hearth.known_hosts import KnownHosts
from hearth.path import addresses_towards
from hearth.role.acl import VERIFIER
from hearth.role.catalogue import load_roles
from hearth.role.certificates import fixed_addresses
from hearth.role.declaration import Role
from hearth.role.served import Served, served
from hearth.secrets import SecretStore
from hearth.values import tuned

PROJECT = Path(__file__).parents[2]
TIMEOUT = 15  # seconds


class UnderTest:
    """What the checks need of the fleet; nothing is generated and nothing is written.

    It reads what hearth.run.Run reads, from the same places, without pyinfra's command line: that one turns
    Python's threads into greenlets.
    """

    def __init__(self, project: Path = PROJECT) -> None:
        state = project / os.environ.get("HEARTH_STATE_DIR", ".hearth")
        self.roles: dict[str, Role] = load_roles(project / "roles")
        self.fleet: Fleet = load_fleet(
            project / os.environ.get("HEARTH_FLEET", "inventory/fleet.yaml"), self.roles
        )
        self.secrets = SecretStore.from_environment(project, os.environ)
        self.known_hosts = KnownHosts(state / "known_hosts")
        self.values: dict[str, Any] = tuned(project, os.environ)
        self._hosts: dict[str, Any] = {}

    @property
    def guests(self) -> list[Guest]:
        """The guests that are ours inside: appliances are not."""
        return [guest for guest in self.fleet.guests if not guest.appliance]

    def guests_for(self, module: str) -> list[Guest]:
        """The guests that a test file is about: test_<role>.py those with the role, any other file all."""
        role = module.rpartition(".")[2].removeprefix("test_")
        return [guest for guest in self.guests if role not in self.roles or role in guest.roles]

    @property
    def ports(self) -> tuple[Served, ...]:
        """Every port that the fleet's roles provide."""
        return served(self.fleet, self.roles)

    @cached_property
    def table(self) -> tuple[Flow, ...]:
        """Who may reach what."""
        return flows(self.fleet, self.roles, read_settings(self.values, self.fleet, self._own))

    @cached_property
    def _own(self) -> tuple[Any, ...]:
        return addresses_towards(self.fleet)

    @property
    def walled(self) -> bool:
        """Whether a wall stands between this machine and the guests."""
        return self.fleet.firewall or bool(self.values["wall_enabled"])

    def may_reach(self, guest: Guest, port: int, protocol: str = "tcp") -> bool:
        """Whether a guest's port is to answer this machine."""
        return not self.walled or any(
            (flow.guest, flow.port, flow.protocol) == (guest.name, port, protocol) and own in flow.sources
            for flow in self.table
            for own in self._own
        )

    def secret(self, name: str) -> str:
        """A secret that the deploy has made; the test fails where there is none."""
        found = self.secrets.find(name)
        if found is None:
            pytest.fail(f"there is no secret {name}: has this fleet been deployed from here?")
        return found.reveal()

    @cached_property
    def authority(self) -> str:
        """The fleet's CA certificate, PEM."""
        return self.secret("ca/cert")

    def tls(self) -> ssl.SSLContext:
        """TLS that trusts the fleet's CA and nobody else."""
        return ssl.create_default_context(cadata=self.authority)

    def old_tls(self) -> ssl.SSLContext:
        """TLS 1.0 and 1.1 only, as an old client has it."""
        context = self.tls()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context

    @property
    def verifier(self) -> tuple[str, str]:
        """User name and password of the MQTT user for checks."""
        return self.mqtt(VERIFIER)

    def mqtt(self, user: str) -> tuple[str, str]:
        """The login name and the password of a service's MQTT user: the name changes with a rotation."""
        login = self.secrets.find(f"mqtt-login/{user}")
        return login.reveal() if login else user, self.secret(f"mqtt/{user}")

    def login(self, guest: Guest) -> paramiko.SSHClient:
        """A new SSH connection as root, with Hearth's key, to a host whose key is known."""
        client = paramiko.SSHClient()
        client.load_host_keys(str(self.known_hosts.path))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        key = paramiko.Ed25519Key.from_private_key(io.StringIO(self.secret("ssh/deploy")))
        client.connect(
            address_of(guest),
            username="root",
            pkey=key,
            timeout=TIMEOUT,
            allow_agent=False,
            look_for_keys=False,
        )
        return client

    def host(self, guest: Guest) -> Any:
        """testinfra's host, logged in once a session."""
        if guest.name not in self._hosts:
            host = testinfra.get_host(f"paramiko://root@{address_of(guest)}")
            # testinfra's own client believes any host key; ours knows them, and its key never is in a file.
            host.backend.client = self.login(guest)
            self._hosts[guest.name] = host
        return self._hosts[guest.name]


def address_of(guest: Guest) -> str:
    """Where the guest is reached: its first fixed address, else its name."""
    return str(next(iter(fixed_addresses(guest)), guest.name))
