"""What a request shows: an API key, or an access token that an OAuth client fetches.

Tokens: POST /api/v2/oauth/token, client credentials in the body (RFC 6749, 4.4 and 2.3.1); they live an
hour (tailscale.com/docs/features/oauth-clients).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

import httpx

from hearth.secrets import Secret
from hearth.tailnet.access import OAuthClient
from hearth.tailnet.errors import BAD_REQUEST, NOT_FOUND, UNAUTHORIZED, TailnetError, refusal
from hearth.tailnet.request import Ask, words

EARLY: Final = 60.0  # seconds before its end that a token counts as expired
SHORTEST: Final = 60.0  # seconds that a token is taken to live where the server does not say


class Credential(Protocol):
    """Something to show."""

    renewable: bool

    @property
    def token(self) -> str:
        """The bearer token of now."""

    def renewal(self, action: str) -> Ask | None:
        """The request that fetches a token, where one is needed."""

    def take(self, action: str, answer: httpx.Response) -> None:
        """Keep the token of an answer to `renewal`."""

    def forget(self) -> None:
        """The token is not accepted any more."""


class ApiKey:
    """An API key; it is what it is."""

    renewable = False

    def __init__(self, key: Secret) -> None:
        self._key = key

    @property
    def token(self) -> str:
        """The key."""
        return self._key.reveal()

    def renewal(self, action: str) -> Ask | None:
        """None: a key cannot be renewed by itself."""
        return None

    def take(self, action: str, answer: httpx.Response) -> None:
        """Nothing is ever fetched."""

    def forget(self) -> None:
        """It stays the only one there is."""


class OAuthToken:
    """An OAuth client's access token, kept until shortly before its end.

    Args:
        client: id and secret.
        clock: seconds, monotonic; for tests.
    """

    renewable = True

    def __init__(self, client: OAuthClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._token: Secret | None = None
        self._until = 0.0

    @property
    def token(self) -> str:
        """The token that was fetched."""
        assert self._token is not None, "renewal() comes first"
        return self._token.reveal()

    def renewal(self, action: str) -> Ask | None:
        """The request for a token, unless there is one that still lives."""
        if self._token is not None and self._clock() < self._until:
            return None
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client.ident,
            "client_secret": self._client.secret.reveal(),
        }
        return Ask("POST", "/api/v2/oauth/token", action, {"data": form}, again=True)

    def take(self, action: str, answer: httpx.Response) -> None:
        """Keep the token; TailnetError where the client is refused."""
        if answer.status_code in (BAD_REQUEST, UNAUTHORIZED, NOT_FOUND):
            raise _refused(action, answer)
        if not answer.is_success:
            raise refusal(action, answer.status_code, "no access token is given")
        try:
            said = answer.json()
            self._token = Secret(str(said["access_token"]))
            lives = float(said.get("expires_in") or SHORTEST)
        except (ValueError, KeyError, TypeError) as error:
            raise TailnetError(action, "what should be an access token is none", status=0) from error
        self._until = self._clock() + max(0.0, lives - EARLY)

    def forget(self) -> None:
        """Fetch another one next time."""
        self._token = None


def _refused(action: str, answer: httpx.Response) -> TailnetError:
    if answer.status_code == NOT_FOUND:
        reason = "the server knows no OAuth clients"
        return TailnetError(action, reason, "use an API key: TAILSCALE_API_KEY", NOT_FOUND)
    reason = f"the OAuth client is refused: {words(answer) or 'no reason is given'}"
    remedy = (
        "it was revoked, or its secret is another: make a new one and keep it with `hearth secrets set`, see "
        "docs/tailnet.md"
    )
    return TailnetError(action, reason, remedy, answer.status_code)


def credential(given: OAuthClient | Secret) -> Credential:
    """What shows the given credential."""
    return OAuthToken(given) if isinstance(given, OAuthClient) else ApiKey(given)
