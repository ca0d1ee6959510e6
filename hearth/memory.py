"""A fact asked twice is answered once.

pyinfra 3.10 caches no facts: each operation asks again, at prepare and at execution. What a guest answered
holds until a command that is not a fact, or an upload, goes to it, and for a limited time: the prompt waits
for the admin, and the world goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

LIFETIME: Final = 30.0  # seconds
Answer = tuple[bool, Any]


def text_of(command: Any) -> str:
    """A command as it will run; facts give a plain string or pyinfra's StringCommand."""
    return command if isinstance(command, str) else str(command.get_raw_value())


class AnswerMemory:
    """The answers of one host.

    Args:
        clock: seconds, monotonic; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[str, tuple[float, Answer]] = {}
        self.asking_fact = 0  # how many facts are being asked right now; see `commandline.corrections`

    def forget(self) -> None:
        """Whatever was said no longer counts."""
        self._answers.clear()

    def ask(self, command: Any, arguments: Mapping[str, Any], really: Callable[[], Answer]) -> Answer:
        """The remembered answer where a fact asks and one is fresh; else what `really` answers."""
        if not self.asking_fact:
            self.forget()
            return really()
        key = f"{text_of(command)}\0{sorted(arguments.items(), key=str)}"
        asked, answer = self._answers.get(key, (float("-inf"), (False, None)))
        if self._clock() - asked > LIFETIME:
            answer = really()
            self._answers[key] = (self._clock(), answer)
        return answer
