"""The order of operations across hosts: a provider's last comes before its user's first."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import StateOperationMeta

from hearth.commandline import corrections

Plan = dict[str, list[tuple[str, int, int]]]  # host -> (operation, stage of its role, source line)


@pytest.fixture(autouse=True)
def pyinfras_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the correction replaces is put back after the test."""
    monkeypatch.setattr(State, "get_op_order", State.get_op_order)


def order(plan: Plan) -> list[str]:
    """The order in which pyinfra would execute a plan, with the correction."""
    state = State(Inventory((list(plan), {})), Config())
    stages: dict[str, int] = {}
    for name, operations in plan.items():
        host = state.inventory.get_host(name)
        for op, stage, line in operations:
            host.op_hash_order.append(op)
            state.op_meta[op] = StateOperationMeta((0, 7, line))
            if stage >= 0:
                stages[op] = stage
    corrections._roles_in_order(SimpleNamespace(stage_of=stages))  # type: ignore[arg-type]
    return list(state.get_op_order())


def test_a_provider_is_finished_before_its_user_on_another_host_begins() -> None:
    """Source lines say otherwise: the user's file has the smaller ones."""
    plan: Plan = {
        "user": [("guest", -1, 1), ("use-1", 1, 2), ("use-2", 1, 3)],
        "provider": [("guest", -1, 1), ("serve-1", 0, 90), ("serve-2", 0, 91), ("serve-3", 0, 92)],
    }
    assert order(plan) == ["guest", "serve-1", "serve-2", "serve-3", "use-1", "use-2"]


def test_each_hosts_own_order_holds() -> None:
    plan: Plan = {
        "a": [("late", 0, 50), ("early", 0, 5)],
        "b": [("other", 0, 10)],
    }
    found = order(plan)
    assert found.index("late") < found.index("early")
    assert sorted(found) == ["early", "late", "other"]


def test_a_shared_operation_stands_once() -> None:
    plan: Plan = {
        "a": [("guest", -1, 1), ("base", 0, 2), ("end", -1, 9)],
        "b": [("guest", -1, 1), ("base", 0, 2), ("role", 1, 3), ("end", -1, 9)],
    }
    assert order(plan) == ["guest", "base", "role", "end"]


def test_what_runs_last_waits_for_every_hosts_roles() -> None:
    """The restart of a guest on the path stands last in deploy.py, and is last of all."""
    plan: Plan = {
        "quick": [("base", 0, 2), ("end", -1, 9)],
        "slow": [("base", 0, 2), ("role", 1, 3), ("end", -1, 9)],
    }
    assert order(plan)[-1] == "end"


def test_operations_that_wait_for_each_other_are_an_error_and_not_left_out() -> None:
    plan: Plan = {"a": [("one", 0, 1), ("two", 0, 2)], "b": [("two", 0, 2), ("one", 0, 1)]}
    with pytest.raises(PyinfraError, match="order"):
        order(plan)
