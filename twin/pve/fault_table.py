"""The faults: what each does to a fake, and what undoes it.

A fault is a function of the fake and keyword parameters; its docstring's first line is what a person
reads. Times are PVE seconds: `time_scale` makes them real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fakepve import TaskError

from hearth.errors import HearthError
from twin.pve.pve import Pve

Undo = Callable[[], None]
_NEVER = 10**9


def _setting(owner: Any, name: str, value: Any) -> Undo:
    """Set an attribute; undoing sets it back."""
    old = getattr(owner, name)
    setattr(owner, name, value)
    return lambda: setattr(owner, name, old)


def _entry(owner: dict[Any, Any], key: Any, value: Any) -> Undo:
    """Set a dictionary's entry, or drop it where `value` is None; undoing restores what was there."""
    missing = object()
    old = owner.get(key, missing)
    if value is None:
        owner.pop(key, None)
    else:
        owner[key] = value

    def undo() -> None:
        if old is missing:
            owner.pop(key, None)
        else:
            owner[key] = old

    return undo


def _all(*undos: Undo) -> Undo:
    """Undo several, the last first."""

    def undo() -> None:
        for one in reversed(undos):
            one()

    return undo


def _guest(pve: Pve, vmid: int) -> Any:
    guest = pve.guest(vmid)
    if guest is None:
        raise HearthError("apply a fault", f"there is no guest {vmid}", "create it first")
    return guest


def _storage(pve: Pve, storage: str) -> dict[str, Any]:
    if storage not in pve.storages:
        raise HearthError("apply a fault", f"there is no storage {storage}", f"one of {sorted(pve.storages)}")
    found: dict[str, Any] = pve.storages[storage]
    return found


# ------------------------------------------------------------------- guests


def config_lock(pve: Pve, *, vmid: int) -> Undo:
    """A guest's config lock is held elsewhere: writes fail after 10 s."""
    guest = _guest(pve, vmid)
    guest.lock_holder = "scenario"
    return lambda: pve.release(guest, "scenario")


def guest_lock(pve: Pve, *, vmid: int, lock: str = "snapshot") -> Undo:
    """A guest's config says `lock:`, as an interrupted snapshot or clone leaves it."""
    _guest(pve, vmid)
    pve.snapshot_lock(vmid, lock)
    return lambda: pve.unlock(vmid) if pve.guest(vmid) else None


def backup(pve: Pve, *, vmid: int) -> Undo:
    """A backup of a guest is running: `lock: backup`."""
    return guest_lock(pve, vmid=vmid, lock="backup")


def moved(pve: Pve, *, vmid: int, node: str) -> Undo:
    """A guest was migrated to another node, which is added where it is missing."""
    undo_node = _entry(pve.nodes, node, pve.nodes.get(node, {"online": True}))
    undo = _setting(_guest(pve, vmid), "node", node)
    return _all(undo, undo_node)


def slow_guest(pve: Pve, *, vmid: int, start: float = 0, shutdown: float = 0, stop: float = 0) -> Undo:
    """A guest takes these PVE seconds to start, shut down and stop."""
    guest = _guest(pve, vmid)
    return _all(
        _setting(guest, "start_secs", start),
        _setting(guest, "shutdown_secs", shutdown),
        _setting(guest, "stop_secs", stop),
    )


def deaf_guest(pve: Pve, *, vmid: int) -> Undo:
    """A guest does not react to a shutdown."""
    return _setting(_guest(pve, vmid), "shutdown_secs", _NEVER)


def start_fails(pve: Pve, *, vmid: int, message: str = "startup failed") -> Undo:
    """A guest's start task fails."""
    return _setting(_guest(pve, vmid), "start_error", message)


def agent_hangs(pve: Pve, *, vmid: int) -> Undo:
    """A VM's guest agent runs and does not answer."""
    return _setting(_guest(pve, vmid), "agent_hangs", True)


# ------------------------------------------------------------------ network


def offline(pve: Pve, *, node: str = "") -> Undo:
    """A node (all of them without a name) answers 595 "No route to host"."""
    names = [node] if node else sorted(pve.nodes)
    return _all(*(_entry(pve.nodes[name], "online", False) for name in names if name in pve.nodes))


def slow(pve: Pve, *, seconds: float = 1, jitter: float = 0) -> Undo:
    """Every answer takes this many PVE seconds longer."""
    return _network(pve, latency=seconds, jitter=jitter)


def hanging(pve: Pve, *, rate: float = 1, seconds: float = 120) -> Undo:
    """A share of requests gets no answer for this many seconds (real ones where time_scale is 0)."""
    return _network(pve, hang_rate=rate, hang_secs=seconds)


def dropping(pve: Pve, *, rate: float = 0.3, seed: int = 1) -> Undo:
    """A share of connections is reset."""
    pve._random.seed(seed)
    return _network(pve, drop_rate=rate)


def _network(pve: Pve, **values: float) -> Undo:
    before = {key: pve.network[key] for key in values}
    pve.network.update(values)
    return lambda: pve.network.update(before)


# ------------------------------------------------------------------ answers


def http(
    pve: Pve,
    *,
    method: str = "GET",
    path: str,
    status: int = 500,
    message: str = "fault",
    html: bool = False,
    times: int = 0,
) -> Undo:
    """Requests whose path ends so get this status (html: a proxy's page). times=0: until cleared."""
    pve.fail(method, path, status, message, html=html, times=times or None)
    return lambda: pve.failures.pop((method, path), None)


def named(pve: Pve, *, method: str = "POST", path: str, error: str, times: int = 0) -> Undo:
    """Requests whose path ends so fail with an error of Proxmox's by its name in fakepve's catalogue."""
    pve.fail(method, path, error=error, times=times or None)
    return lambda: pve.failures.pop((method, path), None)


def task(pve: Pve, *, type: str, message: str, times: int = 0) -> Undo:
    """Tasks of this type (vzcreate, qmstart, download, ...) fail with this message."""
    return _entry(pve.task_faults, type, (message, times or None))


def slow_task(pve: Pve, *, type: str, seconds: float) -> Undo:
    """Tasks of this type take this many PVE seconds before they do anything."""
    return _entry(pve.task_secs, type, seconds)


def download(pve: Pve, *, message: str = "download failed: ERROR 404: Not Found.") -> Undo:
    """Downloads to a storage fail in their task."""

    async def fetch(url: str) -> bytes:
        raise TaskError(message)

    return _setting(pve, "fetch", fetch)


def quorum(pve: Pve) -> Undo:
    """The cluster has lost its quorum: every write fails."""
    return _setting(pve, "quorate", False)


# ------------------------------------------------------------------ storage


def full(pve: Pve, *, storage: str, left: int = 0) -> Undo:
    """A storage has only this many bytes left."""
    return _entry(_storage(pve, storage), "avail", left)


def storage_offline(pve: Pve, *, storage: str) -> Undo:
    """A storage cannot be activated."""
    return _entry(_storage(pve, storage), "active", 0)


def ceph_down(pve: Pve) -> Undo:
    """Ceph does not answer: what lives on RBD cannot start or change."""
    pve.ceph_down()
    recover: Undo = pve.ceph_recover
    return recover


def ceph_slow(pve: Pve, *, seconds: float = 5) -> Undo:
    """Everything on RBD takes this many PVE seconds longer."""
    pve.ceph_slow(seconds)
    recover: Undo = pve.ceph_recover
    return recover


def bridge(pve: Pve, *, name: str = "vmbr0") -> Undo:
    """The node has no such bridge: guests on it do not start."""
    return _setting(pve, "bridges", pve.bridges - {name})


# -------------------------------------------------------------------- access


def token_revoked(pve: Pve, *, token: str = "hearth@pve!deploy") -> Undo:
    """A token's secret is no longer valid: 401."""
    return _entry(pve.apitokens, token, None)


def token_expired(pve: Pve, *, token: str = "hearth@pve!deploy") -> Undo:
    """A token has expired: 401."""
    found = pve.access.token(token)
    if found is None:
        raise HearthError("apply a fault", f"there is no token {token}", "")
    return _setting(found, "expire", 1)


def user_disabled(pve: Pve, *, user: str = "hearth@pve") -> Undo:
    """A user may not log in, and neither may its tokens: 401."""
    return _setting(pve.access.users[user], "enable", False)


def tickets_expired(pve: Pve) -> Undo:
    """Every login ticket is invalid from now on: 401. Nothing undoes it but a new login."""
    pve.revoke_tickets()
    return lambda: None


def forbidden(pve: Pve, *, privilege: str, role: str = "Hearth") -> Undo:
    """A role lacks a privilege: 403."""
    return _entry(pve.access.custom, role, pve.access.custom[role] - {privilege})


#: name -> fault.
FAULTS: dict[str, Callable[..., Undo]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        config_lock,
        guest_lock,
        backup,
        moved,
        slow_guest,
        deaf_guest,
        start_fails,
        agent_hangs,
        offline,
        slow,
        hanging,
        dropping,
        http,
        named,
        task,
        slow_task,
        download,
        quorum,
        full,
        storage_offline,
        ceph_down,
        ceph_slow,
        bridge,
        token_revoked,
        token_expired,
        user_disabled,
        tickets_expired,
        forbidden,
    )
}
