"""Who knows the newest version: each is asked with one GET, or a few, and says clearly when it cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion

from hearth.errors import HearthError

SECONDS: Final = 20.0
AGENT: Final = "hearth-outdated"


class Source(Protocol):
    """Whoever offers versions."""

    @property
    def place(self) -> str:
        """Where it is asked, for people."""
        ...

    def versions(self, web: Web) -> list[str]:
        """Every version that it offers, in any order. Raises HearthError."""
        ...


class Web:
    """GETs with clear errors. The environment's proxies count: this is the Internet.

    Args:
        transport: replaced in tests.
    """

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            timeout=SECONDS, follow_redirects=True, headers={"User-Agent": AGENT}, transport=transport
        )

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """The answer, whatever its status.

        Raises:
            HearthError: there is none: no network, no such host, no trust.
        """
        try:
            return self._client.get(url, headers=dict(headers or {}))
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise HearthError(f"ask {url}", reason, "is this machine online?") from None
        except httpx.InvalidURL as error:
            raise HearthError(f"ask {url}", str(error), "mend the URL") from None

    def good(self, url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """An answer of 200. Raises HearthError."""
        return good(url, self.get(url, headers))

    def json(self, url: str, accept: str = "application/json") -> Any:
        """A JSON document. Raises HearthError."""
        return parsed(url, self.good(url, {"Accept": accept}))


def good(url: str, answer: httpx.Response) -> httpx.Response:
    """An answer, where it is one of 200. Raises HearthError."""
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise HearthError(f"ask {url}", "there is no such thing (404)", "is it still called so?")
    if answer.status_code in (httpx.codes.FORBIDDEN, httpx.codes.TOO_MANY_REQUESTS):
        raise HearthError(f"ask {url}", f"it refused ({answer.status_code})", "asked too often? try later")
    if answer.status_code != httpx.codes.OK:
        raise HearthError(f"ask {url}", f"it answered {answer.status_code}", "try later")
    return answer


def parsed(url: str, answer: httpx.Response) -> Any:
    """The JSON document of an answer. Raises HearthError."""
    try:
        return answer.json()
    except ValueError:
        raise HearthError(f"ask {url}", "the answer is no JSON", "is this a proxy's page?") from None


def odd(url: str) -> HearthError:
    """What to raise for an answer of another shape."""
    return HearthError(
        f"ask {url}", "the answer has another shape than is known", "a newer Hearth may know it"
    )


@dataclass(frozen=True)
class PyPI:
    """A package of PyPI, or of an index like it (PEP 691); files that were yanked do not count."""

    package: str
    base: str = "https://pypi.org/simple"

    @property
    def place(self) -> str:
        """The URL."""
        return f"{self.base}/{canonicalize_name(self.package)}/"

    def versions(self, web: Web) -> list[str]:
        """See `Source`."""
        try:
            files = web.json(self.place, "application/vnd.pypi.simple.v1+json")["files"]
            kept = [str(file["filename"]) for file in files if not file.get("yanked")]
        except (KeyError, TypeError, AttributeError):
            raise odd(self.place) from None
        return sorted({version for name in kept if (version := _version_of(name))})


def _version_of(filename: str) -> str | None:
    """The version in the name of a wheel or source archive; None for what is neither."""
    try:
        if filename.endswith(".whl"):
            return str(parse_wheel_filename(filename)[1])
        return str(parse_sdist_filename(filename)[1])
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None


@dataclass(frozen=True)
class Npm:
    """A package of npm's registry; deprecated versions do not count."""

    package: str
    base: str = "https://registry.npmjs.org"

    @property
    def place(self) -> str:
        """The URL."""
        return f"{self.base}/{quote(self.package, safe='@')}"

    def versions(self, web: Web) -> list[str]:
        """See `Source`."""
        try:
            found = web.json(self.place)["versions"]
            return [name for name, about in found.items() if not about.get("deprecated")]
        except (KeyError, TypeError, AttributeError):
            raise odd(self.place) from None


@dataclass(frozen=True)
class GitHub:
    """The releases of a repository (docs.github.com/rest/releases); drafts and pre-releases do not count."""

    repository: str
    base: str = "https://api.github.com"

    @property
    def place(self) -> str:
        """The URL."""
        return f"{self.base}/repos/{self.repository}/releases?per_page=100"

    def versions(self, web: Web) -> list[str]:
        """See `Source`."""
        try:
            rows = web.json(self.place)
            return [str(row["tag_name"]) for row in rows if not (row.get("draft") or row.get("prerelease"))]
        except (KeyError, TypeError, AttributeError):
            raise odd(self.place) from None


@dataclass(frozen=True)
class Folders:
    """A vendor's folder whose subfolders are versions: Debian's cloud images.

    Args:
        url: the folder, with its slash at the end.
        pattern: what a version looks like.
    """

    url: str
    pattern: str = r"\d{8}-\d+"

    @property
    def place(self) -> str:
        """The URL."""
        return self.url

    def versions(self, web: Web) -> list[str]:
        """See `Source`."""
        found = re.findall(rf'href="({self.pattern})/"', web.good(self.url).text)
        if not found:
            raise odd(self.url)
        return list(found)


@dataclass(frozen=True)
class Tailscale:
    """Tailscale's stable track (pkgs.tailscale.com/stable/?mode=json)."""

    base: str = "https://pkgs.tailscale.com"

    @property
    def place(self) -> str:
        """The URL."""
        return f"{self.base}/stable/?mode=json"

    def versions(self, web: Web) -> list[str]:
        """See `Source`."""
        try:
            return [str(web.json(self.place)["TarballsVersion"])]
        except (KeyError, TypeError):
            raise odd(self.place) from None


@dataclass(frozen=True)
class Templates:
    """The container templates that a node offers for download (GET /nodes/N/aplinfo, as `pveam available`).

    Args:
        node: the node.
        package: "debian-12-standard".
        ask: gives the rows; raises HearthError.
    """

    node: str
    package: str
    ask: Callable[[], list[dict[str, Any]]]

    @property
    def place(self) -> str:
        """For people."""
        return f"templates of {self.node}"

    def versions(self, web: Web) -> list[str]:
        """See `Source`."""
        found = [str(row.get("version") or "") for row in self.ask() if row.get("package") == self.package]
        if not found:
            raise HearthError(
                f"ask {self.node} for {self.package}",
                "it offers no such template",
                "on the node: pveam update",
            )
        return found


@dataclass(frozen=True)
class Nobody:
    """A pin of which nobody is known who could tell.

    Args:
        why: for people.
    """

    why: str

    @property
    def place(self) -> str:
        """Nowhere."""
        return "nowhere"

    def versions(self, web: Web) -> list[str]:
        """Always raises HearthError."""
        raise HearthError("find a newer version", self.why, "look yourself")
