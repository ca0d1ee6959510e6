"""The files of Home Assistant's configuration that are ours, from the fleet and group_data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError

from hearth.errors import HearthError
from hearth.ops.files import File
from hearth.role.acl import service_user
from hearth.role.databases import connection
from hearth.role.here import Here
from hearth.secrets import password

NAME = "home-assistant"
CONFIG = f"/var/lib/{NAME}"
PACKAGE = re.compile(r"(?!hearth_)[a-z][a-z0-9_]*")
LEVELS = ("critical", "fatal", "error", "warning", "warn", "info", "debug", "notset")
OWN = {
    "http": "its web server stands behind HAProxy and is set through its API",
    "recorder": "write home_assistant_recorder",
    "logger": "write home_assistant_log_level and home_assistant_log_levels",
    "automation": "the web interface keeps them in automations.yaml",
    "script": "the web interface keeps them in scripts.yaml",
    "scene": "the web interface keeps them in scenes.yaml",
    "homeassistant": "write home_assistant_location",
}


@dataclass(frozen=True)
class Configuration:
    """Home Assistant's configuration files, by what a change of them takes.

    Args:
        restarted: read at the start.
        levels: the levels of the log, in a file that a start reads; a service call changes them too.
        wanted_levels: its content.
        domains: the integrations that they set up.
    """

    restarted: tuple[File, ...]
    levels: File
    wanted_levels: dict[str, Any]
    domains: tuple[str, ...]


def configuration(here: Here, user: str) -> Configuration:
    """All of them.

    Args:
        here: the guest.
        user: whom Home Assistant runs as: owner and group of the files.
    """
    integrations = chosen(here.value("configuration"))
    packages = {name: package(here, name, path) for name, path in here.value("packages").items()}
    provider = automation_url(here)
    if provider:
        told = {"url": provider, "events": events(here.value("events"))}
        packages["hearth_ai_automation"] = here.render("packages/ai_automation.yaml.j2", **told)
    secrets = secret_values(here, bool(provider))
    recorder = recorder_options(here, "hearth_recorder" in secrets)
    main = {"packages": sorted(packages), "integrations": block(integrations)}

    def own(path: str, text: str, secret: bool = False) -> File:
        return File(f"{CONFIG}/{path}", text, user, user, "600", secret=secret)

    files = [
        own("configuration.yaml", here.render("configuration.yaml.j2", **main)),
        own("hearth/recorder.yaml", recorder),
        own("hearth/secrets.yaml", block(secrets), secret=True),
        *(own(f"hearth/packages/{name}.yaml", text) for name, text in sorted(packages.items())),
    ]
    domains = {*integrations, "recorder", "logger", "automation", "script", "scene"}
    levels = log_levels(here)
    log = own("hearth/logger.yaml", block(levels))
    return Configuration(tuple(files), log, levels, tuple(sorted(domains)))


def package(here: Here, name: str, path: str) -> str:
    """The text of a package of the admin's own.

    Args:
        here: the guest; the file's template sees it.
        name: the package's name in Home Assistant.
        path: the file, relative to the project.

    Raises:
        HearthError: the name is none, or the file cannot be read or rendered.
    """
    file = here.run.project / path
    action = f"give Home Assistant the package {name}"
    if not PACKAGE.fullmatch(name):
        raise HearthError(action, "its name is none", "use a-z, 0-9 and _; not hearth_")
    try:
        text = file.read_text(encoding="utf-8")
        environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
        return environment.from_string(text).render(here=here)
    except (OSError, UnicodeDecodeError, TemplateError) as error:
        line = f":{error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
        raise HearthError(action, f"{file}{line}: {error}", "mend home_assistant_packages") from error


def chosen(integrations: Any) -> dict[str, Any]:
    """`home_assistant_configuration`, where it is what it should be.

    Raises:
        HearthError: it is no mapping, or names what has a place of its own.
    """
    action = "configure Home Assistant"
    if not isinstance(integrations, Mapping):
        raise HearthError(action, "home_assistant_configuration is no mapping", "write {domain: {...}}")
    for key in integrations:
        domain = str(key).partition(" ")[0]
        if domain in OWN:
            raise HearthError(action, f"home_assistant_configuration has {domain!r}", OWN[domain])
    return dict(integrations)


def block(content: Mapping[str, Any]) -> str:
    """A mapping as YAML, its keys in their own order."""
    text: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=110)
    return text if content else ""


def log_levels(here: Here) -> dict[str, Any]:
    """The content of `logger:`.

    Raises:
        HearthError: there is no such level.
    """
    found: dict[str, Any] = {"default": here.value("log_level"), "logs": dict(here.value("log_levels"))}
    for level in (found["default"], *found["logs"].values()):
        if level not in LEVELS:
            raise HearthError(
                "configure Home Assistant",
                f"{level!r} is no level of its log",
                f"use one of {', '.join(LEVELS)}",
            )
    return found


def recorder_options(here: Here, database: bool) -> str:
    """The content of `recorder:`; the database's address is a secret, as its password is in it."""
    options = {"purge_keep_days": here.number("history_days"), **here.value("recorder")}
    if "db_url" in options:
        raise HearthError(
            "configure Home Assistant",
            "home_assistant_recorder has db_url",
            "give a guest the role postgresql: the address follows from it",
        )
    # safe_dump would quote the tag.
    return ("db_url: !secret hearth_recorder\n" if database else "") + block(options)


def secret_values(here: Here, automation: bool) -> dict[str, str]:
    """What our files refer to as `!secret`; Home Assistant finds it beside them."""
    found: dict[str, str] = {}
    if here.fleet.with_role("postgresql"):
        login = connection(here.fleet, here.role.name, getattr(here.host.data, "postgresql_primary", None))
        found["hearth_recorder"] = login.url(here.secrets.ensure(login.secret, password))
    if automation:
        client = service_user(here.role.name, here.guest.name)
        token = here.secrets.ensure(f"ai-automation/token/{client}", password).reveal()
        found["hearth_ai_automation"] = f"Bearer {token}"
    return found


def automation_url(here: Here) -> str | None:
    """Where AI automation answers; None where the fleet has none."""
    if "ai_automation" not in here.roles:
        return None
    found = here.providers("ai_automation.web")
    return f"https://{found[0].guest.address}:{found[0].port.number}" if found else None


def events(wanted: Any) -> dict[str, Any]:
    """`home_assistant_events`, where it is what it should be.

    Raises:
        HearthError: one lacks its triggers, or the automation to call.
    """
    for name, event in dict(wanted).items():
        if not isinstance(event, Mapping) or set(event) != {"triggers", "automation"}:
            raise HearthError(
                f"tell AI automation of {name}",
                "home_assistant_events has it without `triggers` and `automation`, or with more",
                'write {"triggers": [...], "automation": "..."}',
            )
    return dict(wanted)


def web_server(behind: int, attempts: int, proxies: tuple[str, ...]) -> dict[str, Any]:
    """The settings of Home Assistant's own web server, as `http/config` has them.

    Args:
        behind: TCP port on loopback.
        attempts: failed logins until an address is banned; 0: never.
        proxies: networks whose X-Forwarded-For is believed.
    """
    return {
        "server_host": ["127.0.0.1"],
        "server_port": behind,
        "use_x_forwarded_for": True,
        "trusted_proxies": list(proxies),
        "ip_ban_enabled": attempts > 0,
        "login_attempts_threshold": attempts or -1,
    }


def stored_web_server(settings: Mapping[str, Any]) -> str:
    """The file `.storage/http` of a Home Assistant that has never started, as 2026.11 writes it.

    From YAML the same settings would be taken on trial only, and taken back after five minutes.
    """
    stable = {
        "cors_allowed_origins": ["https://cast.home-assistant.io"],
        "ssl_profile": "intermediate_v6",
        "use_x_frame_options": True,
        **settings,
        "created_at": "2026-01-01T00:00:00+00:00",
        "error": None,
        "error_message": None,
    }
    data = {"stable": stable, "pending": None, "yaml_migration_done": True}
    return json.dumps({"version": 3, "minor_version": 1, "key": "http", "data": data}, indent=2)
