"""How a step of ours ends in pyinfra: done, or failed with one clear line."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from pyinfra import logger

from hearth import run as runs
from hearth.errors import HearthError

Step = Callable[..., None]


def told(step: Step) -> Callable[..., bool]:
    """Make a function for `FunctionCommand` out of a step that raises HearthError or OSError.

    pyinfra prints a traceback for an exception of such a function; here the admin reads the error, and the
    guest counts as failed. pyinfra looks at the result only where the parameters are `state` and `host`.
    """

    @wraps(step)
    def function(state: Any, host: Any, *args: Any, **kwargs: Any) -> bool:
        try:
            if runs.current().interrupted:
                raise HearthError("go on", "the run was interrupted", "run again to converge")
            step(state, host, *args, **kwargs)
        except (HearthError, OSError) as error:
            host.log_styled(str(error), fg="red", log_func=logger.error)
            return False
        return True

    return function
