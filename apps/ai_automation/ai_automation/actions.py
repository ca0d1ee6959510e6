"""Doing one action."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from ai_automation.failure import ActionError
from ai_automation.peer import Peer
from ai_automation.rules import (
    HomeAssistantAction,
    McpHubAction,
    MqttAction,
    NotifyAction,
    Step,
    WaitAction,
)
from ai_automation.templates import BadTemplateError, render, render_text

Context = dict[str, Any]


class Sender(Protocol):
    """What can publish to MQTT and knows whether it arrived."""

    async def send(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish, and return when the broker has it. Raises ActionError."""


@dataclass
class Outside:
    """The services around us; None where the config has none."""

    home_assistant: Peer | None = None
    mcp_hub: Peer | None = None
    model: Peer | None = None
    model_name: str = ""
    mqtt: Sender | None = None


async def perform(step: Step, context: Context, outside: Outside) -> Any:
    """Do an action that needs no model.

    Args:
        step: the action; templates in it are filled in here.
        context: the templates' variables.
        outside: the services.

    Returns:
        What it gave, as plain data.

    Raises:
        ActionError: it failed.
    """
    kind = step.kind
    try:
        return await _DOERS[kind](getattr(step, kind), context, outside)
    except BadTemplateError as error:
        raise ActionError(f"template: {error}") from None


async def _home_assistant(action: HomeAssistantAction, context: Context, outside: Outside) -> Any:
    domain, service = action.service.split(".")
    body = {**render(action.data, context), **render(action.target, context)}
    wanted = "?return_response" if action.response else ""
    path = f"/api/services/{domain}/{service}{wanted}"
    return await there(outside.home_assistant, "home_assistant").call("POST", path, body)


async def _notify(action: NotifyAction, context: Context, outside: Outside) -> Any:
    body: dict[str, Any] = {"message": render_text(action.message, context)}
    if action.title is not None:
        body["title"] = render_text(action.title, context)
    if action.data:
        body["data"] = render(action.data, context)
    peer = there(outside.home_assistant, "home_assistant")
    return await peer.call("POST", f"/api/services/notify/{action.service}", body)


async def _mcp_hub(action: McpHubAction, context: Context, outside: Outside) -> Any:
    path = f"/api/servers/{quote(action.server, safe='')}/tools/{quote(action.tool, safe='')}"
    body = {"arguments": render(action.arguments, context)}
    answer = await there(outside.mcp_hub, "mcp_hub").call("POST", path, body)
    inner = answer.get("result", answer) if isinstance(answer, dict) else None
    # MCP: a tool that failed says so inside a good answer (modelcontextprotocol.io, Tools, Error Handling).
    if isinstance(inner, dict) and inner.get("isError") is True:
        raise ActionError(f"mcp_hub: the tool {action.tool} failed: {_tool_words(inner)}", result=answer)
    return answer


def _tool_words(result: dict[str, Any]) -> str:
    content = result.get("content")
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))[:300]


async def _mqtt(action: MqttAction, context: Context, outside: Outside) -> Any:
    topic = render_text(action.topic, context)
    if not topic or set("+#\0") & set(topic):
        raise ActionError(f"{topic!r} is not a topic to publish on")
    payload = render(action.payload, context)
    raw = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
    if outside.mqtt is None:
        raise ActionError("mqtt is not in the config")
    await outside.mqtt.send(topic, raw, action.qos, action.retain)
    return {"topic": topic}


async def _wait(action: WaitAction, context: Context, outside: Outside) -> Any:
    await asyncio.sleep(action.seconds)


def there(peer: Peer | None, name: str) -> Peer:
    """The service, or why it cannot be used."""
    if peer is None:
        raise ActionError(f"{name} is not in the config")
    return peer


_DOERS: dict[str, Callable[[Any, Context, Outside], Awaitable[Any]]] = {
    "home_assistant": _home_assistant,
    "mcp_hub": _mcp_hub,
    "mqtt": _mqtt,
    "notify": _notify,
    "wait": _wait,
}
