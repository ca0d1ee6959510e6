"""Start, stop and restart a guest, and see that it did."""

from __future__ import annotations

from hearth.errors import HearthError
from hearth.proxmox import observe
from hearth.proxmox.api import Api, ApiError, LostAnswerError, TaskError
from hearth.proxmox.observe import Seen

START_TIMEOUT = 300.0  # seconds
SHUTDOWN_TIMEOUT = 120  # seconds that a guest has to come down by itself
TRIES = 3


def start(api: Api, seen: Seen, what: str) -> None:
    """Start a guest and wait until it runs.

    Raises:
        HearthError: it does not start.
    """
    _until(api, seen, what, status="running", verb="start")


def stop(api: Api, seen: Seen, what: str) -> None:
    """Shut a guest down, by force where it does not obey.

    Raises:
        HearthError: it still runs.
    """
    _until(api, seen, what, status="stopped", verb="shutdown", timeout=SHUTDOWN_TIMEOUT, forceStop=1)


def shut_down(api: Api, seen: Seen, what: str) -> None:
    """Ask a guest to come down, and wait until it has.

    Raises:
        HearthError: it did not obey; it runs on.
    """
    try:
        _until(api, seen, what, status="stopped", verb="shutdown", timeout=SHUTDOWN_TIMEOUT)
    except TaskError as error:
        raise _disobeyed(error, what) from error


def reboot(api: Api, seen: Seen, what: str) -> None:
    """Shut a guest down and start it again: Proxmox then applies what is pending.

    Raises:
        HearthError: it did not come down in time, or not up again.
    """
    try:
        api.task("POST", f"{seen.path}/status/reboot", what, START_TIMEOUT, timeout=SHUTDOWN_TIMEOUT)
    except LostAnswerError:
        observe.wait_for_tasks(api, seen, START_TIMEOUT)
    except TaskError as error:
        raise _disobeyed(error, what) from error
    _await(api, seen, what, "running")


def _disobeyed(error: TaskError, what: str) -> TaskError:
    remedy = f"it did not obey within {SHUTDOWN_TIMEOUT} s: restart it by hand, the change waits for that"
    return TaskError(what, error.exitstatus, remedy, error.log)


def _until(api: Api, seen: Seen, what: str, *, status: str, verb: str, **params: int) -> None:
    for attempt in range(TRIES):
        try:
            api.task("POST", f"{seen.path}/status/{verb}", what, START_TIMEOUT, **params)
        except LostAnswerError:
            observe.wait_for_tasks(api, seen, START_TIMEOUT)
            if attempt + 1 < TRIES and _status(api, seen) != status:
                continue
        except (ApiError, TaskError):
            # What is so already is an error to Proxmox: a 500 for a container, a failing task for a VM.
            if _status(api, seen) != status:
                raise
        break
    _await(api, seen, what, status)


def _status(api: Api, seen: Seen) -> str:
    now = observe.look(api, seen.node, seen.kind, seen.vmid)
    return now.status if now else "gone"


def _await(api: Api, seen: Seen, what: str, status: str, patience: float = 30.0) -> None:
    deadline = api.clock() + patience
    while (found := _status(api, seen)) != status:
        if api.clock() >= deadline:
            raise HearthError(what, f"afterwards it is {found}", "see its log in Proxmox")
        api.sleep(0.5)
