"""Correction: tasks as Proxmox lists, logs and stops them.

Recordings 19-21 (user and token apart, `total`), 614-616 (a bad or unknown UPID), 900-906 (the active
list, DELETE), 1006-1011 (warnings, filters). Source: PVE/API2/Tasks.pm, PVE/RESTEnvironment.pm.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web
from fakepve import PveError, TaskError
from fakepve.routing import param_error, split_list
from fakepve.server import USER, params

from twin.pve.forms import Forms

Body = Callable[[], Awaitable[str | None]]
Then = Callable[[], Awaitable[None]]

UPID = re.compile(r"UPID:[^:\s]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[^:\s]+:[^:\s]*:[^:\s]+:")
INTERRUPTED = "received interrupt"
_CREATES = ("vzcreate", "qmcreate")


class Tasks(Forms):
    """Runs tasks and answers /nodes/N/tasks.

    `task_secs` names PVE seconds that tasks of a type take before they do anything; `task_faults` names
    messages that the next tasks of a type fail with, each with how often (None: always).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.task_secs: dict[str, float] = {}
        self.task_faults: dict[str, tuple[str, int | None]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._thens: dict[tuple[str, int], Then] = {}

    def _routes_task_stop(self) -> list[Any]:
        return [("DELETE", "/nodes/{node}/tasks/{upid}", self._task_stop)]

    def then(self, kind: str, vmid: int, function: Then) -> None:
        """Have the next task of this kind on this guest do `function` as its last step."""
        self._thens[kind, vmid] = function

    async def task(  # noqa: PLR0917 - fakepve's signature
        self,
        node: str,
        ttype: str,
        tid: Any,
        user: str,
        body: Body,
        vm: Any = None,
        lock: bool = True,
        log: Iterable[str] = (),
    ) -> str:
        """Start a task and return its UPID. `body` raises TaskError to fail; its result is logged.

        Lines of the log that begin with "WARN: " make it end with `WARNINGS: n`.
        """
        upid, pid, start = self._upid(node, ttype, tid, user)
        record = {
            "upid": upid,
            "node": node,
            "pid": pid,
            "pstart": pid * 7,
            "starttime": start,
            "type": ttype,
            "id": str(tid),
            "user": user,
            "status": "running",
            "log": list(log),
        }
        self.tasks[upid] = record
        self.tasklog.append(record)
        then = self._thens.pop((ttype, vm.vmid), None) if vm is not None else None
        work = self._run_task(record, body, then, vm if lock else None)
        if self.time_scale:
            self._running[upid] = asyncio.ensure_future(work)
        else:
            await work
        return str(upid)

    async def _run_task(self, record: dict[str, Any], body: Body, then: Then | None, held: Any) -> None:
        try:
            if held is not None:
                await self.acquire(held, record["upid"])
            try:
                await self._steps(record, body, then)
            finally:
                if held is not None:
                    self.release(held, record["upid"])
            warnings = sum(line.startswith("WARN: ") for line in record["log"])
            status = f"WARNINGS: {warnings}" if warnings else "OK"
        except (TaskError, PveError) as error:
            status = str(error)
        except asyncio.CancelledError:
            status = INTERRUPTED
        good = status == "OK" or status.startswith("WARNINGS: ")
        last = f"TASK {status}" if good else f"TASK ERROR: {status}"
        record["log"].append(last)
        # A task's status is one line, its log may say more (RESTEnvironment.pm).
        record.update(status="stopped", exitstatus=status.partition("\n")[0], endtime=int(time.time()))
        self._running.pop(record["upid"], None)

    async def _steps(self, record: dict[str, Any], body: Body, then: Then | None) -> None:
        await self.pause(self.task_secs.get(record["type"], 0))
        self._planned_fault(record["type"], record["id"])
        note = await body()
        if note:
            record["log"].extend(note.splitlines())
        if then is not None:
            await then()

    def _planned_fault(self, kind: str, vmid: str) -> None:
        planned = self.task_faults.get(kind)
        if planned is None:
            return
        message, times = planned
        if times is not None:
            del self.task_faults[kind]
            if times > 1:
                self.task_faults[kind] = (message, times - 1)
        if kind in _CREATES:
            # As when a real creation fails: its guest goes (PVE/API2/LXC.pm and Qemu.pm, create_vm).
            guest = self.guest(int(vmid))
            for guests in (self.cts, self.vms):
                if guest in guests:
                    guests.remove(guest)
        raise TaskError(message)

    # ----------------------------------------------------------------- views

    def _task_view(self, task: dict[str, Any], listing: bool = False) -> dict[str, Any]:
        shown = {key: value for key, value in task.items() if key not in ("log", "overruled")}
        exitstatus = shown.get("exitstatus")
        if listing and exitstatus is None:
            # Recording 901: a running task is shown as the node's active list keeps it.
            return {**shown, "status": "RUNNING", "saved": "0"}
        user, mark, token = shown["user"].partition("!")
        if mark:
            shown.update(user=user, tokenid=token)
        if listing:
            shown["status"] = shown.pop("exitstatus")
        else:
            shown.pop("endtime", None)
        return shown

    async def _task_list(self, request: Any) -> Any:
        user, node = request[USER], request.match_info["node"]
        v = self._verify(request, await params(request))
        audit = self.allowed(user, f"/nodes/{node}", "Sys.Audit")
        found = [
            task
            for task in self.tasklog
            if task["node"] == node and (audit or self._task_owner(user, task)) and _wanted(task, v)
        ]
        found.sort(key=lambda task: (-task["starttime"], -task["pid"]))
        start = int(v.get("start", 0))
        page = found[start : start + int(v.get("limit", 50))]
        data = [self._task_view(task, listing=True) for task in page]
        return web.json_response({"data": data, "total": len(found)})

    def _get_task(self, request: Any) -> Any:
        task = self._known_task(request.match_info["upid"])
        if not self._task_owner(request[USER], task):
            self.require(request[USER], f"/nodes/{task['node']}", "Sys.Audit")
        return task

    def _known_task(self, upid: str) -> Any:
        if not UPID.fullmatch(upid):
            raise param_error(upid="unable to parse worker upid")
        task = self.tasks.get(upid)
        if task is None:
            raise param_error(upid="no such task")
        return task

    async def _task_log(self, request: Any) -> Any:
        v = self._verify(request, await params(request))
        lines = self._get_task(request)["log"]
        start, limit = int(v.get("start", 0)), int(v.get("limit", 50)) or len(lines)
        rows = [{"n": n + 1, "t": text} for n, text in enumerate(lines)]
        return web.json_response({"data": rows[start : start + limit], "total": len(lines)})

    async def _task_stop(self, v: dict[str, Any], user: str) -> None:
        task = self._known_task(v["upid"])
        if not self._task_owner(user, task):
            self.require(user, f"/nodes/{task['node']}", "Sys.Modify")
        running = self._running.get(v["upid"])
        if running is not None:
            running.cancel()
            await asyncio.wait([running])


def _wanted(task: dict[str, Any], v: dict[str, Any]) -> bool:
    """The filters of `GET /nodes/N/tasks`."""
    source = v.get("source", "archive")
    status = task.get("exitstatus")
    if source != "all" and (status is None) != (source == "active"):
        return False
    checks = [
        v.get("vmid") is None or task["id"] == str(v["vmid"]),
        not v.get("typefilter") or task["type"] == v["typefilter"],
        not v.get("userfilter") or str(v["userfilter"]).lower() in task["user"].lower(),
        not v.get("errors") or _outcome(status) not in ("ok", "running"),
        not v.get("statusfilter") or _outcome(status) in split_list(v["statusfilter"]),
        v.get("since") is None or task["starttime"] >= int(v["since"]),
        v.get("until") is None or task["starttime"] <= int(v["until"]),
    ]
    return all(checks)


def _outcome(status: str | None) -> str:
    if status is None:
        return "running"
    if status == "OK":
        return "ok"
    return "warning" if status.startswith("WARNINGS: ") else "error"
