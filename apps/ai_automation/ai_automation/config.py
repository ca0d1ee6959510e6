"""The configuration file and the file of secrets."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, PlainValidator, SecretStr, field_validator, model_validator

from ai_automation.mistakes import InvalidError, Mistake
from ai_automation.shape import Shape, build
from ai_automation.yamlfile import read

Scope = Literal["read", "trigger"]


def _url(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")) or " " in value:
        raise ValueError("is not a web address | write e.g. https://192.168.1.134:8123")
    if "@" in value.split("/")[2]:
        raise ValueError("holds a user or password | secrets belong in the secrets file")
    return value.rstrip("/")


def _zone(value: Any) -> str:
    try:
        ZoneInfo(value)
    except (OSError, KeyError, ValueError, TypeError):
        raise ValueError("is not a time zone | write e.g. Europe/Berlin") from None
    return str(value)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Hash = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="64 hex digits: printf %s TOKEN | sha256sum")
]
Url = Annotated[str, PlainValidator(_url)]
Zone = Annotated[str, PlainValidator(_zone)]
_CA = Field(None, description="the path of a file with the CA's certificate (PEM)")


class Listen(Shape):
    """Where the service answers; a proxy on the same machine adds TLS."""

    host: str = Field("127.0.0.1", description="a loopback address: 127.0.0.1 or ::1")
    port: int = Field(5001, ge=1, le=65535, description="a port, 1 to 65535")

    @field_validator("host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        if not (value.startswith("127.") or value == "::1"):
            raise ValueError(f"{value} is not loopback | write 127.0.0.1: the service has no TLS of its own")
        return value


class Client(Shape):
    """Somebody who may use the API."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="a name of letters, digits, _ . -")
    # Two while a token is changed: the old one and the new one.
    token_sha256: Annotated[list[Hash], BeforeValidator(_as_list)] = Field(
        min_length=1, description="64 hex digits: printf %s TOKEN | sha256sum; or a list of such"
    )
    scopes: list[Scope] = Field(min_length=1, description="a list of read, trigger")


class HomeAssistant(Shape):
    """Home Assistant's REST API (developers.home-assistant.io/docs/api/rest)."""

    url: Url = Field(description="e.g. https://192.168.1.134:8123")
    ca_file: str | None = _CA
    timeout: float = Field(10, gt=0, le=300, description="seconds for one request, above 0, at most 300")


class McpHub(Shape):
    """The MCP hub's REST API (apps/mcp_hub/README.md)."""

    url: Url = Field(description="e.g. https://127.0.0.1:3000")
    ca_file: str | None = _CA
    timeout: float = Field(30, gt=0, le=300, description="seconds for one request, above 0, at most 300")


class Mqtt(Shape):
    """The MQTT broker. TLS wherever `ca_file` is given."""

    host: str = Field(min_length=1, description="the broker's name or address")
    port: int = Field(8883, ge=1, le=65535, description="a port, 1 to 65535")
    ca_file: str | None = _CA
    username: str | None = Field(
        None, min_length=1, description="the user; its password stands in the secrets"
    )
    client_id: str = Field(
        "ai_automation", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="letters, digits, _ -"
    )


class ModelService(Shape):
    """A service that speaks OpenAI's chat completions (platform.openai.com/docs/api-reference/chat)."""

    enabled: bool = Field(False, description="true or false")
    url: Url = Field(description="the base address, e.g. https://models.example/v1")
    model: str = Field(min_length=1, description="the model's name at that service")
    ca_file: str | None = _CA
    timeout: float = Field(30, gt=0, le=300, description="seconds for one answer, above 0, at most 300")


class Limits(Shape):
    """Bounds that keep the service small."""

    body_bytes: int = Field(
        65536, ge=1024, le=8388608, description="bytes of a request's body, 1024 to 8388608"
    )
    history_runs: int = Field(1000, ge=1, le=100000, description="finished runs that are kept, 1 to 100000")
    streams: int = Field(16, ge=1, le=64, description="WebSocket clients at once, 1 to 64")
    waiting: int = Field(12, ge=1, le=64, description="requests with ?wait= at once, 1 to 64")
    stop_seconds: float = Field(
        20, ge=0, le=300, description="seconds for running actions at a stop, 0 to 300"
    )
    failed_logins: int = Field(
        10, ge=1, le=1000, description="wrong tokens a minute from one address, 1 to 1000"
    )
    probe_seconds: float = Field(
        30, ge=1, le=3600, description="seconds between looks at the others, 1 to 3600"
    )


class Config(Shape):
    """The whole configuration."""

    listen: Listen = Field(default_factory=Listen, description="host and port")
    trusted_proxies: list[str] = Field(
        default=["127.0.0.1", "::1"], description="addresses whose X-Forwarded-For is believed"
    )
    rules: str = Field(min_length=1, description="the path of the rules: a file, or a folder of *.yaml")
    state: str = Field(min_length=1, description="the path of a folder for the history of runs")
    secrets: str | None = Field(None, description="the path of the secrets file, mode 0600")
    timezone: Zone = Field("UTC", description="e.g. Europe/Berlin")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    clients: list[Client] = Field(min_length=1, description="at least one client of the API")
    home_assistant: HomeAssistant | None = Field(None, description="url, ca_file")
    mcp_hub: McpHub | None = Field(None, description="url, ca_file")
    mqtt: Mqtt | None = Field(None, description="host, port, ca_file, username")
    model: ModelService | None = Field(None, description="enabled, url, model")
    limits: Limits = Field(default_factory=Limits, description="see README.md")

    @model_validator(mode="after")
    def _different(self) -> Config:
        every = {
            "name": [client.name for client in self.clients],
            "token_sha256": [digest for client in self.clients for digest in client.token_sha256],
        }
        for what, values in every.items():
            if len(set(values)) != len(values):
                raise ValueError(f"two clients have the same {what} | give each its own")
        return self


class Secrets(Shape):
    """What must not be known. Each is needed only where the config has its service."""

    home_assistant_token: SecretStr | None = Field(None, description="a long-lived access token, as a text")
    mcp_hub_token: SecretStr | None = Field(None, description="a bearer token of the hub, as a text")
    mqtt_password: SecretStr | None = Field(None, description="the broker's password for the user, as a text")
    model_key: SecretStr | None = Field(None, description="the model service's key, as a text")

    def values(self) -> list[str]:
        """Every secret in clear, for taking them out of messages."""
        found = (getattr(self, name) for name in type(self).model_fields)
        return [secret.get_secret_value() for secret in found if secret is not None]


def load_config(path: Path) -> Config:
    """Read the configuration. Paths in it that are not absolute count from its folder.

    Raises:
        InvalidError: with every mistake.
    """
    document = read(path)
    config = build(Config, document)
    base = path.resolve().parent
    mistakes: list[Mistake] = []
    changes: dict[str, Any] = {
        key: str(base / getattr(config, key)) for key in ("rules", "state", "secrets") if getattr(config, key)
    }
    for section in ("home_assistant", "mcp_hub", "mqtt", "model"):
        part = getattr(config, section)
        if part is not None and part.ca_file is not None:
            file = base / part.ca_file
            if not file.is_file():
                mistakes.append(
                    document.mistake((section, "ca_file"), f"there is no file {file}", "write the CA's path")
                )
            changes[section] = part.model_copy(update={"ca_file": str(file)})
    if mistakes:
        raise InvalidError(mistakes)
    return config.model_copy(update=changes)


def load_secrets(config: Config, *, must_exist: bool) -> Secrets:
    """Read the secrets that the config names.

    Args:
        config: whose `secrets` path and services count.
        must_exist: whether a missing file is a mistake; a check on a machine without secrets says False.

    Raises:
        InvalidError: with every mistake; no value is shown.
    """
    needed = _needed(config)
    if config.secrets is None:
        if needed:
            wrong = f"is missing, but {', '.join(needed)} must come from it"
            raise InvalidError([Mistake("config", 0, "secrets", wrong, "name the secrets file")])
        return Secrets()
    path = Path(config.secrets)
    if not path.exists() and not must_exist:
        return Secrets()
    _check_mode(path)
    document = read(path)
    secrets = build(Secrets, document, secret=True)
    missing = [name for name in needed if not _clear(secrets, name)]
    if missing:
        raise InvalidError(
            document.mistake((name,), "is missing", "the config has this service") for name in missing
        )
    return secrets


def _clear(secrets: Secrets, name: str) -> str:
    value = getattr(secrets, name)
    return value.get_secret_value() if value is not None else ""


def _needed(config: Config) -> list[str]:
    return [
        name
        for name, wanted in (
            ("home_assistant_token", config.home_assistant is not None),
            ("mcp_hub_token", config.mcp_hub is not None),
            ("mqtt_password", config.mqtt is not None and config.mqtt.username is not None),
        )
        if wanted
    ]


def _check_mode(path: Path) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise InvalidError(
            [Mistake(str(path), 0, "", f"cannot be read: {error.strerror}", "write it, mode 0600")]
        ) from None
    if mode & 0o077:
        raise InvalidError(
            [Mistake(str(path), 0, "", f"has mode {mode:04o}", "chmod 0600: others may read it")]
        )
