"""Android's own file about whom an app trusts: developer.android.com/privacy-and-security/security-config."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

CA_RESOURCE = "@raw/hearth_ca"


def network_security_config(hosts: Sequence[str], pins: Sequence[str]) -> str:
    """`res/xml/network_security_config.xml`: for these hosts TLS only, our CA only, and only these keys.

    No `expiration`: pins that run out are as good as none. The system's own CAs stay for everybody else.

    Args:
        hosts: names and IPv4 addresses; an IPv6 address has no form that Android documents.
        pins: base64 of SHA-256 over a CA's public key, the one in use first.
    """
    root = ElementTree.Element("network-security-config")
    ElementTree.SubElement(root, "base-config", cleartextTrafficPermitted="false")
    home = ElementTree.SubElement(root, "domain-config", cleartextTrafficPermitted="false")
    for host in hosts:
        if ":" not in host:
            ElementTree.SubElement(home, "domain", includeSubdomains="false").text = host
    anchors = ElementTree.SubElement(home, "trust-anchors")
    ElementTree.SubElement(anchors, "certificates", src=CA_RESOURCE)
    pinned = ElementTree.SubElement(home, "pin-set")
    for value in pins:
        ElementTree.SubElement(pinned, "pin", digest="SHA-256").text = value
    ElementTree.indent(root, "    ")
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + ElementTree.tostring(root, encoding="unicode") + "\n"
