"""Config entries: integrations that can only be set up through their config flows.

What an entry holds cannot be read back through the API. So a print of what it was given is kept, and it is
given anew when that differs, when Home Assistant asks for a new login, or when its setup failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hearth.errors import HearthError
from hearth.home_assistant.client import Client, RefusedError
from hearth.home_assistant.home import print_of

FLOWS = "/api/config/config_entries/flow"
OPTIONS = "/api/config/config_entries/options/flow"
FAILED = ("setup_error", "migration_error", "failed_unload")
Deed = Literal["add", "change", "remove"]


@dataclass(frozen=True)
class WantedEntry:
    """A config entry that should be there.

    Args:
        domain: the integration.
        answers: what its forms are given, one after another.
        options: what its options flow is given; None: it has none.
        reconfigures: the same answers may be given again to change it.
        upload: a file that goes with the answers: its form's section, key, and content.
        hint: what to look at when it is refused.
    """

    domain: str
    answers: tuple[Mapping[str, Any], ...] = field(repr=False)
    options: Mapping[str, Any] | None = None
    reconfigures: bool = False
    upload: Upload | None = field(default=None, repr=False)
    hint: str = ""

    @property
    def fingerprint(self) -> str:
        """A print of all that it is given."""
        return print_of([self.answers, self.options, self.upload.content if self.upload else None])

    @property
    def changes(self) -> bool:
        """True where it can be changed in place."""
        return self.reconfigures or self.options is not None


@dataclass(frozen=True)
class Upload:
    """A file for a form: `answers[0][section][key]` becomes its id."""

    section: str
    key: str
    name: str
    content: str


@dataclass(frozen=True)
class EntryStep:
    """Something to be done about an entry.

    Args:
        deed: what.
        domain: the integration.
        entry: the entry's id; empty where there is none.
        why: for the plan.
    """

    deed: Deed
    domain: str
    entry: str = ""
    why: str = ""

    def __str__(self) -> str:
        return f"{self.deed} the integration {self.domain}" + (f" ({self.why})" if self.why else "")


def plan_entries(
    wanted: Sequence[WantedEntry],
    unwanted: Sequence[str],
    found: Sequence[Mapping[str, Any]],
    told: Mapping[str, str | None],
    reauth: frozenset[str] = frozenset(),
) -> list[EntryStep]:
    """What is to be done about config entries.

    Args:
        wanted: entries that should be there.
        unwanted: domains that should have none.
        found: `config_entries/get`.
        told: domain -> the print of what it was last given.
        reauth: ids of entries that ask for a new login.
    """
    steps: list[EntryStep] = []
    for entry in wanted:
        there = next((row for row in found if row["domain"] == entry.domain), None)
        if there is None:
            steps.append(EntryStep("add", entry.domain))
        elif entry.changes and (why := _why(entry, there, told.get(entry.domain), reauth)):
            steps.append(EntryStep("change", entry.domain, there["entry_id"], why))
    removed = [row for row in found if row["domain"] in unwanted]
    return [*steps, *(EntryStep("remove", row["domain"], row["entry_id"]) for row in removed)]


def _why(entry: WantedEntry, there: Mapping[str, Any], told: str | None, reauth: frozenset[str]) -> str:
    if there.get("disabled_by"):
        return ""  # the admin has switched it off
    if told != entry.fingerprint:
        return "its settings differ"
    if there["entry_id"] in reauth:
        return "it asks for a new login"
    return "its setup failed" if there["state"] in FAILED and entry.reconfigures else ""


def asking_for_login(client: Client) -> frozenset[str]:
    """The ids of entries for which Home Assistant waits for a new login."""
    flows = client.ask("config_entries/flow/progress", "list the flows in progress")
    found = (flow.get("context", {}) for flow in flows)
    return frozenset(str(c["entry_id"]) for c in found if c.get("source") == "reauth" and "entry_id" in c)


def add(client: Client, entry: WantedEntry) -> str:
    """Go through an integration's config flow; the new entry's id.

    Raises:
        RefusedError: a form is refused, or the flow ends without an entry.
    """
    end = _flow(client, FLOWS, {"handler": entry.domain}, entry, _given(client, entry))
    if end["type"] != "create_entry":
        raise _refusal(client, entry, end)
    return str(end["result"]["entry_id"])


def reconfigure(client: Client, entry: WantedEntry, entry_id: str) -> None:
    """Give an entry its settings anew. RefusedError as `add`."""
    start = {"handler": entry.domain, "entry_id": entry_id}
    end = _flow(client, FLOWS, start, entry, _given(client, entry))
    if end.get("reason") != "reconfigure_successful":
        raise _refusal(client, entry, end)


def set_options(client: Client, entry: WantedEntry, entry_id: str) -> None:
    """Go through an entry's options flow. RefusedError as `add`."""
    end = _flow(client, OPTIONS, {"handler": entry_id}, entry, (dict(entry.options or {}),))
    if end["type"] != "create_entry":
        raise _refusal(client, entry, end)


def _given(client: Client, entry: WantedEntry) -> tuple[Mapping[str, Any], ...]:
    if entry.upload is None:
        return entry.answers
    upload = entry.upload
    files = {"file": (upload.name, upload.content.encode())}
    sent = client.call("POST", "/api/file_upload", f"upload a file for {entry.domain}", files=files)
    first, *others = entry.answers
    section = {**first[upload.section], upload.key: sent["file_id"]}
    return ({**first, upload.section: section}, *others)


def _flow(
    client: Client,
    path: str,
    start: Mapping[str, Any],
    entry: WantedEntry,
    answers: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Start a flow and answer its forms; how it ended. One that does not end is taken back."""
    action = f"set up the integration {entry.domain}"
    now: dict[str, Any] = client.call("POST", path, action, json=dict(start))
    for answer in answers:
        if now["type"] == "menu":  # Home Assistant OS offers its own broker first
            choice = {"next_step_id": "broker"}
            now = client.call("POST", f"{path}/{now['flow_id']}", action, json=choice)
        if now["type"] != "form" or now.get("errors"):
            break
        now = client.call("POST", f"{path}/{now['flow_id']}", action, json=dict(answer))
    if now["type"] in ("form", "menu"):
        client.call("DELETE", f"{path}/{now['flow_id']}", action)
    return now


def _refusal(client: Client, entry: WantedEntry, end: Mapping[str, Any]) -> HearthError:
    errors = end.get("errors") or {}
    said = "; ".join(f"{where}: {what}" for where, what in errors.items())
    reason = said or end.get("reason") or f"it asks for more: {end.get('step_id')}"
    return RefusedError(
        f"set up the integration {entry.domain} of Home Assistant on {client.place.name}",
        str(reason),
        entry.hint,
    )
