"""Changing a firewall that stands between us and it, behind Proxmox's dead-man switch.

`enable=2` switches it on for a minute (`parse_clusterfw_option` in PVE/Firewall.pm): whoever is cut off has
only to wait. What is new is proven over new connections within that minute, and only then is it on for good.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from hearth.errors import HearthError
from hearth.proxmox.api import Api, LostAnswerError
from hearth.proxmox.faults import UnsentError
from hearth.proxmox.firewall.compare import Step, differences
from hearth.proxmox.firewall.model import Seen, Wall
from hearth.proxmox.firewall.observe import ROOT
from hearth.proxmox.firewall.saved import Memory, Saved
from hearth.proxmox.firewall.write import write

HOLDS = 60.0  # seconds that the switch holds
SURE = 50.0  # seconds after which a probe may have passed because the switch ran out
LOOP = 12.0  # seconds until other nodes, and the nftables daemon, have a change: they look every 10
OFF_WITHIN = 75.0  # seconds after which the firewall is surely off
AGAIN = 3.0  # seconds between tries to reach the API
TRIES = 4
SWITCH_ON, ON_TRIAL, OFF = 1, 2, 0

Probe = Callable[[], frozenset[str]]
Say = Callable[[str], None]


@dataclass
class Switch:
    """One cluster's firewall and what is needed to change it.

    Args:
        api: of one of its nodes; its clock and sleep are used.
        observe: looks at what is there.
        probe: the names of what answers over new connections, the API and SSH; `required` must.
        memory: where the old rules are kept meanwhile.
        required: what must answer whether or not it did before.
        say: told what is being done.
    """

    api: Api
    observe: Callable[[], Seen]
    probe: Probe
    memory: Memory
    required: frozenset[str]
    say: Say

    def change(self, wanted: Wall) -> None:
        """Bring the firewall to what is wanted, and have it on; or end with what was there before.

        Raises:
            HearthError: a write was refused, or something that answered does not any more. The old rules are
                back then, or the firewall is off and the next run puts them back: the message says which.
        """
        seen = self.observe()
        saved = self._old(seen)
        self.memory.save(saved)
        if seen.enable > SWITCH_ON:  # somebody's trial: what answers now says nothing of what should
            self._enable(OFF)
            seen = replace(seen, enable=OFF)
        before = self.probe() | self.required
        try:
            self._try(wanted, seen, saved, before)
        except (HearthError, OSError) as error:
            raise self._put_back(saved, before, error) from error
        self.memory.forget()

    def _old(self, seen: Seen) -> Saved:
        """What to go back to: what is there, unless a run before this one did not end."""
        unfinished = self.memory.load()
        if unfinished is None or seen.enable == SWITCH_ON:
            return Saved(seen.wall, seen.enable != OFF)
        self.say("an earlier change of the firewall did not end: its old rules are what to go back to")
        return unfinished

    def _try(self, wanted: Wall, seen: Seen, saved: Saved, before: frozenset[str]) -> None:
        if seen.enable:
            self.memory.arm(saved)
            self._enable(ON_TRIAL)
        self._write(wanted, seen)
        self.memory.arm(saved)
        self._prove(seen, before)
        self._enable(SWITCH_ON)

    def _write(self, wanted: Wall, seen: Seen) -> None:
        """Every step, and a look whether all of it is there.

        Raises:
            HearthError: Proxmox refused, or what it took is not there afterwards.
        """
        lost: LostAnswerError | None = None
        for _ in range(TRIES):
            wall = within(wanted, seen)
            todo = differences(wall, seen)
            if not todo:
                return
            lost = self._steps(todo, seen)
            seen = self.observe()
        left = differences(within(wanted, seen), seen)
        if left:
            reason = f"afterwards there is still {'; '.join(map(str, left))}"
            raise lost or HearthError(
                "change the firewall", reason, "is somebody else changing it? run again"
            )

    def _steps(self, todo: tuple[Step, ...], seen: Seen) -> LostAnswerError | None:
        for step in todo:
            self.say(str(step))
            try:
                write(self.api, step, seen.paths)
            except LostAnswerError as error:
                return error  # it may have happened: what follows is worked out anew
        return None

    def _prove(self, seen: Seen, before: frozenset[str]) -> None:
        """Switch it on for a minute and see whether all answers that did before.

        Raises:
            HearthError: something does not, or that took so long that the switch may have run out.
        """
        for _ in range(2):
            self._enable(ON_TRIAL)
            since = self.api.clock()
            if seen.loop:
                self.api.sleep(LOOP)
            silent = before - self.probe()
            if silent:
                listed = ", ".join(sorted(silent))
                raise HearthError("keep the firewall on", f"with it {listed} did not answer any more")
            if self.api.clock() - since < SURE:
                return
        raise HearthError(
            "prove the firewall", f"the probes took longer than {SURE:.0f} s", "is the network overloaded?"
        )

    # ------------------------------------------------------------ the way back

    def _put_back(self, saved: Saved, before: frozenset[str], error: HearthError | OSError) -> HearthError:
        """Put the old rules back as soon as the API answers; the error that says how it ended."""
        self.say("putting the old firewall rules back")
        action, reason = _told(error)
        try:
            seen = self._reach()
            if seen.enable == SWITCH_ON and not differences(within(saved.wall, seen), seen):
                self.memory.forget()
                return HearthError(action, reason, "nothing was changed")
            if not saved.enable:
                self._enable(OFF)
                seen = replace(seen, enable=OFF)
            self._write(saved.wall, seen)
            if saved.enable:
                self._prove(seen, before)
                self._enable(SWITCH_ON)
        except (HearthError, OSError) as trouble:
            told = f"{reason}; the old rules are not back either ({trouble})"
            remedy = (
                f"the firewall is off within {OFF_WITHIN:.0f} s; run again: it goes on from the old rules"
            )
            return HearthError(action, told, remedy)
        self.memory.forget()
        state = "on" if saved.enable else "off, as it was"
        return HearthError(action, reason, f"the old rules are back and the firewall is {state}")

    def _reach(self) -> Seen:
        """Look again, until the switch has run out and let us in.

        Raises:
            ApiError: even then there is no answer.
        """
        deadline = self.api.clock() + OFF_WITHIN
        while True:
            last = self.api.clock() >= deadline
            self.api.forget_trouble()
            try:
                return self.observe()
            except (UnsentError, LostAnswerError):
                if last:
                    raise
            self.api.sleep(AGAIN)

    def _enable(self, value: int) -> None:
        """Write `enable`; written twice it says the same, so a lost answer is asked again.

        Raises:
            ApiError: Proxmox refused, or there was no answer.
        """
        with suppress(LostAnswerError):
            self.api.put(f"{ROOT}/options", enable=value)
            return
        self.api.put(f"{ROOT}/options", enable=value)


def _told(error: HearthError | OSError) -> tuple[str, str]:
    """What failed and why, for the admin."""
    if isinstance(error, UnsentError | LostAnswerError):
        return "keep the firewall on", f"with it the API did not answer any more ({error.reason})"
    return ("change the firewall", str(error)) if isinstance(error, OSError) else (error.action, error.reason)


def within(wall: Wall, seen: Seen) -> Wall:
    """The part of a wall for which there is a place: a guest may be gone, or not there yet."""

    def placed(scope: str) -> bool:
        return scope in seen.paths or not scope.startswith(("guest/", "node/"))

    return replace(
        wall,
        rules={scope: rules for scope, rules in wall.rules.items() if placed(scope)},
        options={scope: options for scope, options in wall.options.items() if placed(scope)},
    )
