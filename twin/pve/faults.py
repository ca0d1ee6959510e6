"""Faults by name, for `twin fault` and for the tests. The table is in fault_table.py.

    apply(pve, "guest-lock", vmid=135, lock="backup")
    clear(pve, "guest-lock")
    clear(pve)

From another thread than the server's: `server.call(lambda: apply(server.pve, ...))`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from hearth.errors import HearthError
from twin.pve.fault_table import FAULTS, Undo
from twin.pve.pve import Pve


@dataclass(frozen=True)
class Active:
    """A fault that was applied and not cleared yet."""

    name: str
    params: dict[str, Any]
    undo: Undo


def describe() -> list[tuple[str, str, str]]:
    """Every fault as (name, parameters as `KEY=DEFAULT` or `KEY=`, what it does), for a person."""
    found = []
    for name, function in FAULTS.items():
        words = [_usage(parameter) for parameter in _parameters(function)]
        found.append((name, " ".join(words), (inspect.getdoc(function) or "").partition("\n")[0]))
    return found


def apply(pve: Pve, name: str, /, **params: Any) -> None:
    """Do a fault's harm.

    Args:
        pve: the fake.
        name: a name of `FAULTS`.
        params: its parameters; text is converted, as it comes from `twin fault NAME KEY=VALUE`.

    Raises:
        HearthError: the fault, or one of its parameters, does not exist or does not fit.
    """
    function = FAULTS.get(name)
    if function is None:
        raise HearthError(f"apply the fault {name}", "there is no such fault", f"one of {', '.join(FAULTS)}")
    values = _converted(name, function, params)
    pve.faults.append(Active(name, values, function(pve, **values)))


def clear(pve: Pve, name: str | None = None) -> int:
    """Undo a fault, or all of them, the last first. Returns how many were undone."""
    chosen = [active for active in pve.faults if name in (None, active.name)]
    for active in reversed(chosen):
        active.undo()
        pve.faults.remove(active)
    return len(chosen)


def _parameters(function: Callable[..., Undo]) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _usage(parameter: inspect.Parameter) -> str:
    default = "" if parameter.default is parameter.empty else parameter.default
    return f"{parameter.name.upper()}={default}"


def _converted(name: str, function: Callable[..., Undo], params: dict[str, Any]) -> dict[str, Any]:
    known = {parameter.name: parameter for parameter in _parameters(function)}
    usage = " ".join(_usage(parameter) for parameter in known.values()) or "no parameters"
    given = {key.lower(): value for key, value in params.items()}
    required = {key for key, parameter in known.items() if parameter.default is parameter.empty}
    for wrong in sorted((set(given) - set(known)) | (required - set(given))):
        state = "is missing" if wrong in required else "is not known"
        raise HearthError(f"apply the fault {name}", f"its parameter {wrong} {state}", f"it takes {usage}")
    hints = get_type_hints(function)
    try:
        return {key: _value(value, hints[key]) for key, value in given.items()}
    except ValueError as error:
        raise HearthError(f"apply the fault {name}", str(error), f"it takes {usage}") from None


def _value(value: Any, kind: Any) -> Any:
    if kind is bool and isinstance(value, str):
        return value.lower() in ("1", "true", "yes")
    return kind(value)


__all__ = ["FAULTS", "Active", "apply", "clear", "describe"]
