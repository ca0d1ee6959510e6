"""Home Assistant: installed in one of three ways, and set up without a hand through its API.

It listens on loopback; HAProxy (role front, deployed after this one) serves 8123. So nobody else reaches a
new Home Assistant before its owner is made.
"""

from __future__ import annotations

from hearth.errors import HearthError
from hearth.ops.files import File
from hearth.role.declaration import Directory, Metrics, Need, Port, Role, Topic
from hearth.role.here import Here

from .configuration import CONFIG, configuration, web_server
from .container import container
from .core import core
from .haos import haos
from .inside import settle
from .place import LIBRARY, UNIT, USER, keep_token

BEHIND = 18123
INSTALLS = ("haos", "container", "core")

role = Role(
    provides=(
        Port(
            "web",
            8123,
            tls=True,
            behind=BEHIND,
            audience="lan",
            door=True,
            health="http",
            path="/manifest.json",
            # Its integration "prometheus", which home_assistant_configuration has.
            metrics=Metrics("/api/prometheus", secret="home-assistant/token/{client}"),
        ),
    ),
    needs=(
        # Any topic: a device says in its discovery where it listens.
        Need("mosquitto", "mqtts", topics=(Topic("#"),), optional=True),
        Need("postgresql", "postgres", optional=True),
        Need("ai_automation", "web", optional=True, later=True),
    ),
    # Home Assistant OS keeps its own on its own machine.
    state=(
        Directory(
            CONFIG,
            dump=f"sh {LIBRARY}/dump",
            restore=f"sh {LIBRARY}/restore",
            unless=f"[ ! -d {CONFIG} ]",
            apart=("backups",),  # its own
        ),
    ),
    secrets=(
        "home-assistant/*",
        "mqtt/home-assistant-*",
        "mqtt-salt/home-assistant-*",
        "postgresql/home-assistant",
        "ai-automation/token/*",
    ),
    packages=("postgresql-client",),  # to look at the recorder, and for tests/verify
)


@role.deploy
def home_assistant(here: Here) -> None:
    """Install, configure, start, and set up inside."""
    here.refuse_a_second_guest("clients would not know which one is meant")
    install = here.value("install")
    if install not in INSTALLS:
        raise HearthError(
            f"install Home Assistant on {here.guest.name}",
            f"home_assistant_install is {install!r}",
            f"use one of {', '.join(INSTALLS)}",
        )
    web = web_server(BEHIND, here.number("login_attempts", 0), ("127.0.0.1/32", "::1/128"))
    if install == "haos":
        settle(here, BEHIND, haos(here, BEHIND, web))
        return
    found = (core if install == "core" else container)(here, BEHIND, web)
    settle(here, BEHIND, web, found.wanted_levels, found.domains)
    keep_token(here)


@role.logs(unit=UNIT)
def log_files(here: Here) -> list[File]:
    """What holds its log level.

    Raises:
        HearthError: it is an image of its own, whose files nobody puts back.
    """
    if here.value("install") == "haos":
        raise HearthError(
            "use log_debug",
            "nothing in Home Assistant OS would bring the level back",
            "use home_assistant_log_level",
        )
    return [configuration(here, USER).log]
