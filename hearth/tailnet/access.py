"""Where the coordination server is and how to log in, under the names that the ecosystem uses.

They are those of the Terraform provider tailscale/tailscale; TAILSCALE_CA_BUNDLE is ours, named after
PROXMOX_VE_CA_BUNDLE.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from hearth.errors import HearthError
from hearth.secrets import Secret, SecretStore

BASE_URL: Final = "TAILSCALE_BASE_URL"
TAILNET: Final = "TAILSCALE_TAILNET"
CA_BUNDLE: Final = "TAILSCALE_CA_BUNDLE"
TAILSCALE: Final = "https://api.tailscale.com"
OWN_TAILNET: Final = "-"  # the credential's own; the only one that headscale knows


@dataclass(frozen=True)
class OAuthClient:
    """Client credentials (RFC 6749, 4.4)."""

    ident: str
    secret: Secret


@dataclass(frozen=True)
class Access:
    """A coordination server and a credential for it.

    Args:
        url: the server, without a path and without a slash at its end.
        credential: an OAuth client, or an API key.
        tailnet: the tailnet's name, or "-".
        ca_file: authorities that its certificate may come from, besides the system's.
        ca_pem: the same, as text: the fleet's own authority.
    """

    url: str
    credential: OAuthClient | Secret
    tailnet: str = OWN_TAILNET
    ca_file: str | None = None
    ca_pem: str | None = field(default=None, repr=False)

    @property
    def own_server(self) -> bool:
        """Whether it is not Tailscale's."""
        return self.url != TAILSCALE

    @property
    def path(self) -> str:
        """The path of everything that is the tailnet's: /api/v2/tailnet/NAME."""
        return f"/api/v2/tailnet/{quote(self.tailnet, safe='-')}"

    def trust(self) -> ssl.SSLContext:
        """Whom to trust: the system's authorities, and for a server of one's own the fleet's too.

        Raises:
            HearthError: the CA file holds no certificates.
        """
        context = ssl.create_default_context()
        try:
            if self.ca_file:
                context.load_verify_locations(cafile=self.ca_file)
            if self.own_server and self.ca_pem:
                context.load_verify_locations(cadata=self.ca_pem)
        except (ssl.SSLError, OSError) as error:
            raise HearthError(
                f"read {self.ca_file}", "it holds no certificates", f"{CA_BUNDLE} names a PEM file"
            ) from error
        return context


def access(env: Mapping[str, str], secrets: SecretStore) -> Access:
    """How to reach the tailnet's API: OAuth client credentials first, an API key second.

    Args:
        env: TAILSCALE_BASE_URL, TAILSCALE_TAILNET, TAILSCALE_CA_BUNDLE.
        secrets: `tailscale/oauth-client-id`, `tailscale/oauth-client-secret`, `tailscale/api-key`, each of
            which the environment replaces; and `ca/cert`, the fleet's own authority.

    Raises:
        HearthError: there is no credential or half of one, the URL is none, or the CA file is missing.
    """
    bundle = env.get(CA_BUNDLE)
    if bundle and not Path(bundle).is_file():
        remedy = f"{CA_BUNDLE} names a CA certificate, PEM"
        raise HearthError(f"read {bundle}", "there is no such file", remedy)
    authority = secrets.find("ca/cert")
    return Access(
        url=_server(env.get(BASE_URL) or TAILSCALE),
        credential=_credential(secrets),
        tailnet=env.get(TAILNET) or OWN_TAILNET,
        ca_file=bundle or None,
        ca_pem=authority.reveal() if authority else None,
    )


def _credential(secrets: SecretStore) -> OAuthClient | Secret:
    ident, secret = secrets.find("tailscale/oauth-client-id"), secrets.find("tailscale/oauth-client-secret")
    if ident and secret:
        return OAuthClient(ident.reveal().strip(), _trimmed(secret))
    key = secrets.find("tailscale/api-key")
    if key:
        return _trimmed(key)
    what = "there is half of an OAuth client only" if ident or secret else "there is no credential"
    remedy = (
        "set TAILSCALE_OAUTH_CLIENT_ID and TAILSCALE_OAUTH_CLIENT_SECRET, or keep them with `hearth secrets "
        "set tailscale/oauth-client-id` and `... tailscale/oauth-client-secret`; see docs/tailnet.md"
    )
    raise HearthError("log in at the tailnet", what, remedy)


def _trimmed(secret: Secret) -> Secret:
    return Secret(secret.reveal().strip())


def _server(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise HearthError(f"use {BASE_URL}={text}", "it is no server's address", "write https://HOST[:PORT]")
    if parts.username or parts.password:
        raise HearthError(f"use {BASE_URL}", "it holds a password", "write https://HOST[:PORT]")
    if parts.scheme == "http" and not _loopback(parts.hostname):
        raise HearthError(
            f"use {BASE_URL}={text}", "the credential would cross the network unsealed", "https"
        )
    return f"{parts.scheme}://{parts.netloc}".lower()


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
