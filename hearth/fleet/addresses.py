"""Addresses, names and paths of the fleet file. As scalars.py: the value, or WrongError."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hearth.fleet.mistakes import WrongError
from hearth.fleet.scalars import shaped, show, text

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_V4 = "write e.g. 192.168.1.135"
_V6 = 'write e.g. "fd00::135"'

# Proxmox: parse_storage_id, parse_bridge_id, pve_verify_tag and verify_lxc_mp_string in
# pve-common's JSONSchema.pm and pve-container's LXC/Config.pm; IFNAMSIZ of Linux for the bridge.
storage = shaped(r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]", "storage's name", "write e.g. local-lvm")
bridge = shaped(r"[A-Za-z0-9_.-]+", "bridge's name", "write e.g. vmbr0; at most 15 characters", 15)
pool = shaped(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+){0,2}", "pool's name", "write e.g. home")
tag = shaped(
    r"[a-z0-9_][a-z0-9_+.-]*",
    "tag",
    "write small letters, digits and - _ + ., e.g. garden",
)
label = shaped(LABEL, "name", "write small letters, digits and -, e.g. comms", 63)
domain = shaped(rf"{LABEL}(?:\.{LABEL})*", "domain", "write e.g. home.arpa", 253)
file_system = shaped(r"[A-Za-z0-9_]+", "file system type", "write e.g. nfs")
user = shaped(r"(?!root$)[a-z_][a-z0-9_-]{0,31}", "login for an admin", "write e.g. anna, not root")
locale = shaped(
    r"[A-Za-z]{1,8}(?:_[A-Z]{2})?(?:\.[A-Za-z0-9-]+)?(?:@[a-z]+)?", "locale", "write e.g. C.UTF-8"
)
word = shaped(r"[A-Za-z0-9_.-]+", "name", "write letters, digits, - _ and .")
_zone = shaped(r"[A-Za-z_]+(?:/[A-Za-z0-9_+-]+){0,2}", "time zone", "write e.g. Europe/Zurich", 64)
_path = shaped(r"(?:/[^/,\x00-\x20]+)+", "absolute path", "write e.g. /srv/data, no blanks or commas", 1024)


def v4(value: object) -> IPv4Address:
    """An IPv4 address without a prefix length."""
    try:
        return IPv4Address(text(value))
    except ipaddress.AddressValueError:
        raise WrongError(f"{show(value)} is no IPv4 address", _meant(str(value), _V4)) from None


def v6(value: object) -> IPv6Address:
    """An IPv6 address without a prefix length or a zone."""
    try:
        address = IPv6Address(text(value))
    except ipaddress.AddressValueError:
        raise WrongError(f"{show(value)} is no IPv6 address", _meant(str(value), _V6)) from None
    if address.scope_id is not None:
        raise WrongError(f"{show(value)} names an interface", "leave out % and what follows")
    return address


def _meant(value: str, example: str) -> str:
    if "/" in value:
        return "leave out the / and the number: the network's subnet says it"
    return example


def address4(value: object) -> IPv4Address | Literal["dhcp"]:
    """A guest's IPv4 address, or dhcp."""
    return "dhcp" if value == "dhcp" else v4(value)


def address6(value: object) -> IPv6Address | Literal["dhcp", "auto"]:
    """A guest's IPv6 address, dhcp, or auto (router advertisements)."""
    if value == "dhcp":
        return "dhcp"
    return "auto" if value == "auto" else v6(value)


def either(value: object) -> IPv4Address | IPv6Address:
    """An address of either family."""
    try:
        return ipaddress.ip_address(text(value))
    except ValueError as failure:
        if isinstance(failure, WrongError):
            raise
        raise WrongError(f"{show(value)} is no address", _V4) from None


def subnet4(value: object) -> IPv4Network:
    """An IPv4 subnet: its network address and the prefix length."""
    net = _subnet(value, "192.168.1.0/24")
    if isinstance(net, IPv4Network):
        return net
    raise WrongError(f"{show(value)} is an IPv6 subnet", "write it under subnet6")


def subnet6(value: object) -> IPv6Network:
    """An IPv6 subnet: its network address and the prefix length."""
    net = _subnet(value, "fd00::/64")
    if isinstance(net, IPv6Network):
        return net
    raise WrongError(f"{show(value)} is an IPv4 subnet", "write it under subnet")


def _subnet(value: object, example: str) -> IPv4Network | IPv6Network:
    written = text(value)
    if not re.search(r"/\d{1,3}$", written, re.ASCII):
        raise WrongError(f"{show(value)} is no subnet", f'write e.g. "{example}"')
    try:
        net = ipaddress.ip_network(written, strict=False)
    except ValueError:
        raise WrongError(f"{show(value)} is no subnet", f'write e.g. "{example}"') from None
    if str(net.network_address) != str(ipaddress.ip_address(written.rpartition("/")[0])):
        raise WrongError(f"{show(value)} is an address in a subnet", f'write the subnet: "{net}"')
    return net


def mac(value: object) -> str:
    """A unicast MAC address, in upper case (pve_verify_mac_addr of JSONSchema.pm)."""
    written = text(value).upper()
    if not re.fullmatch(r"[0-9A-F]{2}(?::[0-9A-F]{2}){5}", written):
        raise WrongError(f"{show(value)} is no MAC address", 'write e.g. "02:48:00:00:00:87"')
    if int(written[1], 16) % 2:
        raise WrongError(f"{show(value)} is a multicast MAC address", "the first byte must be even, e.g. 02")
    return written


def url(*schemes: str) -> Callable[[object], str]:
    """A URL of these schemes with a host and without a password."""

    def check(value: object) -> str:
        written = text(value)
        try:
            parts = urlsplit(written)
            right = bool(parts.scheme in schemes and parts.hostname and (parts.port or 1) > 0)
        except ValueError:
            raise WrongError("is no URL", f"write e.g. {schemes[0]}://example.org/file") from None
        if "@" in parts.netloc:
            raise WrongError("is a URL with a login in it", "leave the login out")
        if not right or re.search(r"[\s\\\"'<>]", written):
            raise WrongError(
                f"{show(value)} is no {'/'.join(schemes)} URL", f"write e.g. {schemes[0]}://example.org/file"
            )
        return written

    return check


_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}


def checksum(value: object) -> str:
    """ "sha512:HEX", in lower case; sha256 and sha384 too."""
    written = text(value).strip().lower()
    kind, _, digits = written.partition(":")
    if kind not in _DIGITS:
        raise WrongError(f"{show(value)} is no checksum", 'write "sha512:" and the 128 digits')
    if not re.fullmatch(rf"[0-9a-f]{{{_DIGITS[kind]}}}", digits):
        raise WrongError(f"{show(value)} is no {kind} checksum", f"it has {_DIGITS[kind]} hexadecimal digits")
    return written


def path(value: object) -> str:
    """An absolute path in the form Proxmox stores: no blanks, commas, `.` or `..`."""
    written = _path(value)
    if any(part in {".", ".."} for part in written.split("/")):
        raise WrongError(f"{show(value)} holds . or ..", "write the path straight")
    return written


def device(value: object) -> str:
    """A device of the node: a path below /dev."""
    written = path(value)
    if not written.startswith("/dev/"):
        raise WrongError(f"{show(value)} is no device", "write e.g. /dev/serial/by-id/usb-...")
    return written


_KEY_EXAMPLE = "write the line of the .pub file: ssh-ed25519 AAAA... name"
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-", "sk-ssh-ed25519@", "sk-ecdsa-sha2-")


def ssh_key(value: object) -> str:
    """A public SSH key as one line of authorized_keys without options. A wrong one is never shown."""
    words = text(value).split()
    if "PRIVATE" in words:
        raise WrongError("is a private key", "take it out and replace it everywhere; " + _KEY_EXAMPLE)
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error, ValueError):
        raise WrongError(
            "is no public SSH key", "write the line of the .pub file: ssh-ed25519 AAAA... name"
        ) from None
    kind = words[0].encode()
    if not words[0].startswith(_KEY_TYPES) or blob[4 : 4 + len(kind)] != kind:
        raise WrongError("is no public SSH key", _KEY_EXAMPLE)
    return " ".join(words)


@cache
def _zones_here() -> bool:
    try:
        ZoneInfo("Europe/Berlin")
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return False
    return True


def timezone(value: object) -> str:
    """A name of the time zone database; only its shape is checked where this machine has none."""
    name = _zone(value)
    try:
        if _zones_here():
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise WrongError(f"there is no time zone {show(value)}", "write e.g. Europe/Zurich") from None
    return name
