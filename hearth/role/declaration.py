"""What a role says of itself; everything that must agree about it is derived from this.

A role is `roles/<name>.py` with a module-level `role = Role(...)` and one function marked
`@role.deploy`. Its name is the file's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hearth.ops.files import File
    from hearth.role.here import Here

FRONT = "front"
Audience = Literal["fleet", "lan", "management", "monitoring", "host", "world"]
Access = Literal["read", "write", "readwrite"]
Deploy = Callable[["Here"], None]
LogFiles = Callable[["Here"], Sequence["File"]]


@dataclass(frozen=True)
class Metrics:
    """What a port tells Prometheus, which asks for it without anybody's further word.

    Args:
        path: where; the answer is Prometheus' text format.
        user: the name that Prometheus logs in with (basic authentication); empty: `secret` is a bearer token.
        secret: the name of the password or token, in which `{client}` stands for who asks
            (`monitoring-GUEST`); empty: it takes no login.
    """

    path: str = "/metrics"
    user: str = ""
    secret: str = ""


@dataclass(frozen=True)
class Port:
    """A port that a role serves.

    Args:
        name: unique within the role, e.g. "mqtts".
        number: TCP or UDP port.
        tls: served with the guest's certificate; a role with such a port gets one.
        audience: "lan": anybody on the LAN and the fleet; "fleet": guests whose roles need it;
            "management": from where the admin works (`firewall_management`); "monitoring": guests with role
            monitoring, which reach every TCP port but "host" whatever its audience; "host": loopback only;
            "world": whoever finds it, where the router at home passes the port on.
        protocol: "tcp" or "udp".
        health: a check of tests/verify by name ("tcp", "tls", "http", "mqtt"); None: "tls" or "tcp".
        path: what health "http" asks for; 200 is expected.
        behind: the program itself listens in plain on 127.0.0.1 at this port, and the guest's HAProxy (role
            `front`, which then joins the guest by itself) serves `number` with TLS.
        door: the front door answers on this port too, whatever guest serves it.
        devices: IoT devices (group_data's firewall_iot) come to it as well; to no other port do they.
        metrics: what it tells Prometheus. Whether it answers is watched in any case.
    """

    name: str
    number: int
    tls: bool = False
    audience: Audience = "fleet"
    protocol: Literal["tcp", "udp"] = "tcp"
    health: str | None = None
    path: str = "/"
    behind: int | None = None
    door: bool = False
    devices: bool = False
    metrics: Metrics | None = None

    def __post_init__(self) -> None:
        if self.behind is not None and not self.tls:
            raise ValueError(f"port {self.name}: HAProxy serves it with TLS: write tls=True")


@dataclass(frozen=True)
class Topic:
    """What a client may do with MQTT topics below a filter (`+` and `#` as in MQTT 3.1.1, 4.7)."""

    filter: str
    access: Access = "readwrite"


@dataclass(frozen=True)
class Need:
    """A port of another role that this role uses.

    Args:
        role: the provider's name.
        port: the provider's port name.
        topics: where the port is MQTT: what this role's user may read and write.
        optional: the fleet may do without a provider.
        later: it is used at run time only: no order of deployment follows.
        grants: where the port is PostgreSQL: predefined roles that this role's user is a member of (its
            manual, 22.5).
    """

    role: str
    port: str
    topics: tuple[Topic, ...] = ()
    optional: bool = False
    later: bool = False
    grants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Directory:
    """State under a path that a backup must hold.

    Files are copied as they are; SQLite's databases among them by SQLite's own online backup.

    Args:
        path: absolute path in the guest.
        dump: command that writes a consistent copy to stdout; None: copy the files.
        restore: command that reads it from stdin; None: unpack the files.
        before: command that makes the files ready to be copied.
        unless: command that exits with 0 where this guest has nothing to keep (a replica).
        units: services that rest while files are put back.
        apart: names below the path that an upgrade leaves where they are: large, and never changed again.
    """

    path: str
    dump: str | None = None
    restore: str | None = None
    before: str | None = None
    unless: str | None = None
    units: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.dump is None) != (self.restore is None):
            raise ValueError(f"state {self.path}: what is dumped must be restored: write both commands")


@dataclass(frozen=True)
class Logs:
    """Where a role's log level stands (`NAME_log_level` of group_data), so that it can be raised for a time.

    Args:
        unit: its systemd unit.
        step: what makes the unit read it: "restart" or "reload".
        files: the files that hold it, by the same paths as the deploy function's.
    """

    unit: str
    step: Literal["restart", "reload"]
    files: LogFiles = field(repr=False)


@dataclass
class Role:
    """A role's declaration and its deploy function.

    Args:
        provides: ports it serves.
        needs: ports of other roles it uses; those roles are deployed first.
        state: what a backup must hold.
        secrets: name patterns of the secrets it uses (`mqtt/*`), as fnmatch has them.
        brings: further roles that every guest with this one has; they are deployed after it.
        packages: Debian packages it uses; those of all roles of a guest are installed in one go by `base`,
            before any other role's operations.
        follows: a role; where any guest of the fleet has that one, every guest has this one.
    """

    provides: tuple[Port, ...] = ()
    needs: tuple[Need, ...] = ()
    state: tuple[Directory, ...] = ()
    secrets: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()
    follows: str = ""
    name: str = ""  # set by the catalogue from the file's name
    deployer: Deploy | None = field(default=None, repr=False)
    logging: Logs | None = field(default=None, repr=False)

    def deploy(self, function: Deploy) -> Deploy:
        """Mark the function that installs, configures and activates the role on one guest."""
        self.deployer = function
        return function

    def logs(
        self, unit: str, step: Literal["restart", "reload"] = "restart"
    ) -> Callable[[LogFiles], LogFiles]:
        """Mark the function that gives the files with the role's log level; see `Logs`."""

        def mark(function: LogFiles) -> LogFiles:
            self.logging = Logs(unit, step, function)
            return function

        return mark

    @property
    def companions(self) -> tuple[str, ...]:
        """The roles that join a guest with this one: `brings`, and `front` where it stands behind one."""
        behind = any(port.behind is not None for port in self.provides)
        return tuple(dict.fromkeys((*self.brings, *((FRONT,) if behind else ()))))

    @property
    def needs_certificate(self) -> bool:
        """True where a port is TLS: the guest then gets a certificate."""
        return any(port.tls for port in self.provides)

    def port(self, name: str) -> Port:
        """The port of this name; KeyError when there is none."""
        for port in self.provides:
            if port.name == name:
                return port
        raise KeyError(name)
