"""The Proxmox VE API over HTTPS with a token: proxmoxer, plus what a run needs around it.

Reads are repeated when the way to the node is bad; writes never are once they may have arrived
(`LostAnswerError`: read back what became of them). Waiting for locks and tasks has deadlines. Facts about
the answers: https://pve.proxmox.com/wiki/Proxmox_VE_API and PVE::APIServer::AnyEvent (595 to 599).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from proxmoxer import ProxmoxAPI  # type: ignore[import-untyped]
from proxmoxer.core import ResourceException  # type: ignore[import-untyped]

from hearth.fleet.model import Node
from hearth.proxmox import faults
from hearth.proxmox.access import Access, access
from hearth.proxmox.faults import ApiError, LostAnswerError, TaskError, UnreachableError, UnsentError
from hearth.proxmox.login import TicketAuth

__all__ = ["Api", "ApiError", "LostAnswerError", "TaskError", "UnreachableError", "connect"]

READ_PAUSES = (0.2, 0.6, 1.5)  # seconds before the second, third and fourth try
POLL_FIRST, POLL_LAST = 0.2, 1.0  # seconds between looks at a task
LOCK_PAUSE = 2.0  # seconds between tries of a write that met a lock
DOWN_FOR = 20.0  # seconds that an unreachable endpoint is remembered
PARALLEL_CREATES = 2  # more on one storage meet "can't lock file ... got timeout"
LOG_TAIL = 6  # lines of a failed task's log that the admin sees


class Api:
    """One endpoint of a node or a cluster.

    Args:
        access: endpoint, token and how its certificate is checked.
        timeout: seconds to wait for an answer; connecting has 5 of its own.
        lock_timeout: seconds that a write keeps trying while a guest or a file is locked.
        clock, sleep: replaced in tests.

    Safe for several greenlets or threads at a time.
    """

    def __init__(
        self,
        access: Access,
        timeout: float = 30.0,
        lock_timeout: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = access.endpoint
        self.lock_timeout = lock_timeout
        self.requests: Counter[str] = Counter()
        self.clock, self.sleep = clock, sleep
        self._down: tuple[float, UnreachableError] | None = None
        self._refused: ApiError | None = None
        self._gates: dict[str, threading.BoundedSemaphore] = {}
        self._proxmox = _session(access, timeout)

    @property
    def count(self) -> int:
        """How many requests were sent so far."""
        return sum(self.requests.values())

    def get(self, path: str, /, **params: Any) -> Any:
        """The `data` of a GET.

        Args:
            path: below /api2/json, e.g. "/nodes/pve/lxc".
            params: the query; names with a dash go in as `**{"a-b": 1}`.

        Raises:
            ApiError: Proxmox refused, or the endpoint cannot be reached (UnreachableError).
        """
        pauses = iter(READ_PAUSES)
        while True:
            try:
                return self._send("GET", path, params)
            except LostAnswerError:
                pause = next(pauses, None)
                if pause is None:
                    raise
                self.sleep(pause)

    def post(self, path: str, /, **params: Any) -> Any:
        """The `data` of a POST (a UPID where it starts a task). Raises as `put`."""
        return self._write("POST", path, params)

    def put(self, path: str, /, **params: Any) -> Any:
        """The `data` of a PUT.

        Raises:
            ApiError: Proxmox refused it, after `lock_timeout` seconds where only a lock was in the way.
            LostAnswerError: it may or may not have happened; read back.
        """
        return self._write("PUT", path, params)

    def delete(self, path: str, /, **params: Any) -> Any:
        """The `data` of a DELETE; parameters travel in the query (a body is a 501). Raises as `put`."""
        return self._write("DELETE", path, params)

    def task(self, method: str, path: str, what: str, patience: float = 600.0, **params: Any) -> list[str]:
        """Write, wait for the task that it started, and give its log.

        A task that ends because of a lock is started again until `lock_timeout` is over.

        Args:
            method: "POST", "PUT" or "DELETE".
            what: words for errors, e.g. "start guest comms".
            patience: seconds that the task may take.

        Raises:
            ApiError, LostAnswerError: as `put`. TaskError: the task failed.
        """
        deadline = self.clock() + self.lock_timeout
        while True:
            upid = self._write(method, path, params)
            if not isinstance(upid, str) or not upid.startswith("UPID:"):
                return []
            try:
                self.wait(upid, what, patience)
                return self.log(upid)
            except TaskError as error:
                if not faults.is_lock(error.exitstatus) or self.clock() >= deadline:
                    raise
            self.sleep(LOCK_PAUSE)

    def wait(self, upid: str, what: str, patience: float = 600.0) -> str:
        """Wait until a task has ended well.

        A look that got no answer is not a failure of the task: it is taken again.

        Args:
            upid: the task. what: words for errors. patience: seconds.

        Returns:
            The exit status: "OK" or "WARNINGS: n", both success.

        Raises:
            TaskError: it failed (with the tail of its log), or the time is over.
        """
        deadline, pause = self.clock() + patience, POLL_FIRST
        while True:
            try:
                status = self.get(f"/nodes/{faults.node_of(upid)}/tasks/{upid}/status")
            except (LostAnswerError, UnreachableError) as error:
                if self.clock() >= deadline:
                    raise TaskError(what, str(error), "") from error
                status = {}
            if status.get("status") == "stopped":
                return self._ended(upid, what, str(status.get("exitstatus") or "no exit status"))
            if self.clock() >= deadline:
                raise TaskError(what, f"its task has not ended after {patience:.0f} s ({upid})", "")
            self.sleep(pause)
            pause = min(pause * 1.5, POLL_LAST)

    def log(self, upid: str) -> list[str]:
        """The lines of a task's log."""
        rows = self.get(f"/nodes/{faults.node_of(upid)}/tasks/{upid}/log", limit=1000)
        return [str(row.get("t", "")) for row in rows or []]

    @contextmanager
    def creating(self, storage: str) -> Iterator[None]:
        """Hold one of the two places for creating or cloning on a storage."""
        gate = self._gates.setdefault(storage, threading.BoundedSemaphore(PARALLEL_CREATES))
        with gate:
            yield

    def _ended(self, upid: str, what: str, exitstatus: str) -> str:
        if exitstatus == "OK" or exitstatus.startswith("WARNINGS:"):
            return exitstatus
        try:
            lines = [line for line in self.log(upid) if line.strip()][-LOG_TAIL:]
        except ApiError:
            lines = []
        raise TaskError(what, exitstatus, faults.remedy_for(exitstatus), log=lines)

    def _write(self, method: str, path: str, params: Mapping[str, Any]) -> Any:
        deadline = self.clock() + self.lock_timeout
        while True:
            try:
                return self._send(method, path, params)
            except ApiError as error:
                if not faults.is_lock(error.reason) or self.clock() >= deadline:
                    raise
                self.sleep(LOCK_PAUSE)

    def _send(self, method: str, path: str, params: Mapping[str, Any]) -> Any:
        """Send a request, again where it surely did not arrive."""
        pauses = iter(READ_PAUSES)
        while True:
            self._known_trouble()
            try:
                return self._ask(method, path, params)
            except UnsentError as error:
                pause = next(pauses, None) if getattr(error, "passing", True) else None
                if pause is None:
                    self._remember(error)
                    raise
                self.sleep(pause)

    def forget_trouble(self) -> None:
        """Try an endpoint again although it was down a moment ago: what stood in the way may be gone."""
        self._down = None

    def _known_trouble(self) -> None:
        if self._refused is not None:
            raise self._refused
        if self._down is not None and self.clock() < self._down[0]:
            raise self._down[1]

    def _remember(self, error: UnsentError) -> None:
        # A node that is down would otherwise cost its timeout once for every guest.
        if isinstance(error, UnreachableError):
            self._down = (self.clock() + DOWN_FOR, error)

    def _ask(self, method: str, path: str, params: Mapping[str, Any]) -> Any:
        self.requests[method] += 1
        try:
            answer = getattr(self._proxmox(path.strip("/")), method.lower())(**_form(params))
        except ResourceException as error:
            verdict = faults.from_status(self.endpoint, method, path, error)
            if verdict.status == faults.UNAUTHORIZED:
                self._refused = verdict
            raise verdict from None
        except (requests.exceptions.RequestException, AttributeError) as error:
            # AttributeError: proxmoxer met an error body that is JSON, but no object.
            raise faults.from_transport(self.endpoint, method, path, error) from None
        if isinstance(answer, dict) and set(answer) == {"errors"}:  # proxmoxer's way of saying "not JSON"
            raise ApiError(f"{method} {path}", "the answer does not come from Proxmox VE", faults.PROXY, 200)
        return answer


def connect(node: Node, env: Mapping[str, str], token: str | None = None, **options: Any) -> Api:
    """The API of a node of the fleet.

    Args:
        node, env, token: see `hearth.proxmox.access.access`; the environment wins.
        options: further arguments of `Api` (timeout, lock_timeout).

    Raises:
        HearthError: there is no usable token or endpoint. Nothing is sent yet.
    """
    return Api(access(node, env, token), **options)


def _session(access: Access, timeout: float) -> ProxmoxAPI:
    proxmox = ProxmoxAPI(
        access.host,
        backend="https",
        service="PVE",
        user=access.user,
        token_name=access.token_name or "none",  # with a ticket there is none, and proxmoxer wants one
        token_value=access.token_value or "none",
        verify_ssl=access.verify,
        timeout=(5.0, timeout),
    )
    # The node is on the LAN: a proxy or a .netrc of this machine must not come between.
    proxmox._store["session"].trust_env = False
    if access.ticket is not None:
        proxmox._store["session"].auth = TicketAuth(access.ticket, (5.0, timeout), access.verify)
    return proxmox


def _form(params: Mapping[str, Any]) -> dict[str, Any]:
    """Booleans are 1 and 0 in forms; None is left out."""
    return {
        key: int(value) if isinstance(value, bool) else value
        for key, value in params.items()
        if value is not None
    }
