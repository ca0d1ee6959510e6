"""What Proxmox does to single values of a VM's config. Pure.

Source: PVE/API2/Qemu.pm and PVE/QemuServer.pm (qemu-server), and the recordings named at each rule.
"""

from __future__ import annotations

import re
from typing import Any

from fakepve import schema as pve_schema
from fakepve.lxc import split_props
from fakepve.qemu import DRIVE_KEY, split_drive, with_mac

#: Parameters of a config request that are no config keys.
CONTROL = ("node", "vmid", "digest", "delete", "revert", "force", "skiplock", "background_delay")
CONTROL_9 = ("skip_cloud_init", "import-working-storage")

_CPU = "cores cpu cpulimit cpuunits numa sockets vcpus smp"
_MEMORY = "memory balloon shares allow-ksm"
_HARDWARE = "acpi hotplug kvm machine scsihw smbios1 tablet vga watchdog audio0 rng0"
_GENERAL = (
    "agent autostart bios description keyboard localtime migrate_downtime migrate_speed name onboot ostype "
    "protection reboot startdate startup tdf template"
)
_DISK = "boot bootdisk vmstatestorage"
_CLOUDINIT = "cicustom cipassword citype ciuser ciupgrade nameserver searchdomain sshkeys"

#: key -> the privilege on the VM that it needs: check_vm_modify_config_perm.
PRIVILEGES = {
    **dict.fromkeys(_CPU.split(), "VM.Config.CPU"),
    **dict.fromkeys(_MEMORY.split(), "VM.Config.Memory"),
    **dict.fromkeys(_HARDWARE.split(), "VM.Config.HWType"),
    **dict.fromkeys(_GENERAL.split(), "VM.Config.Options"),
    **dict.fromkeys(_DISK.split(), "VM.Config.Disk"),
    **dict.fromkeys(_CLOUDINIT.split(), "VM.Config.Cloudinit"),
    "tags": "VM.Config.Options",
    "freeze": "VM.PowerMgmt",
    "vmgenid": "VM.Config.HWType",
    "vmstate": "VM.Config.Disk",
}

_FAST = (
    "description hookscript lock migrate_downtime migrate_speed name onboot protection shares startup tags "
    "vmstatestorage cpuunits cpulimit"
)
#: Applied to a running VM at once: $fast_plug_option. Cloud-init's too: its drive follows at the next start.
AT_ONCE = frozenset((*_FAST.split(), *_CLOUDINIT.split()))
#: Options of a disk that only a restart changes: vmconfig_update_disk.
_COLD_DISK = ("aio", "discard", "iothread", "queues", "product", "cache", "ssd", "vendor", "ro")
_FEATURE_OF = {"net": "network", "memory": "memory", "vcpus": "cpu", "usb": "usb"}
_SCHEMA = "/nodes/{node}/qemu/{vmid}/config"


def known(key: str) -> bool:
    """Whether a key is a VM's config key."""
    properties = pve_schema.load().paths[_SCHEMA]["PUT"]["parameters"]["properties"]
    return key not in (*CONTROL, *CONTROL_9) and (
        key in ("lock", "template", "parent") or pve_schema._prop(properties, key) is not None
    )


def privilege(key: str) -> str | None:
    """The privilege a key needs, "" where it depends on the value, None where only root@pam may."""
    if DRIVE_KEY.match(key) or re.fullmatch(r"(unused|serial|usb|hostpci|virtiofs)\d+", key):
        return ""
    if re.fullmatch(r"net\d+", key):
        return "VM.Config.Network"
    if re.fullmatch(r"ipconfig\d+", key):
        return "VM.Config.Cloudinit"
    if re.fullmatch(r"numa\d+", key):
        return "VM.Config.CPU"
    return PRIVILEGES.get(key)


def unique_tags(value: str) -> str:
    """Tags sorted, lower-cased, once each (recording 1103: "b,a,b,A" comes back as "a;b")."""
    return ";".join(sorted({tag.lower() for tag in re.split(r"[;,\s\0]+", value) if tag}))


def stored(key: str, value: Any) -> Any:
    """A value as the config keeps it after a PUT or POST."""
    if re.fullmatch(r"net\d+", key):
        return net(str(value))
    if key == "tags":
        return unique_tags(str(value))
    if key == "cpulimit":
        # Numbers that may have a fraction are strings in every answer, as a container's are.
        return str(value)
    return value


def net(value: str) -> str:
    """A network card: model and MAC first, the rest sorted; a new MAC where none is given (1089-1092)."""
    text: str = with_mac(value)
    return ",".join(re.sub(r"^(firewall|link_down)=(.*)$", _digit, part) for part in text.split(","))


def _digit(found: re.Match[str]) -> str:
    return f"{found.group(1)}={pve_schema.parse_boolean(found.group(2)) or found.group(2)}"


def takes_effect(key: str, old: Any, new: Any, hotplug: str) -> bool:
    """Whether a running VM takes a change at once (vmconfig_hotplug_pending).

    Args:
        key: the config key.
        old: its running value, None where it is not set.
        new: the value wanted, None to delete it.
        hotplug: the VM's `hotplug` option; "1" is Proxmox's default.
    """
    features = _features(hotplug)
    kind = key.rstrip("0123456789")
    if key in AT_ONCE or kind == "ipconfig":
        return True
    if kind in _FEATURE_OF:
        return _FEATURE_OF[kind] in features or (kind == "net" and _same_card(old, new))
    if key == "balloon":
        return old is not None and new is not None and bool(int(old)) == bool(int(new))
    return bool(DRIVE_KEY.match(key)) and _disk_takes_effect(key, old, new, "disk" in features)


def _features(hotplug: str) -> set[str]:
    if hotplug in ("", "1"):
        return {"network", "disk", "usb"}
    return set() if hotplug == "0" else set(hotplug.split(","))


def _same_card(old: Any, new: Any) -> bool:
    """Bridge, VLAN and firewall of the same card change without pulling it."""
    return old is not None and new is not None and old.partition(",")[0] == new.partition(",")[0]


def _disk_takes_effect(key: str, old: Any, new: Any, pluggable: bool) -> bool:
    cold_bus = bool(re.match(r"efidisk|tpmstate|ide|sata", key))
    if old is None or new is None:
        return pluggable and not cold_bus
    old_volume, was = split_drive(old)
    volume, wanted = split_drive(new)
    if was.get("media") == "cdrom" or wanted.get("media") == "cdrom":
        return bool(was.get("media") == wanted.get("media"))
    if volume != old_volume:
        return pluggable and not cold_bus
    return all(was.get(option) == wanted.get(option) for option in _COLD_DISK)


def usb_is_real(value: str) -> bool:
    """Whether a usbN value passes through a device of the node by its id or port."""
    first, options = split_props(value)
    host = options.get("host", first or "")
    return not options.get("mapping") and host.lower() != "spice"
