"""How far the way to an API goes: name, TCP, TLS."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from hearth.doctor.finding import Finding, fail, ok
from hearth.fleet.model import Node
from hearth.proxmox.access import Access

Stage = Literal["name", "tcp", "tls", "through"]
TIMEOUT = 5.0  # seconds for each step


@dataclass(frozen=True)
class Way:
    """Where the way to an endpoint ends ("through": it does not), and why."""

    stage: Stage
    reason: str = ""


def try_way(access: Access) -> Way:
    """Look the name up, connect, and shake hands; nothing is sent to the API."""
    parts = urlsplit(access.endpoint)
    host, port = parts.hostname or "", parts.port or 8006
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Way("name", _words(error))
    try:
        connection = socket.create_connection((host, port), TIMEOUT)
    except OSError as error:
        return Way("tcp", _words(error))
    try:
        with connection, _context(access).wrap_socket(connection, server_hostname=host):
            return Way("through")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        return Way("tls", _words(error))


def _context(access: Access) -> ssl.SSLContext:
    if isinstance(access.verify, str):
        return ssl.create_default_context(cafile=access.verify)
    context = ssl.create_default_context()
    if access.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "no TLS").lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT:.0f} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def judge_way(node: Node, endpoint: str, way: Way, ca_file: bool) -> Finding:
    """What the end of the way means.

    Args:
        node: the node of the fleet.
        endpoint: https://host:port.
        way: where it ends.
        ca_file: PROXMOX_VE_CA_BUNDLE is set.
    """
    host = urlsplit(endpoint).hostname
    if way.stage == "name":
        remedy = f"write an address instead: node {node.name} in the fleet file, or PROXMOX_VE_ENDPOINT"
        return fail("api", f"the name {host} is not known here: {way.reason}", remedy)
    if way.stage == "tcp":
        remedy = f"is the node up (ping {host})? on the node: systemctl status pveproxy; a firewall between?"
        return fail("api", f"nobody answers at {endpoint}: {way.reason}", remedy)
    if way.stage == "tls":
        again = " anew" if ca_file else ""
        remedy = (
            f"copy its CA{again}: scp root@{host}:/etc/pve/pve-root-ca.pem . && "
            f"export PROXMOX_VE_CA_BUNDLE=$PWD/pve-root-ca.pem"
        )
        return fail("api", f"the certificate of {endpoint} is not trusted: {way.reason}", remedy)
    return ok("api", f"{endpoint} answers, and its certificate is accepted")
