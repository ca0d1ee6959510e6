"""Requests to a coordination server: logged in, patient, and with errors that say what to do.

A request is sent again only where that cannot do a thing twice: it was refused for being one too many (429),
it never left (no connection), or doing it twice is doing it once (`again`; RFC 9110, 9.2.2). Waits grow
from half a second, with full jitter, and are as long as the server asks (Retry-After).
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from hearth.tailnet.access import Access
from hearth.tailnet.credential import Credential, credential
from hearth.tailnet.errors import SERVER_FAULT, TOO_MANY, UNAUTHORIZED, TailnetError, refusal
from hearth.tailnet.request import Ask, words


@dataclass(frozen=True)
class Patience:
    """How long to try.

    Args:
        timeout: seconds for one answer.
        tries: how often a request is sent at most.
        first: the longest first wait, in seconds; it doubles with every try.
        longest: the longest wait; a server that asks for more is not waited for.
        sleep, jitter: for tests: waits for seconds; a number from 0 to 1.
    """

    timeout: float = 30.0
    tries: int = 5
    first: float = 0.5
    longest: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


class Wire:
    """A connection, made when it is first needed.

    Args:
        access: where to, and as whom.
        patience: how long to try.
    """

    def __init__(self, access: Access, patience: Patience | None = None) -> None:
        self.access = access
        self.patience = patience or Patience()
        self._http: httpx.Client | None = None
        self._credential: Credential = credential(access.credential)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next request dials again."""
        if self._http:
            self._http.close()
        self._http = None

    def ask(
        self, method: str, path: str, action: str, again: bool | None = None, **content: Any
    ) -> httpx.Response:
        """A request's answer, which is a success.

        Args:
            method, path, action, again, content: see `Ask`.

        Raises:
            TailnetError: it is none, or there is none.
        """
        request = Ask(method, path, action, content, again)
        answer = self._answer(request, self._token(action))
        if answer.status_code == UNAUTHORIZED and self._credential.renewable:
            self._credential.forget()
            answer = self._answer(request, self._token(action))
        if answer.is_success:
            return answer
        raise refusal(action, answer.status_code, words(answer))

    def look(self, path: str, action: str) -> httpx.Response:
        """The answer to a GET without a credential, whatever its status; TailnetError where there is none."""
        return self._answer(Ask("GET", path, action, {}), None)

    # ----------------------------------------------------------------- internal

    def _token(self, action: str) -> str:
        request = self._credential.renewal(action)
        if request is not None:
            self._credential.take(action, self._answer(request, None))
        return self._credential.token

    def _answer(self, request: Ask, token: str | None) -> httpx.Response:
        """The last answer of up to `tries`."""
        for number in range(self.patience.tries):
            last = number == self.patience.tries - 1
            wait = self._backoff(number)
            try:
                answer = self._once(request, token)
            except httpx.TransportError as error:
                if last or not _may_repeat(request, error):
                    raise self._away(request, error) from error
            else:
                asked = _asked_wait(answer)
                if last or not _worth_repeating(request, answer) or asked > self.patience.longest:
                    return answer
                wait = max(wait, asked)
            self.patience.sleep(wait)
        raise AssertionError("at least one try")

    def _once(self, request: Ask, token: str | None) -> httpx.Response:
        headers = dict(request.content.get("headers") or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        content = {key: value for key, value in request.content.items() if key != "headers"}
        return self._dialled().request(request.method, request.path, headers=headers, **content)

    def _backoff(self, number: int) -> float:
        return min(self.patience.first * 2.0**number, self.patience.longest) * self.patience.jitter()

    def _dialled(self) -> httpx.Client:
        if self._http is None:
            access = self.access
            # A server of one's own is in the home: nobody's proxy leads there.
            self._http = httpx.Client(
                base_url=access.url,
                verify=access.trust(),
                timeout=self.patience.timeout,
                trust_env=not access.own_server,
                headers={"User-Agent": "hearth"},
            )
        return self._http

    def _away(self, request: Ask, error: httpx.TransportError) -> TailnetError:
        unsure = "" if request.repeatable or _never_left(error) else "; whether it was done is not known"
        reason, remedy = _transport_words(error, self.access, self.patience.timeout)
        return TailnetError(request.action, reason + unsure, remedy)


def _never_left(error: httpx.TransportError) -> bool:
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def _may_repeat(request: Ask, error: httpx.TransportError) -> bool:
    if isinstance(error.__cause__, ssl.SSLCertVerificationError) or _is_tls(error):
        return False  # it will be the same certificate
    return _never_left(error) or request.repeatable


def _is_tls(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _worth_repeating(request: Ask, answer: httpx.Response) -> bool:
    if answer.status_code == TOO_MANY:
        return True
    return answer.status_code >= SERVER_FAULT and request.repeatable


def _asked_wait(answer: httpx.Response) -> float:
    """Seconds that Retry-After asks for, in either of its forms (RFC 9110, 10.2.3)."""
    given = answer.headers.get("Retry-After", "").strip()
    if given.isdigit():
        return float(given)
    try:
        at = parsedate_to_datetime(given)
    except ValueError:
        return 0.0
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def _transport_words(error: httpx.TransportError, access: Access, timeout: float) -> tuple[str, str]:
    if _is_tls(error):
        reason = f"the certificate of {access.url} is not trusted: {error}"
        return reason, "TAILSCALE_CA_BUNDLE names the authority of a server of your own"
    if isinstance(error, httpx.ConnectTimeout | httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
        return f"{access.url} did not answer within {timeout:g} s", "run it again; is the way there open?"
    reason = f"{access.url} is not reached: {error or type(error).__name__}"
    return reason, "does TAILSCALE_BASE_URL name the server, and is the way there open?"
