"""A service we call by HTTP and JSON: Home Assistant, the MCP hub, a model."""

from __future__ import annotations

import asyncio
import json
import ssl
from http import HTTPStatus
from typing import Any

import httpx

from ai_automation.failure import ActionError, Again

MOST_BYTES = 1024 * 1024  # of an answer
_SHOWN = 300  # characters of the other side's own words
_BUSY = (408, 425, 429)


class Peer:
    """One such service. Use it from one event loop.

    Args:
        name: as it is called in messages.
        url: its base address.
        token: the bearer token, "" for none.
        ca_file: a file with the CA's certificate; None for the system's.
        timeout: seconds for a whole request.
    """

    def __init__(self, name: str, url: str, token: str, ca_file: str | None, timeout: float) -> None:
        self.name = name
        self.url = url
        self._timeout = timeout
        self._token = token
        verify = ssl.create_default_context(cafile=ca_file) if url.startswith("https://") else False
        # No proxies and no .netrc from the environment: the home's services are reached directly.
        self._client = httpx.AsyncClient(
            verify=verify,
            trust_env=False,
            timeout=timeout,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask, and give the JSON of the answer.

        Raises:
            ActionError: no connection, too slow, an error status, not JSON, too large.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._call(method, path, body)
        except TimeoutError:
            raise ActionError(f"{self.name} did not answer within {self._timeout:g} s", "unsure") from None

    async def status(self, path: str) -> str:
        """ok, unauthorized, failing or unreachable: for the health page."""
        try:
            async with asyncio.timeout(min(self._timeout, 10)):
                answer = await self._client.get(self.url + path)
        except (TimeoutError, httpx.HTTPError):
            return "unreachable"
        if answer.status_code in (401, 403):
            return "unauthorized"
        return "ok" if answer.is_success else "failing"

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _call(self, method: str, path: str, body: object) -> Any:
        try:
            async with self._client.stream(method, self.url + path, json=body) as answer:
                raw = await self._read(answer)
                status = answer.status_code
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise ActionError(
                f"{self.name} cannot be reached: {self._clean(str(error))}", "not_sent"
            ) from None
        except httpx.HTTPError as error:
            words = self._clean(str(error)) or type(error).__name__
            raise ActionError(f"{self.name} broke off: {words}", "unsure") from None
        if not answer.is_success:
            raise ActionError(f"{self.name} answered {status}: {self._clean(_words(raw))}", _again(status))
        try:
            return json.loads(raw)
        except ValueError:
            raise ActionError(f"{self.name} answered with something that is not JSON", "unsure") from None

    async def _read(self, answer: httpx.Response) -> bytes:
        raw = bytearray()
        async for part in answer.aiter_bytes():
            raw += part
            if len(raw) > MOST_BYTES:
                raise ActionError(f"{self.name} answered with more than {MOST_BYTES} bytes", "unsure")
        return bytes(raw)

    def _clean(self, words: str) -> str:
        """The other side's words without our token, which a careless server may echo."""
        flat = " ".join(words.split())
        return (flat.replace(self._token, "***") if self._token else flat)[:_SHOWN]


def _again(status: int) -> Again:
    return "unsure" if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _BUSY else "final"


def _words(raw: bytes) -> str:
    """What an error answer says: its `message` or `error.message` where it has one."""
    text = raw.decode("utf-8", "replace")
    try:
        data = json.loads(text)
    except ValueError:
        return text
    if isinstance(data, dict):
        inner = data.get("error")
        if isinstance(inner, dict):
            data = inner
        found = data.get("message") or inner
        if isinstance(found, str):
            return found
    return text
