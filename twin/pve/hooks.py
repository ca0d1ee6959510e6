"""Where a subclass makes real what the fake only notes: one coroutine for each thing done to a guest.

Each is called inside the guest's task, after the fake's own checks passed. A `TaskError` from one makes
the task fail with its text, as a real failure would. Here they do nothing.
"""

from __future__ import annotations

from typing import Any

from fakepve import FakePve

#: A FakeCt or a FakeVm: vmid, name, node, status, config, pending, snapshots.
Guest = Any


_BACKUP_SIZE = 1 << 20


class Hooks(FakePve):
    """What happens to guests, for a twin to override."""

    async def real_create(self, guest: Guest, request: dict[str, Any]) -> None:
        """A guest was created; its config is complete, it has not started.

        Args:
            guest: the new guest.
            request: the create request's parameters, with `ostemplate`, `ssh-public-keys` and `password`; a
                restore has `archive`, or `restore` and its backup in `ostemplate`.
        """

    async def real_backup(self, guest: Guest, volid: str) -> int:
        """A guest is backed up, running or not.

        Args:
            guest: the guest.
            volid: what the backup will be called.

        Returns:
            Its bytes.
        """
        return _BACKUP_SIZE

    async def real_start(self, guest: Guest) -> None:
        """A guest starts; pending changes have been applied to its config."""

    async def real_stop(self, guest: Guest, clean: bool, timeout: float) -> None:
        """A running guest stops. Where a clean stop fails and is forced, it is called again, not clean.

        Args:
            guest: the guest.
            clean: whether it is asked to shut down (else its power is cut).
            timeout: seconds a clean shutdown may take.
        """

    async def real_change(self, guest: Guest, keys: list[str]) -> None:
        """The config of a guest changed at once, running or not: these keys."""

    async def real_resize(self, guest: Guest, disk: str) -> None:
        """A disk grew: its size is in the config under this key."""

    async def real_snapshot(self, guest: Guest, name: str) -> None:
        """A snapshot was taken."""

    async def real_rollback(self, guest: Guest, name: str) -> None:
        """A stopped guest goes back to a snapshot; its config already has."""

    async def real_forget(self, guest: Guest, name: str) -> None:
        """A snapshot was deleted."""

    async def real_clone(self, source: Guest, guest: Guest) -> None:
        """A guest was cloned."""

    async def real_destroy(self, guest: Guest) -> None:
        """A guest is destroyed; it is stopped."""
