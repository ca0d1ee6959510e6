"""The MCP hub: the tools of many MCP servers, Home Assistant's too, over REST, WebSocket, MQTT and MCP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hearth.application import clients
from hearth.application.deploy import Application, Files
from hearth.ops.files import File
from hearth.role.acl import VERIFIER, service_user
from hearth.role.certificates import AUTHORITY
from hearth.role.declaration import Need, Port, Role, Topic
from hearth.role.here import Here
from hearth.role.tokens import token_name
from hearth.secrets import mqtt_user

SCOPES = ("read", "call", "publish")
LEVELS = ("debug", "info", "warn", "error")
ASSISTANT = "home_assistant"  # its name among the hub's servers
KINDS = ("http", "stdio")
SECRET = ("secret", "secret_env")

role = Role(
    provides=(
        Port(
            "web",
            3000,
            tls=True,
            behind=13000,
            audience="lan",
            door=True,
            health="http",
            path="/health",
        ),
    ),
    needs=(
        Need("mosquitto", "mqtts", topics=(Topic("mcp_hub/#"),)),
        # Without Home Assistant, or while it is away, the hub runs with whatever other servers it has.
        Need("home_assistant", "web", optional=True),
    ),
    secrets=("mcp-hub/*", "mqtt/mcp-hub-*", "mqtt-salt/mcp-hub-*", "home-assistant/token/mcp-hub-*"),
    packages=("ca-certificates", "curl"),
)


@role.deploy
def mcp_hub(here: Here) -> None:
    """Build it, have it check its configuration, and run it."""
    application = Application(here, "the MCP hub", "node")
    application.deploy(hub_files(application))


@role.logs(unit="mcp-hub.service", step="reload")
def log_files(here: Here) -> list[File]:
    """What holds its log level."""
    return [hub_files(Application(here, "the MCP hub", "node")).config]


def hub_files(application: Application) -> Files:
    """The hub's files on this guest. Clients, tokens and log level are reloaded without dropping a client."""
    here = application.here
    settings = restarted(application)
    config = here.template(
        here.value("config"),
        f"{application.folder}/config.json",
        values={"settings": settings, "clients": hub_clients(application)},
        user=application.user,
        group=application.user,
        mode="600",
    )
    secrets = application.own("secrets.json", lambda: json.dumps(secret_values(application), indent=1) + "\n")
    return Files(
        config, reloaded=(secrets,), reloads_config=True, restarts=(json.dumps(settings, sort_keys=True),)
    )


def restarted(application: Application) -> dict[str, Any]:
    """The configuration without clients and log level: what takes a restart (apps/mcp_hub/README.md)."""
    here = application.here
    broker = here.providers("mosquitto.mqtts")[0]
    user = service_user(here.role.name, here.guest.name)
    return {
        "listen": {"host": "127.0.0.1", "port": application.port},
        "trustedProxies": ["127.0.0.1"],
        "secretsFile": f"{application.folder}/secrets.json",
        "servers": {**assistant(here), **further_servers(application)},
        "mqtt": {
            "url": f"mqtts://{broker.guest.name}:{broker.port.number}",
            "username": mqtt_user(here.secrets, user).name,
            "clientId": user,
            "caFile": AUTHORITY,
        },
        "limits": here.value("limits"),
    }


def assistant(here: Here) -> dict[str, Any]:
    """Home Assistant's MCP server (home-assistant.io/integrations/mcp_server), where the fleet has one."""
    found = here.providers("home_assistant.web") if ASSISTANT in here.roles else ()
    if not found:
        return {}
    url = f"https://{found[0].guest.name}:{found[0].port.number}/api/mcp"
    return {ASSISTANT: {"type": "http", "url": url, "caFile": AUTHORITY}}


def further_servers(application: Application) -> dict[str, Any]:
    """The servers of group_data without what is secret of them."""
    declared, servers = application.declared("servers"), application.here.value("servers")
    if not isinstance(servers, Mapping):
        declared.refuse("it is no mapping", 'write e.g. {"garden": {"type": "http", "url": "https://..."}}')
    for name, server in servers.items():
        if name == ASSISTANT:
            declared.refuse(f"{ASSISTANT} is there of itself", "give the other server another name")
        if not isinstance(server, Mapping) or server.get("type") not in KINDS:
            declared.refuse(f"{name} has no type", 'write "type": "http" or "type": "stdio"')
        if not isinstance(server.get("secret", ""), str) or not isinstance(
            server.get("secret_env", {}), Mapping
        ):
            declared.refuse(
                f"{name}: secret or secret_env is wrong", "write a secret's name, or names by variable"
            )
    return {
        name: {key: value for key, value in server.items() if key not in SECRET}
        for name, server in servers.items()
    }


def hub_clients(application: Application) -> dict[str, Any]:
    """Who may use the hub, by name: roles that need it, the admin's own, and tests/verify."""
    here = application.here
    found: dict[str, dict[str, Any]] = {VERIFIER: {"scopes": ["read", "publish"]}}
    found |= {
        name: {"scopes": list(SCOPES)} for name in clients.services(here.fleet, here.roles, here.role.name)
    }
    found |= clients.named(application.declared("clients"), here.value("clients"), SCOPES)
    return {
        name: {
            "tokenSha256": _one_or_all(clients.digests(here.secrets, here.role.name, name)),
            **client,
        }
        for name, client in found.items()
    }


def _one_or_all(digests: list[str]) -> str | list[str]:
    return digests[0] if len(digests) == 1 else digests


def secret_values(application: Application) -> dict[str, Any]:
    """What stands in the file of secrets.

    Raises:
        MissingSecretError: Home Assistant's token, or one that group_data names, is not there yet.
    """
    here = application.here
    user = service_user(here.role.name, here.guest.name)
    servers: dict[str, Any] = {
        name: {"token": here.secrets.get(token_name(user)).reveal()} for name in assistant(here)
    }
    for name, server in here.value("servers").items():
        if "secret" in server:
            servers[name] = {"token": here.secrets.get(server["secret"]).reveal()}
        if "secret_env" in server:
            named = server["secret_env"].items()
            servers[name] = {"env": {key: here.secrets.get(secret).reveal() for key, secret in named}}
    return {"servers": servers, "mqtt": {"password": mqtt_user(here.secrets, user).password.reveal()}}
