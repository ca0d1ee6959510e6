"""Proxmox's property strings: `name=eth0,bridge=vmbr0,ip=dhcp`, and sizes.

Unknown keys are kept as they came, in their order: what Hearth does not know it does not lose.
Format: PVE::JSONSchema::parse_property_string; the key without a name is each format's default_key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_MODELS = (
    "e1000 e1000-82540em e1000-82544gc e1000-82545em e1000e i82551 i82557b i82559er "
    "ne2k_isa ne2k_pci pcnet rtl8139 virtio vmxnet3"
)
NET_MODELS = frozenset(_MODELS.split(" "))  # PVE::QemuServer::Network, $nic_model_list
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
_MIB = {"": 1 / 1024**2, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}


def parse(text: object, default: str = "") -> dict[str, str]:
    """The keys and values of a property string.

    Args:
        text: as Proxmox gives it; None is an empty one.
        default: the key of the part that has none (`volume`, `order`, ...).
    """
    found: dict[str, str] = {}
    for part in str("" if text is None else text).split(","):
        key, equals, value = part.strip().partition("=")
        if equals:
            found[key.strip()] = value.strip()
        elif key:
            found[default] = key
    return found


def show(properties: Mapping[str, str], default: str = "") -> str:
    """The property string; the default key first and without its name."""
    first = [properties[default]] if default in properties else []
    return ",".join([*first, *(f"{key}={value}" for key, value in properties.items() if key != default)])


def parse_net(text: object) -> dict[str, str]:
    """A `netN` of either kind; `model` and `hwaddr` (upper case) for a VM's `virtio=MAC`.

    A VM's may also spell them model= and macaddr=.
    """
    found = parse(text, "model")
    for model in NET_MODELS & set(found):
        found = {"model": model, "hwaddr": found.pop(model), **found}
    if "macaddr" in found:
        found["hwaddr"] = found.pop("macaddr")
    if found.get("model") in NET_MODELS and not found.get("hwaddr"):
        found.pop("hwaddr", None)
    if "hwaddr" in found:
        found["hwaddr"] = found["hwaddr"].upper()
    return found


def show_net(net: Mapping[str, str]) -> str:
    """A `netN` as Proxmox takes it: with `model` a VM's, else a container's."""
    rest = {key: value for key, value in net.items() if key not in ("model", "hwaddr")}
    if "model" not in net:
        return show({**rest, **({"hwaddr": net["hwaddr"]} if "hwaddr" in net else {})})
    first = f"{net['model']}={net['hwaddr']}" if "hwaddr" in net else net["model"]
    return ",".join(part for part in (first, show(rest)) if part)


def mebibytes(size: object) -> int | None:
    """The MiB of a size (8G, 8192M, 512K, plain bytes), rounded up; None for what is no size."""
    found = _SIZE.fullmatch(str(size).strip())
    return math.ceil(float(found.group(1)) * _MIB[found.group(2)]) if found else None


def gibibytes(mib: int) -> str:
    """MiB as the GiB of an allocation (`STORAGE:8`, `STORAGE:0.5`); exact, for PVE cuts below a KiB."""
    return str(mib // 1024) if mib % 1024 == 0 else repr(mib / 1024)


def size(mib: int) -> str:
    """MiB as Proxmox writes a size: the largest unit that divides it."""
    return f"{mib // 1024}G" if mib % 1024 == 0 else f"{mib}M"


def tags(text: object) -> tuple[str, ...]:
    """Tags, sorted and lower case (PVE::GuestHelpers::get_unique_tags); any separator."""
    return tuple(sorted({tag.lower() for tag in re.split(r"[;,\s]+", str(text or "")) if tag}))


def flag(value: object) -> bool:
    """A boolean of Proxmox's: 1, "1", on, yes, true."""
    return str(value).strip().lower() in ("1", "on", "yes", "true")
