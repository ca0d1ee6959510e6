"""Facts asked twice are answered once: until something else runs, and not for long."""

from __future__ import annotations

import pytest
from pyinfra.api import MaskString, StringCommand

from hearth.memory import LIFETIME, AnswerMemory


class Guest:
    """Answers with how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.now = 0.0
        self.memory = AnswerMemory(lambda: self.now)

    def fact(self, command: object = "uname -s", **arguments: object) -> int:
        """What a fact's command gets."""
        self.memory.asking_fact += 1
        try:
            return self.command(command, **arguments)
        finally:
            self.memory.asking_fact -= 1

    def command(self, command: object = "touch /x", **arguments: object) -> int:
        """What any other command gets."""
        return int(self.memory.ask(command, arguments, self._answer)[1])

    def _answer(self) -> tuple[bool, int]:
        self.asked += 1
        return True, self.asked


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_a_fact_is_remembered(guest: Guest) -> None:
    assert [guest.fact() for _ in range(3)] == [1, 1, 1]


def test_pyinfras_own_command_objects_are_the_same_question(guest: Guest) -> None:
    assert guest.fact(StringCommand("cat", "/x")) == guest.fact(StringCommand("cat", "/x"))
    assert guest.fact("cat /x") == 1


def test_another_question_is_asked(guest: Guest) -> None:
    assert (guest.fact("a"), guest.fact("b"), guest.fact("a", _sudo=True)) == (1, 2, 3)
    assert guest.fact(StringCommand("a", MaskString("x"))) != guest.fact(StringCommand("a", MaskString("y")))


def test_a_command_that_is_no_fact_makes_everything_asked_anew(guest: Guest) -> None:
    assert guest.fact() == 1
    assert guest.command() == 2
    assert guest.fact() == 3


def test_a_command_that_is_no_fact_always_runs(guest: Guest) -> None:
    assert [guest.command() for _ in range(3)] == [1, 2, 3]
    guest.fact("touch /x")
    assert guest.command("touch /x") == 5


def test_forgetting_as_after_an_upload(guest: Guest) -> None:
    guest.fact()
    guest.memory.forget()
    assert guest.fact() == 2


def test_an_answer_gets_old(guest: Guest) -> None:
    guest.fact()
    guest.now = LIFETIME - 0.1
    assert guest.fact() == 1
    guest.now = LIFETIME + 0.1
    assert guest.fact() == 2
    guest.now = 2 * LIFETIME
    assert guest.fact() == 2, "it is young again"


def test_thirty_seconds_and_no_more() -> None:
    assert LIFETIME <= 30
