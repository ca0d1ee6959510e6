"""The tags of an image in its registry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin

import httpx

from hearth.errors import HearthError
from hearth.outdated.sources import Web, good, odd, parsed

PAGES: Final = 40  # of a list of tags


@dataclass(frozen=True)
class Registry:
    """The tags of an image (OCI distribution specification, "Listing Tags"), with an anonymous token."""

    registry: str
    repository: str

    @property
    def place(self) -> str:
        """The URL."""
        return f"{self._base}/v2/{self.repository}/tags/list?n=1000"

    @property
    def _base(self) -> str:
        if "://" in self.registry:
            return self.registry
        return f"https://{'registry-1.docker.io' if self.registry == 'docker.io' else self.registry}"

    def versions(self, web: Web) -> list[str]:
        """See `Source`."""
        try:
            return [str(tag) for page in self._pages(web) for tag in page["tags"] or []]
        except (KeyError, TypeError):
            raise odd(self.place) from None

    def _pages(self, web: Web) -> Iterator[Any]:
        url = self.place
        headers: dict[str, str] = {}
        for _ in range(PAGES):
            answer = web.get(url, headers)
            if answer.status_code == httpx.codes.UNAUTHORIZED and not headers:
                headers = {"Authorization": f"Bearer {_token(web, answer)}"}
                answer = web.get(url, headers)
            yield parsed(url, good(url, answer))
            more = answer.links.get("next", {}).get("url")
            if not more:
                return
            url = urljoin(url, more)


def _token(web: Web, refused: httpx.Response) -> str:
    """An anonymous token, from where the registry says (distribution.github.io, "Token Authentication")."""
    said = refused.headers.get("www-authenticate", "")
    words = dict(re.findall(r'(\w+)="([^"]*)"', said))
    if "realm" not in words:
        raise HearthError(f"ask {refused.url}", "it wants a login", "give a registry that answers to all")
    query = {key: words[key] for key in ("service", "scope") if key in words}
    url = str(httpx.URL(words["realm"], params=query))
    found = web.json(url)
    return str(found.get("token") or found.get("access_token") or "")
