"""Correction: reading and changing a container's config.

Recordings 62, 281-289, 341-375, 445-469, 849-860, 1108-1113. Source: PVE/LXC/Config.pm and
PVE/API2/LXC/Config.pm (pve-container).
"""

from __future__ import annotations

import re
from typing import Any

from fakepve import PveError
from fakepve.lxc import (
    MOUNT_KEY,
    NEW_DISK,
    SIZE_UNITS,
    format_size,
    mount_type,
    parse_mount,
    parse_size,
    split_props,
)
from fakepve.routing import die

from twin.pve.shown import pending_rows
from twin.pve.tasks import Tasks
from twin.pve.vm_disks import VmDisks

#: On 9.x a privileged container may nest, for who has Sys.Modify on /.
_PRIVILEGED_MAY_NEST_SINCE = 9
_ANSWERED_SIZE = 4 * 1024**3


def stored(key: str, value: Any) -> Any:
    """A value as a container's config keeps it."""
    if key == "description":
        # Recording 62: one newline at the end.
        return str(value).rstrip("\n") + "\n"
    if key == "cpulimit":
        return f"{float(value):g}"
    if key in ("nameserver", "searchdomain") and value == "":
        # Recording 366: blank, but there.
        return " "
    return value


def print_mount(mount: dict[str, str]) -> str:
    """A mount point as Proxmox writes it: volume, then `mp`, then the rest by name (recording 341)."""
    rest = sorted(key for key in mount if key not in ("volume", "mp"))
    keys = [*(["mp"] if "mp" in mount else []), *rest]
    return ",".join([mount["volume"], *(f"{key}={mount[key]}" for key in keys)])


class CtConfig(VmDisks, Tasks):
    """Config, pending changes, mount points and resize of containers."""

    async def _lxc_pending(self, user: str, v: dict[str, Any]) -> list[dict[str, Any]]:
        return pending_rows(self._find_ct(v["node"], v["vmid"]))

    async def _update_config(
        self, ct: Any, user: str, values: dict[str, Any], deletes: list[str], reverts: list[str]
    ) -> None:
        self._check_hookscript(values)
        before = dict(ct.config)
        kept = {key: stored(key, value) for key, value in values.items()}
        await super()._update_config(ct, user, kept, deletes, reverts)
        changed = sorted(
            key for key in {*before, *ct.config} if before.get(key) != ct.config.get(key) and key != "lock"
        )
        if changed:
            await self.real_change(ct, changed)

    def _check_hookscript(self, values: dict[str, Any]) -> None:
        script = values.get("hookscript")
        if script and self.volume_exists(script) is not True:
            raise die(f"script '{script}' does not exist")

    def _apply(self, ct: Any, selection: Any = None, running: bool = False) -> None:
        """A mount point that is set anew leaves its old volume unused; a deleted unusedN is freed."""
        before = dict(ct.config)
        super()._apply(ct, selection, running)
        for key in sorted(before):
            old = parse_mount(before[key]).get("volume", "") if MOUNT_KEY.match(key) else ""
            if not old or mount_type(old) != "volume":
                continue
            if key.startswith("unused") and key not in ct.config:
                self._qm_free(old)
            elif key in ct.config and parse_mount(ct.config[key])["volume"] != old:
                ct.config[self._unused_key(ct.config)] = old

    def _realise(self, vmid: int, key: str, value: Any, taken: set[str], default_storage: Any = None) -> str:
        """A mount point with its volume allocated: a name, an entry on the storage, its space taken."""
        mount = parse_mount(value)
        if key == "rootfs":
            mount.pop("mp", None)
        found = NEW_DISK.match(mount.get("volume", ""))
        if found is None:
            if parse_size(mount.get("size", "")):
                mount["size"] = format_size(parse_size(mount["size"]))
            return print_mount(mount)
        sid, size = found.group(1), int(float(found.group(2)) * SIZE_UNITS["G"])
        self._take_space(sid, size)
        volid = self._allocate(vmid, sid, taken)
        self.storages[sid].setdefault("volumes", {})[volid.partition(":")[2]] = {
            "content": "rootdir",
            "format": "raw",
            "size": size,
            "vmid": vmid,
            "ctime": 0,
        }
        return print_mount({**mount, "volume": volid, "size": format_size(size) if size else "0T"})

    # ----------------------------------------------------------- permissions

    def _check_modify_perm(  # noqa: PLR0917 - fakepve's signature
        self,
        user: str,
        vmid: int,
        pool: str | None,
        old: dict[str, Any] | None,
        new: dict[str, Any],
        deletes: list[str],
        unprivileged: Any,
    ) -> None:
        """PVE-FACTS.md, "Users and tokens": features of privileged containers, by version."""
        new_rules = self.major >= _PRIVILEGED_MAY_NEST_SINCE and not unprivileged
        if new_rules and user != "root@pam" and ("features" in new or "features" in deletes):
            before = split_props((old or {}).get("features", ""))[1]
            after = split_props(new.get("features", ""))[1]
            if any(before.get(k) != after.get(k) for k in {*before, *after} - {"nesting"}):
                text = "changing feature flags (except nesting) is only allowed for root@pam"
                raise PveError(403, f"Permission check failed ({text})")
            if before.get("nesting") != after.get("nesting"):
                self.require(user, "/", "Sys.Modify")
            new = {key: value for key, value in new.items() if key != "features"}
            deletes = [key for key in deletes if key != "features"]
        super()._check_modify_perm(user, vmid, pool, old, new, deletes, unprivileged)

    # --------------------------------------------------------------- resize

    async def _lxc_resize(self, user: str, v: dict[str, Any]) -> str:
        """Recordings 274-280, 533: everything is checked before the task, and again in it."""
        ct = self._find_ct(v["node"], v["vmid"])
        self._ct_check_lock(ct)
        key, text = v["disk"], str(v["size"])
        self._check_modify_perm(
            user, ct.vmid, None, ct.config, {"disk": key}, [], ct.config.get("unprivileged")
        )
        if v.get("digest") and v["digest"] != ct.digest():
            raise die("detected modified configuration - file changed by other user? Try again.")
        self.need_quorum()
        self._resize_plan(ct, user, key, text)

        async def body() -> str:
            mount, size, grown = self._resize_plan(ct, user, key, text)
            await self.ceph_io(ct, [key])
            await self.pause(self.ct_secs["resize"])
            sid, _, name = mount["volume"].partition(":")
            self._take_space(sid, grown)
            self.storages[sid].get("volumes", {}).get(name, {}).update(size=size)
            ct.config[key] = print_mount({**mount, "size": format_size(size)})
            await self.real_resize(ct, key)
            return "Image resized."

        upid: str = await self._ct_task(ct, "resize", user, body)
        return upid

    def _resize_plan(self, ct: Any, user: str, key: str, text: str) -> tuple[dict[str, str], int, int]:
        """(mount, its new size, how much it grows), or Proxmox's refusal."""
        if key not in ct.config:
            missing = "property is missing and it is not optional"
            names = ["volume"] if key == "rootfs" else ["mp", "volume"]
            raise PveError(500, "format error", dict.fromkeys(names, missing))
        mount = parse_mount(ct.config[key])
        if mount_type(mount["volume"]) != "volume":
            raise die(f"unable to parse volume ID '{mount['volume']}'")
        self.require(user, f"/storage/{mount['volume'].partition(':')[0]}", "Datastore.AllocateSpace")
        old = parse_size(mount.get("size", "")) or _ANSWERED_SIZE
        asked = parse_size(text.lstrip("+")) or 0
        new = old + asked if text.startswith("+") else asked
        if new < old:
            raise die("unable to shrink disk size")
        if new == old:
            raise die("disk is already at specified size")
        return mount, new, new - old


def network_names(config: dict[str, Any]) -> list[str]:
    """The names of a container's network cards inside it."""
    return [
        split_props(value)[1].get("name", "") for key, value in config.items() if re.fullmatch(r"net\d+", key)
    ]
