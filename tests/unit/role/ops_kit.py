"""pyinfra operations, run for real below a temporary folder, or planned on a guest that is absent."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.exceptions import MissingCommandError
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import OperationMeta
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_host, ctx_state


class Absent:
    """The guest's connector while there is no guest: no fact has an answer, and nothing may be done."""

    def run_shell_command(self, command: Any, **_: Any) -> Any:
        raise MissingCommandError(str(command))

    def put_file(self, *_: Any, **__: Any) -> bool:
        raise AssertionError("a plan uploads nothing")


@contextlib.contextmanager
def preparing(diff: bool = False) -> Iterator[Any]:
    """pyinfra's prepare stage with this machine as its host; yields the host."""
    state = State(Inventory((["@local"], {})), Config(DIFF=diff))
    with ctx_state.use(state):
        state.set_stage(StateStage.Connect)
        connect_all(state)
        state.set_stage(StateStage.Prepare)
        host = state.inventory.get_host("@local")
        with ctx_host.use(host):
            yield host
        disconnect_all(state)


def planned(host: Any) -> Iterator[tuple[str, bool]]:
    """The operations that are planned for a host, by name, and whether each changes something."""
    for ident, data in host.state.ops[host].items():
        yield " ".join(host.state.op_meta[ident].names), data.operation_meta.will_change


def run(operation: Callable[[], OperationMeta], diff: bool = False) -> OperationMeta:
    """Prepare one operation, execute it, and return what became of it."""
    with preparing(diff) as host:
        meta = operation()
        host.state.set_stage(StateStage.Execute)
        # One host: when it fails there is nobody left, which pyinfra raises.
        with contextlib.suppress(Exception):
            run_ops(host.state)
        assert meta.is_complete()
        return meta


def said(caplog: pytest.LogCaptureFixture) -> str:
    """Everything that pyinfra logged."""
    return "\n".join(record.getMessage() for record in caplog.records)


def listen(caplog: pytest.LogCaptureFixture) -> None:
    """Keep what pyinfra logs, at its most talkative."""
    logger = logging.getLogger("pyinfra")
    logger.propagate = True
    caplog.set_level(logging.DEBUG, logger="pyinfra")
