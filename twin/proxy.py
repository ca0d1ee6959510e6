"""The only way out.

A forward proxy on the machine's end of the link, and one on the bridges that hands on to it.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from twin import namespace, processes
from twin.home import Home
from twin.state import Twin

OUTER = "proxy-outside"
INNER = "proxy-inside"
_PORT = namespace.PROXY_PORT

_COMMON = """User tinyproxy
Group tinyproxy
Timeout 120
MaxClients 100
LogLevel Warning
DisableViaHeader Yes
ConnectPort 443
ConnectPort 80
"""


def start(twin: Twin, home: Home) -> None:
    """Start both, unless they run."""
    outside, _ = namespace.link_addresses(twin)
    filters = twin.dir / "proxy-filter"
    filters.write_text("".join(f"^{re.escape(_prefix(net))}\n" for net in home.subnets))
    outer = f'{_COMMON}Port {_PORT}\nListen {outside}\nFilter "{filters}"\nFilterExtended On\n{_upstream()}'
    listen = "".join(f"Listen {segment.proxy}\n" for segment in home.segments if segment.proxy)
    inner = f"{_COMMON}Port {_PORT}\n{listen}Upstream http {outside}:{_PORT}\n"
    _start(twin, OUTER, outer, [])
    if listen:
        _start(twin, INNER, inner, ["nsenter", f"--net={twin.netns_file}", "--"])


def url(address: str) -> str:
    """The proxy's URL for a guest."""
    return f"http://{address}:{_PORT}"


def _start(twin: Twin, role: str, config: str, prefix: list[str]) -> None:
    path = twin.dir / f"{role}.conf"
    if processes.alive(twin, role) and path.exists() and path.read_text() == config:
        return
    processes.stop(twin, role)
    path.write_text(config)
    processes.start(twin, role, [*prefix, "tinyproxy", "-d", "-c", str(path)])


def _prefix(net: str) -> str:
    """The leading text that all addresses of a network share, e.g. "192.168.1." of 192.168.1.0/24."""
    address, _, length = net.partition("/")
    if ":" in address:
        return "[" + address.rstrip(":") + ":"
    return "".join(part + "." for part in address.split(".")[: int(length) // 8])


def _upstream() -> str:
    """The machine's own proxy, where it has one."""
    proxy = os.environ.get("http_proxy") or os.environ.get("HTTP_PROXY")
    return f"Upstream http {urlsplit(proxy).netloc}\n" if proxy else ""
