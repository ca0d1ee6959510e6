"""The privileges and built-in roles of Proxmox VE, by version.

Source: `$privgroups` and `create_roles` in pve-access-control's PVE/AccessControl.pm (9.x), and
recording 749 (`GET /access/roles`) for 8.4, where the guest agent's privileges are one, VM.Monitor.
"""

from __future__ import annotations

import re

# category -> kind of privilege -> names. Kinds: root (Administrator only), admin, user, audit.
_GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "VM": {
        "admin": (
            "VM.Config.Disk",
            "VM.Config.CPU",
            "VM.Config.Memory",
            "VM.Config.Network",
            "VM.Config.HWType",
            "VM.Config.Options",
            "VM.Allocate",
            "VM.Clone",
            "VM.Migrate",
            "VM.Snapshot",
            "VM.Snapshot.Rollback",
        ),
        "user": ("VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.Backup", "VM.PowerMgmt"),
        "audit": ("VM.Audit",),
    },
    "Sys": {
        "root": ("Sys.PowerMgmt", "Sys.Modify", "Sys.Incoming", "Sys.AccessNetwork"),
        "admin": ("Sys.Console", "Sys.Syslog"),
        "audit": ("Sys.Audit",),
    },
    "Datastore": {
        "admin": ("Datastore.Allocate", "Datastore.AllocateTemplate"),
        "user": ("Datastore.AllocateSpace",),
        "audit": ("Datastore.Audit",),
    },
    "SDN": {"admin": ("SDN.Allocate", "SDN.Audit"), "user": ("SDN.Use",), "audit": ("SDN.Audit",)},
    "User": {
        "root": ("Realm.Allocate",),
        "admin": ("User.Modify", "Group.Allocate", "Realm.AllocateUser"),
    },
    "Pool": {"admin": ("Pool.Allocate",), "user": ("Pool.Audit",), "audit": ("Pool.Audit",)},
    "Mapping": {"admin": ("Mapping.Modify",), "user": ("Mapping.Use",), "audit": ("Mapping.Audit",)},
}

_SINCE_9: dict[str, tuple[str, ...]] = {
    "admin": ("VM.GuestAgent.Unrestricted", "VM.Replicate"),
    "user": ("VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt", "VM.GuestAgent.FileWrite"),
    "audit": ("VM.GuestAgent.Audit",),
}
_UNTIL_8: dict[str, tuple[str, ...]] = {"admin": ("VM.Monitor",)}

_FIRST_WITH_AGENT_PRIVILEGES = 9

#: ACL paths that Proxmox accepts: `check_path` in the same source.
_NAME = r"[A-Za-z0-9._-]+"
ACL_PATH = re.compile(
    rf"/|/access(/groups(/{_NAME})?|/realm(/{_NAME})?)?|/nodes(/{_NAME})?|/pool(/{_NAME}){{0,3}}"
    rf"|/sdn(/(controllers|dns|fabrics|ipams|prefix-lists|route-maps)(/{_NAME})?)?"
    rf"|/sdn/zones(/{_NAME}){{0,2}}|/sdn/zones(/{_NAME}){{2}}/[1-9][0-9]{{0,3}}"
    rf"|/storage(/{_NAME})?|/vms(/[1-9][0-9]{{2,}})?|/mapping(/{_NAME}){{0,2}}"
)


def _groups(major: int) -> dict[str, dict[str, tuple[str, ...]]]:
    extra = _SINCE_9 if major >= _FIRST_WITH_AGENT_PRIVILEGES else _UNTIL_8
    vm = {kind: names + extra.get(kind, ()) for kind, names in _GROUPS["VM"].items()}
    return {**_GROUPS, "VM": vm}


def privileges(major: int) -> frozenset[str]:
    """Every privilege of Proxmox VE `major` (8 or 9)."""
    found = {"Permissions.Modify"}
    for kinds in _groups(major).values():
        for names in kinds.values():
            found.update(names)
    return frozenset(found)


def built_in_roles(major: int) -> dict[str, frozenset[str]]:
    """The roles that come with Proxmox VE `major`: name -> privileges. They cannot be changed."""
    roles: dict[str, set[str]] = {"PVEAdmin": set(), "PVEAuditor": set()}
    for category, kinds in _groups(major).items():
        user, audit = kinds.get("user", ()), kinds.get("audit", ())
        admin = {*kinds.get("admin", ()), *user, *audit}
        roles[f"PVE{category}Admin"] = set(admin)
        roles["PVEAdmin"] |= admin
        if user:
            roles[f"PVE{category}User"] = {*user, *audit}
        roles["PVEAuditor"].update(audit)
    roles["PVEAdmin"].discard("Mapping.Modify")
    roles["PVETemplateUser"] = {"VM.Clone", "VM.Audit"}
    roles["NoAccess"] = set()
    roles["Administrator"] = set(privileges(major))
    return {name: frozenset(privs) for name, privs in roles.items()}
