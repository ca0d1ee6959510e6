"""What should be so inside Home Assistant, whatever way it is installed: from the fleet and group_data."""

from __future__ import annotations

from typing import Any

from hearth.errors import HearthError
from hearth.home_assistant.duty import Duty
from hearth.home_assistant.entries import Upload, WantedEntry
from hearth.home_assistant.integrations import Entries, Whole
from hearth.home_assistant.login import Owner
from hearth.home_assistant.people import Onboarded, Password, Tokens
from hearth.home_assistant.phones import PhoneLogin, PhoneLogins
from hearth.home_assistant.preferences import Http, Levels, Settings
from hearth.ops import home_assistant
from hearth.role.acl import service_user
from hearth.role.here import Here
from hearth.role.tokens import ha_clients
from hearth.secrets import mqtt_user, password

OWNER = "home-assistant/owner"
BACKUP = "home-assistant/backup"


def settle(
    here: Here,
    port: int,
    web: dict[str, Any],
    levels: dict[str, Any] | None = None,
    domains: tuple[str, ...] = (),
) -> None:
    """Onboarding, tokens, settings and integrations, each an operation of its own.

    Args:
        here: the guest.
        port: where Home Assistant answers on the guest's loopback.
        web: settings of its web server.
        levels: levels of its log; None: they are not ours.
        domains: integrations that our files configure: they must be set up in the end.
    """
    further = [("Set the levels of Home Assistant's log", Levels(levels))] if levels else []
    for name, duty in [
        *duties(here, web),
        *phones(here),
        *further,
        ("See that all of Home Assistant runs", Whole(domains)),
    ]:
        home_assistant.settled(name=name, duty=duty, port=port)


def duties(here: Here, web: dict[str, Any]) -> list[tuple[str, Duty]]:
    """What should be so, in the order in which it is made so."""
    found, unwanted = owner(here), tuple(here.value("no_entries"))
    clients = ha_clients(here.fleet, here.roles, here.value("clients"))
    return [
        ("Finish Home Assistant's onboarding", Onboarded(found, unwanted)),
        ("Give every client of Home Assistant its token", Tokens(found, clients)),
        ("Let Home Assistant believe the proxy before it, and nobody else", Http(web)),
        ("Keep the password of Home Assistant's owner", Password(found)),
        ("Set Home Assistant's location, units and backup", settings(here)),
        ("Set up Home Assistant's integrations", Entries(wanted_entries(here), unwanted)),
    ]


def phones(here: Here) -> list[tuple[str, Duty]]:
    """The logins of phones, where there is or was one.

    Raises:
        HearthError: a phone is listed, and the secrets do not have its password.
    """
    there = here.phones
    if not there.present and not there.ended:
        return []
    logins: list[PhoneLogin] = []
    for name in there.names:
        found = here.secrets.find(f"phone/{name}/home-assistant")
        if found is None:
            raise HearthError(
                f"let the phone {name} into Home Assistant",
                "the secrets have no password for it",
                f"hearth android add {name}, or hearth android revoke {name}",
            )
        logins.append(PhoneLogin(name, found.reveal()))
    return [("Let the phones into Home Assistant, and no others", PhoneLogins(tuple(logins), there.gone))]


def owner(here: Here) -> Owner:
    """The owner, as group_data has it; the password is generated where there is none.

    Raises:
        HearthError: a key is missing, or the user name is none.
    """
    given = here.value("owner")
    try:
        username = str(given["username"])
        name, language = str(given["name"]), str(given["language"])
    except (KeyError, TypeError) as error:
        raise HearthError(
            "create Home Assistant's owner",
            f"home_assistant_owner lacks {error}",
            "see group_data/home_assistant.py",
        ) from None
    if username != username.strip().lower() or not username:
        raise HearthError(
            "create Home Assistant's owner",
            f"the user name {username!r} has capitals, blanks, or nothing",
            "Home Assistant takes lower case only",
        )
    return Owner(name, username, here.secrets.ensure(OWNER, password).reveal(), language)


def settings(here: Here) -> Settings:
    """Location, units, analytics and backups."""
    core = {key: value for key, value in here.value("location").items() if value is not None}
    core.setdefault("time_zone", here.fleet.admin.timezone)
    door = next(iter(here.fleet.with_role("front_door")), here.guest)
    core.setdefault("internal_url", f"https://{door.address}:{here.port('web').number}")
    backup = here.value("backup")
    agent = "hassio.local" if here.value("install") == "haos" else "backup.local"
    return Settings(
        core,
        here.value("analytics"),
        {
            "automatic_backups_configured": True,
            "create_backup": {
                "agent_ids": list(backup.get("agents", [agent])),
                "include_database": bool(backup.get("database", True)),
                "password": here.secrets.ensure(BACKUP, password).reveal(),
            },
            "retention": {"copies": backup["copies"], "days": backup.get("days")},
            "schedule": {"recurrence": backup["recurrence"], "time": backup["time"]},
        },
    )


def wanted_entries(here: Here) -> tuple[WantedEntry, ...]:
    """MQTT where the fleet has a broker, the MCP server, and what group_data names."""
    further = tuple(
        WantedEntry(domain, tuple(answers), hint="mend home_assistant_entries")
        for domain, answers in here.value("entries").items()
    )
    return (*mqtt(here), mcp_server(here), *further)


def mqtt(here: Here) -> tuple[WantedEntry, ...]:
    """The broker's entry: TLS with the fleet's authority, and a user of its own."""
    brokers = here.providers("mosquitto.mqtts") if "mosquitto" in here.roles else ()
    if not brokers:
        return ()
    broker = brokers[0]
    user = service_user(here.role.name, here.guest.name)
    login = mqtt_user(here.secrets, user)
    answers = {
        "broker": str(broker.guest.address),
        "port": broker.port.number,
        "protocol": "5",
        "username": login.name,
        "password": login.password.reveal(),
        "other_settings": {
            "set_client_cert": False,
            "set_ca_cert": "custom",
            "tls_insecure": False,
            "transport": "tcp",
        },
    }
    authority = Upload("other_settings", "certificate", "hearth.crt", here.authority.ca_pem)
    there = broker.guest.name
    hint = f"is the broker on {there} up, and does it know the user {user}? deploy {there}"
    return (WantedEntry("mqtt", (answers,), reconfigures=True, upload=authority, hint=hint),)


def mcp_server(here: Here) -> WantedEntry:
    """The MCP server, with what it may show."""
    given: dict[str, Any] = here.value("mcp")
    apis = given.get("apis")
    options = {
        "all_llm_apis": apis is None,
        "llm_hass_api": list(apis or ()),
        "require_admin": bool(given["require_admin"]),
        "read_only": bool(given["read_only"]),
    }
    return WantedEntry("mcp_server", ({},), options=options, hint="mend home_assistant_mcp")
