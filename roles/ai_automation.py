"""AI automation: rules that act on the home when something calls them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hearth.application import clients
from hearth.application.deploy import Application, Files, stray_files_gone
from hearth.application.source import Declared
from hearth.errors import HearthError
from hearth.ops.files import File
from hearth.role.acl import VERIFIER, service_user
from hearth.role.certificates import AUTHORITY
from hearth.role.declaration import Directory, Need, Port, Role, Topic
from hearth.role.here import Here
from hearth.role.tokens import token_name
from hearth.secrets import mqtt_user

STATE = "/var/lib/ai-automation"
UNIT = "ai-automation.service"
SCOPES = ("read", "trigger")
OWN_RULES = "hearth.yaml"
TOOL = re.compile(r"[^/]+/.+")
# What an alarm may say: the kind of each value, and what is right.
ALARM: dict[str, tuple[type, str]] = {
    "turn_on": (list, 'a list of entities, e.g. ["switch.fan"]'),
    "tool": (str, "SERVER/TOOL of the MCP hub"),
    "arguments": (dict, "a mapping"),
    "notify": (str, "a notify service, e.g. mobile_app_phone"),
    "title": (str, "a text"),
    "message": (str, "a text"),
}

role = Role(
    provides=(
        Port(
            "web",
            5000,
            tls=True,
            behind=15000,
            audience="lan",
            door=True,
            health="http",
            path="/health",
        ),
    ),
    needs=(
        Need(
            "mosquitto",
            "mqtts",
            topics=(Topic("ai_automation/#"), Topic("zigbee2mqtt/#", "read")),
        ),
        Need("home_assistant", "web", optional=True),
        Need("mcp_hub", "web", optional=True),
    ),
    state=(Directory(STATE, units=(UNIT,)),),
    secrets=(
        "ai-automation/*",
        "mqtt/ai-automation-*",
        "mqtt-salt/ai-automation-*",
        "home-assistant/token/ai-automation-*",
        "mcp-hub/token/ai-automation-*",
    ),
    packages=("ca-certificates", "curl", "python3-venv"),
)


@role.deploy
def ai_automation(here: Here) -> None:
    """Build it, have it check its configuration and rules, and run it."""
    application = Application(here, "AI automation", "python")
    rules = rule_files(application)
    files = automation_files(application, rules)

    def before_run() -> None:
        here.restore_state()
        stray_files_gone("Remove rules that are no more", rules_folder(application), rules)

    application.deploy(files, before_run)


@role.logs(unit=UNIT)
def log_files(here: Here) -> list[File]:
    """What holds its log level."""
    return [automation_files(Application(here, "AI automation", "python"), ()).config]


def rules_folder(application: Application) -> str:
    """Where the rules are."""
    return f"{application.folder}/rules"


def automation_files(application: Application, rules: tuple[File, ...]) -> Files:
    """Its files on this guest. Rules are reloaded; the rest takes a restart."""
    here = application.here
    config = here.template(
        here.value("config"),
        f"{application.folder}/config.yaml",
        values={"application": application, "peers": peers(here), "clients": automation_clients(application)},
        user=application.user,
        group=application.user,
        mode="600",
    )
    secrets = application.own("secrets.yaml", lambda: json.dumps(secret_values(here), indent=1) + "\n")
    listed = application.own("rules.list", "".join(f"{file.path}\n" for file in rules), secret=False)
    # The list changes when a rule file goes, which changes no other file.
    return Files(config, restarted=(secrets,), reloaded=(*rules, listed))


def peers(here: Here) -> dict[str, Any]:
    """The services around it, as its configuration has them; what the fleet does not have is left out."""
    broker = here.providers("mosquitto.mqtts")[0]
    user = service_user(here.role.name, here.guest.name)
    found: dict[str, Any] = {
        name: {"url": f"https://{provider.guest.name}:{provider.port.number}", "ca_file": AUTHORITY}
        for name in ("home_assistant", "mcp_hub")
        if name in here.roles
        for provider in here.providers(f"{name}.web")[:1]
    }
    found["mqtt"] = {
        "host": broker.guest.name,
        "port": broker.port.number,
        "ca_file": AUTHORITY,
        "username": mqtt_user(here.secrets, user).name,
        "client_id": user,
    }
    model = here.value("model")
    if model is not None:
        if not isinstance(model, Mapping):
            Declared(here.role.name, "ai_automation_model").refuse(
                f"it is {model!r}", "write a mapping, or None"
            )
        found["model"] = {key: value for key, value in model.items() if key != "secret"}
    return found


def automation_clients(application: Application) -> list[dict[str, Any]]:
    """Who may use it: roles that need it, the admin's own, and tests/verify."""
    here = application.here
    found: dict[str, dict[str, Any]] = {VERIFIER: {"scopes": list(SCOPES)}}
    found |= {
        name: {"scopes": list(SCOPES)} for name in clients.services(here.fleet, here.roles, here.role.name)
    }
    found |= clients.named(application.declared("clients"), here.value("clients"), SCOPES)
    return [
        {
            "name": name,
            "token_sha256": _one_or_all(clients.digests(here.secrets, here.role.name, name)),
            **client,
        }
        for name, client in found.items()
    ]


def _one_or_all(digests: list[str]) -> str | list[str]:
    return digests[0] if len(digests) == 1 else digests


def secret_values(here: Here) -> dict[str, str]:
    """What stands in the file of secrets.

    Raises:
        MissingSecretError: Home Assistant's token, or the model's key, is not there yet.
    """
    user = service_user(here.role.name, here.guest.name)
    known = peers(here)
    found = {"mqtt_password": mqtt_user(here.secrets, user).password.reveal()}
    if "home_assistant" in known:
        found["home_assistant_token"] = here.secrets.get(token_name(user)).reveal()
    if "mcp_hub" in known:
        found["mcp_hub_token"] = clients.token(here.secrets, "mcp_hub", user).reveal()
    if "model" in known and "secret" in here.value("model"):
        found["model_key"] = here.secrets.get(here.value("model")["secret"]).reveal()
    return found


# -------------------------------------------------------------------------- rules


def rule_files(application: Application) -> tuple[File, ...]:
    """The files of rules: ours, made from group_data, and the admin's own as they are."""
    here = application.here
    ours = here.render("rules.yaml.j2", alarms=alarms(application), known=peers(here))
    texts = {OWN_RULES: ours, **admins_rules(application)}
    folder = rules_folder(application)
    return tuple(
        File(f"{folder}/{name}", text, application.user, application.user, "600")
        for name, text in texts.items()
    )


def admins_rules(application: Application) -> dict[str, str]:
    """The rules that the admin wrote, by file name: the files that group_data names, and folders' *.yaml."""
    declared, listed = application.declared("rules"), application.here.value("rules")
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        declared.refuse(f"it is {listed!r}", 'write a list, e.g. ["inventory/automations"]')
    found: dict[str, str] = {}
    for text in listed:
        place = application.here.run.project / text
        if not place.exists():
            declared.refuse(f"there is no {place}", "write files or folders, relative to the project's own")
        for path in sorted(place.glob("*.yaml")) if place.is_dir() else [place]:
            if path.suffix != ".yaml" or path.name in (*found, OWN_RULES):
                declared.refuse(f"{path} is no *.yaml, or its name is taken", "rename it")
            found[path.name] = _text(path)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HearthError(f"read the rules {path}", str(error)) from error


def alarms(application: Application) -> dict[str, Any]:
    """The automations that group_data declares: name -> what is turned on, what is used, who is told."""
    declared, found = application.declared("alarms"), application.here.value("alarms")
    if not isinstance(found, Mapping):
        declared.refuse("it is no mapping", "see the comment above it")
    for name, alarm in found.items():
        if not isinstance(alarm, Mapping) or not alarm:
            declared.refuse(f"{name} is {alarm!r}", f"write a mapping of {', '.join(sorted(ALARM))}")
        for key, value in alarm.items():
            if key not in ALARM:
                declared.refuse(f"{name} has no key {key!r}", f"use {', '.join(sorted(ALARM))}")
            kind, right = ALARM[key]
            if not isinstance(value, kind) or (key == "tool" and not TOOL.fullmatch(value)):
                declared.refuse(f"{name}: {key} is {value!r}", f"write {right}")
        if not set(alarm) & {"turn_on", "tool", "notify"}:
            declared.refuse(f"{name} does nothing", "write turn_on, tool or notify")
    return dict(found)
