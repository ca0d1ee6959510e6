"""A guest that is there, and how one of its keys is judged: what runs, what waits, what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from hearth.proxmox.change import Change, Difference, How
from hearth.proxmox.desired import Intent
from hearth.proxmox.kinds import kind_of
from hearth.proxmox.observe import Config

T = TypeVar("T")
NONE = "none"
_CLOUD_INIT = ("ipconfig0", "nameserver", "searchdomain")


@dataclass(frozen=True)
class Subject:
    """A guest that is there: what is wanted, what it has, and whether it runs."""

    intent: Intent
    config: Config
    running: bool

    def how(self, key: str) -> How:
        """When a change of this key comes into force; a stopped guest takes everything at once."""
        kind = kind_of(self.intent.guest.kind, key, self.config)
        if kind != "replace" and not self.running:
            return "live"
        return "restart" if self.silent(key) and kind != "replace" else kind

    def silent(self, key: str) -> bool:
        """True where Proxmox takes a key at once, but the guest sees it only after a restart."""
        return self.running and self.intent.guest.kind == "vm" and key in _CLOUD_INIT

    def judge(
        self,
        key: str,
        field: str,
        want: T,
        *,
        read: Callable[[object], T],
        show: Callable[[T], str],
        send: Callable[[T], str],
        unit: str = "",
    ) -> Iterator[Difference]:
        """The difference of one key, if there is one."""
        runs, then = read(self.config.values.get(key)), read(self.config.next(key))
        if want == then == runs:
            return
        if want == then:
            yield Difference(Change(field, show(runs), show(want), self.waiting, unit, pending=True))
            return
        change = Change(field, show(then), show(want), self.how(key), unit)
        yield Difference(change, {key: send(want)}, with_restart=self.silent(key))

    @property
    def is_container(self) -> bool:
        """True for a container, False for a VM."""
        return self.intent.guest.kind == "lxc"

    @property
    def waiting(self) -> How:
        """When that which Proxmox holds as pending comes into force."""
        return "restart" if self.running else "live"


def yes(value: bool) -> str:
    """A boolean in words."""
    return "yes" if value else "no"
