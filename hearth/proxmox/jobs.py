"""Proxmox's backup jobs: what is wanted, what differs, and the calls that end it. Only ours are touched.

Ours are those whose id begins with `hearth-`. Calls: PVE::API2::Backup. Proxmox runs them itself
(pvescheduler; vzdump does one a node at a time), to a Proxmox Backup Server where the storage is one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hearth.errors import HearthError
from hearth.fleet.model import BackupJob, Fleet
from hearth.proxmox.api import Api, ApiError, LostAnswerError
from hearth.proxmox.work import TRIES, Say

ROOT = "/cluster/backup"
PREFIX = "hearth-"
COMMENT = "Hearth: inventory/fleet.yaml"
# The keys that are ours, in the order in which a plan shows them.
KEYS = (
    "schedule",
    "vmid",
    "storage",
    "mode",
    "compress",
    "prune-backups",
    "notes-template",
    "enabled",
    "repeat-missed",
    "comment",
)
SELECTIONS = ("all", "pool", "exclude")  # Proxmox takes one selection only: ours is `vmid`
_DEFAULTS = {"enabled": "1", "repeat-missed": "0", "mode": "snapshot", "compress": "0"}


@dataclass(frozen=True)
class Step:
    """One call.

    Args:
        text: what it does, for the admin.
        method: "POST", "PUT" or "DELETE".
        path: below /api2/json.
        params: what is sent.
    """

    text: str
    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class JobsPlan:
    """What a run does with a cluster's backup jobs.

    Args:
        steps: what differs.
        foreign: what is there and not ours.
    """

    steps: tuple[Step, ...] = ()
    foreign: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """For people."""
        for step in self.steps:
            yield f"backup job: {step}"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"steps": [str(step) for step in self.steps], "foreign": list(self.foreign)}


def wanted(fleet: Fleet, nodes: Collection[str], node_of: Callable[[str], str]) -> dict[str, dict[str, str]]:
    """The jobs of a cluster: id -> what is sent.

    Args:
        fleet: the fleet.
        nodes: the cluster's.
        node_of: the node that a guest lives on.
    """
    found = {}
    for job in fleet.backup.jobs if fleet.backup else ():
        numbers = sorted(fleet.guest(name).vmid for name in job.guests if node_of(name) in nodes)
        if numbers:
            found[PREFIX + job.name] = _sent(job, numbers)
    return found


def _sent(job: BackupJob, numbers: Sequence[int]) -> dict[str, str]:
    return {
        "schedule": job.schedule,
        "vmid": ",".join(map(str, numbers)),
        "storage": job.storage,
        "mode": job.mode,
        "compress": "zstd",
        "prune-backups": ",".join(f"keep-{name}={count}" for name, count in sorted(job.keep)),
        "notes-template": job.notes,
        "enabled": "1",
        # What was missed while the node was down is made up for.
        "repeat-missed": "1",
        "comment": COMMENT,
    }


def plan(want: Mapping[str, Mapping[str, str]], rows: Sequence[Mapping[str, Any]]) -> JobsPlan:
    """The calls that lead from what is there to what is wanted.

    Args:
        want: of `wanted`.
        rows: GET /cluster/backup.
    """
    ours = {str(row["id"]): row for row in rows if str(row.get("id", "")).startswith(PREFIX)}
    steps = [step for ident, sent in want.items() if (step := _step(ident, sent, ours.get(ident)))]
    steps += [
        Step(f"remove {ident}", "DELETE", f"{ROOT}/{ident}") for ident in sorted(ours) if ident not in want
    ]
    foreign = sorted(str(row["id"]) for row in rows if str(row.get("id", "")) not in ours)
    return JobsPlan(tuple(steps), tuple(foreign))


def _step(ident: str, sent: Mapping[str, str], row: Mapping[str, Any] | None) -> Step | None:
    if row is None:
        made = f"{sent['schedule']}, guests {sent['vmid']} to {sent['storage']}, {sent['prune-backups']}"
        return Step(f"make {ident}: {made}", "POST", ROOT, {"id": ident, **sent})
    changed = {key: sent[key] for key in KEYS if shown(key, row.get(key)) != shown(key, sent[key])}
    surplus = [key for key in SELECTIONS if row.get(key)]
    if not changed and not surplus:
        return None
    words = [f"{key}: {shown(key, row.get(key)) or 'none'} -> {value}" for key, value in changed.items()]
    words += [f"{key}: {row[key]} -> none" for key in surplus]
    # Sent again in any case: a job has a selection at every moment, and notes only beside their storage.
    same = {"vmid": sent["vmid"], "storage": sent["storage"]}
    params = {**changed, **same, **({"delete": ",".join(surplus)} if surplus else {})}
    return Step(f"change {ident}: {'; '.join(words)}", "PUT", f"{ROOT}/{ident}", params)


def shown(key: str, value: Any) -> str:
    """A value as it is compared: Proxmox gives numbers, texts and, for retention, an object."""
    if value is None:
        return _DEFAULTS.get(key, "")
    if key == "prune-backups":
        parts = value.items() if isinstance(value, Mapping) else _pairs(str(value))
        return ",".join(sorted(f"{name}={count}" for name, count in parts))
    if key == "vmid":
        return ",".join(
            sorted(str(value).replace(" ", "").split(","), key=lambda number: (len(number), number))
        )
    if key in ("enabled", "repeat-missed"):
        return str(int(value))
    return str(value)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, _, count = part.partition("=")
        yield name, count


def converge(api: Api, want: Mapping[str, Mapping[str, str]], say: Say) -> None:
    """Bring a cluster's jobs to what is wanted; what was written is read back.

    Raises:
        HearthError: Proxmox refused, or what was written is not there.
    """
    for _ in range(TRIES):
        todo = plan(want, api.get(ROOT) or []).steps
        if not todo:
            return
        for step in todo:
            say(f"backup job: {step}")
            _write(api, step)
    left = plan(want, api.get(ROOT) or []).steps
    if left:
        raise HearthError(
            "set Proxmox's backup jobs",
            f"Proxmox took it, but there is still: {'; '.join(map(str, left))}",
            "is somebody else changing them? run again",
        )


def _write(api: Api, step: Step) -> None:
    write = {"POST": api.post, "PUT": api.put, "DELETE": api.delete}[step.method]
    try:
        write(step.path, **step.params)
    except LostAnswerError:
        return  # read back by the next round
    except ApiError as error:
        if step.method == "POST" and "already exists" in error.reason:
            return
        raise HearthError(step.text, error.reason, error.remedy) from error
