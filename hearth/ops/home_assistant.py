"""What should be so inside a Home Assistant, asked and done through its API, over the guest's SSH."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

from pyinfra import logger
from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.operation import operation
from pyinfra.api.state import StateStage
from pyinfra.context import host, state

from hearth import run as runs
from hearth.deploy.outcome import told
from hearth.errors import HearthError
from hearth.home_assistant.client import Place
from hearth.home_assistant.duty import Duty, settle
from hearth.home_assistant.home import Home
from hearth.ops.noted import Lack, note
from hearth.ops.tunnel import tunnel


@operation()
def settled(duty: Duty, port: int) -> Generator[PyinfraCommand, None, None]:
    """
    Something inside Home Assistant that is so; what is missing shows in the plan.

    + duty: what should be so, see `hearth.home_assistant.duty`
    + port: TCP port of the guest's 127.0.0.1 on which Home Assistant answers in plain

    A dry run only reads. Where Home Assistant does not answer while planning (the guest is absent, nothing is
    installed yet), the plan shows this as a change.

    **Example:**

    .. code:: python

        home_assistant.settled(name="Finish Home Assistant's onboarding", duty=Onboarded(owner), port=18123)
    """
    missing = _missing(duty, port)
    if missing == []:
        host.noop("as wanted")
        return
    for line in missing or ():
        host.log(f"Will {line}", logger.info)
    note([Lack("step", line, "", "a deploy would do this", "") for line in missing or ()])
    yield FunctionCommand(_mend, (duty, port), {})


@contextlib.contextmanager
def reached(host: Any, port: int) -> Iterator[Home]:
    """Home Assistant behind a port of a guest's loopback. Raises OSError where SSH is away."""
    connector = host.connector
    connector.reach()
    with tunnel(connector.client.get_transport().open_session, port) as path:
        home = Home(Place(host.name, f"http://127.0.0.1:{port}", path), runs.current().secrets)
        try:
            yield home
        finally:
            home.close()


def _missing(duty: Duty, port: int) -> list[str] | None:
    """What is missing; None where that cannot be known yet."""
    planning = state.current_stage < StateStage.Execute
    try:
        with reached(host, port) as home:
            return duty.missing(home)
    except (HearthError, OSError):
        # At execution the deed asks again, and fails with its own words.
        return None if planning else [""]


@told
def _mend(state: Any, host: Any, duty: Duty, port: int) -> None:
    with reached(host, port) as home:
        settle(duty, home)
