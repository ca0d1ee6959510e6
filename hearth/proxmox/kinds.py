"""When Proxmox puts a changed key of a running guest into force.

Containers: $LXC_FASTPLUG_OPTIONS and vmconfig_hotplug_pending in PVE/LXC/Config.pm (pve-container): what is
not listed there is skipped and waits. VMs: $fast_plug_option and vmconfig_hotplug_pending in
PVE/QemuServer.pm (qemu-server); `hotplug` is "network,disk,usb" unless set. A stopped guest takes all.
"""

from __future__ import annotations

from hearth.fleet.model import Kind
from hearth.proxmox.change import How
from hearth.proxmox.observe import Config

_LXC_LIVE = frozenset(
    (
        *(
            "hostname",
            "description",
            "onboot",
            "startup",
            "protection",
            "cores",
            "tags",
        ),  # $LXC_FASTPLUG_OPTIONS
        *("memory", "swap"),  # through the cgroup
        "net",  # PVE::LXC::update_net
    )
)
_VM_LIVE = frozenset(("name", "description", "onboot", "startup", "protection", "tags", "net"))
_FIXED = frozenset(("unprivileged",))  # update_pct_config: "unable to modify read-only option"
_DEFAULT_HOTPLUG = "network,disk,usb"


def kind_of(kind: Kind, key: str, config: Config) -> How:
    """How a changed key of a running guest comes into force.

    Args:
        kind: of the guest. key: of Proxmox, e.g. "memory", "net0", "scsi1".
        config: of a VM, for its `hotplug`.
    """
    bare = key.rstrip("0123456789")
    if bare in _FIXED:
        return "replace"
    if kind == "lxc":
        return "live" if bare in _LXC_LIVE or _new_mount(bare, key, config) else "restart"
    if bare in _VM_LIVE or bare in _hotplugged(config):
        return "live"
    return "restart"


def _new_mount(bare: str, key: str, config: Config) -> bool:
    # "don't try to hotplug over existing mp"
    return bare == "mp" and key not in config.values


def _hotplugged(config: Config) -> set[str]:
    setting = str(config.values.get("hotplug", _DEFAULT_HOTPLUG))
    features = set((_DEFAULT_HOTPLUG if setting == "1" else setting).split(","))
    keys = {"disk": ("scsi", "virtio"), "usb": ("usb",), "memory": ("memory",)}
    return {key for feature in features for key in keys.get(feature, ())}
