"""The web configuration that Prometheus, Alertmanager and the exporters share: TLS, and who may log in.

prometheus/exporter-toolkit, docs/web-configuration.md. The files that it names lie beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

TLS = {"cert_file": "server.crt", "key_file": "server.key", "min_version": "TLS12"}


def web_config(users: Mapping[str, str]) -> str:
    """TLS and logins.

    Args:
        users: name -> the password's bcrypt hash.
    """
    return "# Written by Hearth.\n" + yaml.safe_dump({"tls_server_config": TLS}) + logins(users)


def logins(users: Mapping[str, str]) -> str:
    """The part that names no other file.

    Args:
        users: see `web_config`.
    """
    return yaml.safe_dump({"basic_auth_users": dict(users)})
