"""What the fleet says of its tailnet: names, the coordination server, and what a guest advertises."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest, Node, Tailnet
from hearth.role.declaration import Role

TAILSCALE, HEADSCALE, SUBNET_ROUTER = "tailscale", "headscale", "subnet_router"
VENDOR = "https://controlplane.tailscale.com"  # ipn.DefaultControlURL of tailscale.com/ipn
HTTPS = 443


def tailnet_of(fleet: Fleet) -> Tailnet:
    """The fleet's tailnet.

    Raises:
        HearthError: the fleet file has none.
    """
    if fleet.tailnet is None:
        raise HearthError(
            "join a tailnet",
            "the fleet file has none",
            "add the section tailnet, with its domain (docs/tailnet-guests.md)",
        )
    return fleet.tailnet


def joined(guest: Guest) -> bool:
    """True for a guest that is in the tailnet."""
    return TAILSCALE in guest.roles


def tailnet_name(guest: Guest, fleet: Fleet) -> str | None:
    """A guest's MagicDNS name; None where it is in no tailnet."""
    return f"{guest.name}.{fleet.tailnet.domain}" if fleet.tailnet and joined(guest) else None


def node_name(node: Node) -> str:
    """A node's name in the tailnet, where names are in small letters."""
    return node.name.lower()


def member_names(fleet: Fleet) -> tuple[str, ...]:
    """Who of the fleet should be in the tailnet: guests with the role, and nodes that ask."""
    guests = [guest.name for guest in fleet.with_role(TAILSCALE)]
    return (*guests, *(node_name(node) for node in fleet.nodes if node.tailnet))


def known_names(fleet: Fleet) -> tuple[str, ...]:
    """Who may be there: every guest, also one that stays out, and nodes that ask."""
    return (*(guest.name for guest in fleet.guests), *member_names(fleet))


def has_tun(guest: Guest) -> bool:
    """True where the kernel can carry the tailnet; elsewhere tailscaled carries it in user space."""
    return guest.kind == "vm" or guest.tun


def server_url(fleet: Fleet, roles: Mapping[str, Role]) -> str:
    """The coordination server: the fleet's own word, else its headscale guest, else Tailscale.

    Args:
        fleet: one with a tailnet.
        roles: every role there is.
    """
    if tailnet_of(fleet).server:
        return str(tailnet_of(fleet).server)
    found = next(iter(fleet.with_role(HEADSCALE)), None)
    if found is None:
        return VENDOR
    port = roles[HEADSCALE].port("web").number
    return f"https://{own_name(found, fleet)}{'' if port == HTTPS else f':{port}'}"


def api_url(fleet: Fleet, roles: Mapping[str, Role]) -> str | None:
    """Where the run reaches the API of the fleet's own headscale: by address, since the machine that deploys
    need not know the fleet's names; None where the fleet has none.
    """
    found = next(iter(fleet.with_role(HEADSCALE)), None)
    if found is None:
        return None
    port = roles[HEADSCALE].port("web").number
    return f"https://{found.address}{'' if port == HTTPS else f':{port}'}"


def server_host(fleet: Fleet) -> tuple[str, str] | None:
    """Name and address of the fleet's own headscale, where its URL has a name that only the fleet knows."""
    found = next(iter(fleet.with_role(HEADSCALE)), None)
    if found is None or tailnet_of(fleet).server:
        return None
    return own_name(found, fleet), str(found.address)


def own_name(guest: Guest, fleet: Fleet) -> str:
    """A guest's full name in its network, or its name alone where the network has no domain."""
    domain = fleet.network(guest.network).domain if guest.network else None
    return f"{guest.name}.{domain}" if domain else guest.name


def certificate_names(guest: Guest, fleet: Fleet) -> tuple[str, ...]:
    """What a guest's certificate holds for because of the tailnet: MagicDNS, and the server's public name."""
    if fleet.tailnet is None:
        return ()
    name = tailnet_name(guest, fleet)
    public = urlsplit(fleet.tailnet.server).hostname if fleet.tailnet.server else None
    return (*([name] if name else []), *([public] if public and HEADSCALE in guest.roles else []))


def advertised(guest: Guest, fleet: Fleet) -> tuple[str, ...]:
    """The networks that a guest carries for the tailnet, as CIDRs: its own, where it is a subnet router."""
    if SUBNET_ROUTER not in guest.roles or guest.network is None:
        return ()
    network = fleet.network(guest.network)
    six = network.subnet6 if guest.address6 is not None else None
    return tuple(str(subnet) for subnet in (network.subnet, six) if subnet is not None)
