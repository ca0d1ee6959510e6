"""What is drift and what is not: pure decisions on plans, devices and certificates."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hearth.drift import certificates, dry_run, guests, tailnet
from hearth.drift.finding import CLEAN, DRIFT, FAILED, Drift, Finding, Trouble
from hearth.drift.settings import read_settings
from hearth.errors import HearthError
from hearth.pki.certificates import Issuer, ca_certificate, leaf_certificate, new_key, wanted_names
from hearth.proxmox.observe import NodeView, Seen
from hearth.tailnet import policy
from hearth.tailnet.status import Row

NOW = datetime(2026, 11, 30, tzinfo=UTC)
A, T = Finding("comms", "file", "/etc/a", "mode", "666", "640"), Trouble("database", "no answer")


# ------------------------------------------------------------------------- codes


@pytest.mark.parametrize(
    ("drift", "code"),
    [
        (Drift(), CLEAN),
        (Drift(notes=(A,)), CLEAN),
        (Drift(findings=(A,)), DRIFT),
        (Drift(troubles=(T,)), FAILED),
        (Drift(findings=(A,), troubles=(T,)), FAILED),
    ],
)
def test_exit_codes(drift: Drift, code: int) -> None:
    assert drift.code == code
    assert drift.to_json()["clean"] == (code == CLEAN)


def test_a_clean_home_is_silent() -> None:
    assert list(Drift().lines()) == []


def test_lines_are_grouped_by_guest_and_end_with_what_was_not_looked_at() -> None:
    other = Finding("arch", "guest", "", "memory", "512 MiB", "1024 MiB", "restart it")
    assert list(Drift((A, other, A), troubles=(T,)).lines()) == [
        "arch",
        "  guest: memory: 512 MiB, should be 1024 MiB",
        "    -> restart it",
        "comms",
        "  file /etc/a: mode: 666, should be 640",
        "  file /etc/a: mode: 666, should be 640",
        "not looked at: database: no answer",
    ]


def test_the_json_is_strings_only_and_has_these_keys() -> None:
    found = json.loads(json.dumps(Drift((A,), (A,), (T,)).to_json()))
    assert set(found) == {"version", "clean", "drift", "notes", "errors"}
    assert set(found["drift"][0]) == {"subject", "kind", "thing", "field", "now", "wanted", "remedy"}
    assert found["errors"] == [{"subject": "database", "reason": "no answer"}]


# ---------------------------------------------------------------------- the plan


def a_plan(**parts: Any) -> dict[str, Any]:
    return {"hosts": {}, "firewall": {}, "unreached": {}, "unknown": {}, **parts}


def a_step(kind: str = "change", *found: dict[str, str], operation: str = "Base | Do it") -> dict[str, Any]:
    return {"operation": operation, "kind": kind, "found": list(found)}


LACK = {"kind": "file", "thing": "/etc/a", "field": "mode", "now": "666", "wanted": "640"}


def of(plan: dict[str, Any], inside: set[str] | None = None) -> list[Finding]:
    return dry_run.of_plan(plan, {"comms"} if inside is None else inside, {"pve"}).findings


def test_what_an_operation_noted_is_told_field_by_field() -> None:
    assert of(a_plan(hosts={"comms": [a_step("change", LACK)]})) == [A]


def test_an_operation_that_noted_nothing_is_told_by_its_name() -> None:
    (found,) = of(a_plan(hosts={"comms": [a_step()]}))
    assert (found.kind, found.thing) == ("step", "Base | Do it")


@pytest.mark.parametrize("kind", ["conditional", "follows"])
def test_what_only_follows_is_no_drift(kind: str) -> None:
    assert of(a_plan(hosts={"comms": [a_step(kind)]})) == []


def test_what_other_parts_tell_better_is_not_told_twice() -> None:
    steps = [a_step(operation=name) for name in dry_run.ELSEWHERE]
    assert of(a_plan(hosts={"comms": steps, "pve": steps})) == []


def test_the_inside_of_a_guest_that_does_not_run_is_not_guessed() -> None:
    assert of(a_plan(hosts={"comms": [a_step("change", LACK)]}), inside=set()) == []


def a_wall(**parts: Any) -> dict[str, Any]:
    return {"cluster": "pve", "state": "on", "steps": [], "foreign": [], **parts}


def test_the_firewalls_switch() -> None:
    (found,) = of(a_plan(firewall={"pve": a_wall(state="off: the dead-man switch ran out")}))
    assert (found.subject, found.field, found.wanted) == ("pve", "state", "on")
    assert "dead-man" in found.now


@pytest.mark.parametrize(
    ("step", "subject", "text"),
    [
        (("add", "rule", "guest/comms", "in accept tcp 22", "", ""), "comms", "missing, should be there"),
        (("remove", "rule", "cluster", "in drop", "", ""), "pve", "there, should be not there"),
        (("set", "option", "guest/comms", "enable", "0", "1"), "comms", "enable: 0, should be 1"),
        (("unset", "option", "node/pve", "ndp", "1", ""), "pve", "ndp: 1, should be none"),
        (("make", "ipset", "lan", "", "", ""), "pve", "set lan: missing, should be there"),
        (("add", "entry", "lan", "10.0.0.1", "", ""), "pve", "10.0.0.1: missing, should be there"),
        (("add", "entry", "lan", "10.0.0.1", "not 10.0.0.1", ""), "pve", "not 10.0.0.1, should be there"),
    ],
)
def test_each_thing_of_the_firewall(step: tuple[str, ...], subject: str, text: str) -> None:
    keys = ("verb", "kind", "place", "what", "old", "new")
    (found,) = of(a_plan(firewall={"pve": a_wall(steps=[dict(zip(keys, step, strict=True))])}))
    assert found.subject == subject
    assert text in str(found)


def test_others_rules_are_notes() -> None:
    found = dry_run.of_plan(a_plan(firewall={"pve": a_wall(foreign=["cluster: rule in accept"])}), (), ())
    assert found.findings == []
    assert [note.now for note in found.notes] == ["cluster: rule in accept"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "--> Loading config...\n--> \x1b[31merror\x1b[0m: cannot deploy x: y (z)\n",
            "error: cannot deploy x: y (z)",
        ),
        ("one\ntwo\nthree\nfour\n", "two; three; four"),
        ("", "the dry run said nothing"),
    ],
)
def test_why_there_is_no_plan(tmp_path: Path, said: str, words: str) -> None:
    (tmp_path / "pyinfra.py").write_text(f"import sys\nsys.stderr.write({said!r})\nsys.exit(1)\n")
    with pytest.raises(HearthError) as caught:
        dry_run.dry_run(tmp_path, {})
    assert caught.value.reason == words


def test_a_dry_run_that_never_ends(tmp_path: Path) -> None:
    (tmp_path / "pyinfra.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(HearthError, match="took longer than 1 s"):
        dry_run.dry_run(tmp_path, {}, patience=1)


def test_backup_jobs_where_the_plan_has_them() -> None:
    jobs = {"pve": {"steps": ["change hearth-daily: schedule: 04:00 -> 03:00"], "foreign": ["theirs"]}}
    found = dry_run.of_plan(a_plan(backup_jobs=jobs), (), {"pve"})
    assert [(each.kind, each.now) for each in found.findings] == [
        ("backup", "a deploy would change hearth-daily: schedule: 04:00 -> 03:00")
    ]
    assert [note.now for note in found.notes] == ["theirs"]


def test_a_guest_that_does_not_answer_is_named() -> None:
    found = dry_run.of_plan(a_plan(unreached={"comms": "no answer"}, unknown={"pve": ["no key"]}), (), ())
    assert found.troubles == [Trouble("comms", "no answer"), Trouble("pve", "no key")]


# -------------------------------------------------------------------- the others


def test_unmanaged_guests_but_not_known_ones_and_no_templates() -> None:
    seen = [(135, "comms", False), (200, "test", False), (201, "known", False), (202, "x", False)]
    rows = [Seen(vmid, "lxc", "pve", name, "running", template=t) for vmid, name, t in seen]
    rows.append(Seen(900, "vm", "pve", "golden", "stopped", template=True))
    found = guests.unmanaged([NodeView("pve", tuple(rows))], [135], {"known", 202})
    assert [each.thing for each in found] == ["200 test"]


def test_a_guest_with_our_tag_that_left_the_fleet_file_is_drift_and_not_unmanaged() -> None:
    rows = (Seen(153, "lxc", "pve", "worker-3", "running", tags=("hearth",)),)
    views = [NodeView("pve", rows)]
    assert guests.unmanaged(views, [], ()) == []
    (found,) = guests.left_over(views, [], ())
    assert (found.thing, found.kind) == ("153 worker-3", "guest")
    assert guests.left_over(views, [153], ()) == []
    assert guests.left_over(views, [], {"worker-3"}) == []


@pytest.mark.parametrize("down", [False, True])
def test_a_device_that_is_wrong_unless_its_guest_is_down(down: bool) -> None:
    rows = [Row("comms", None, ("is not in the tailnet",)), Row("tv", None, ())]
    found = list(tailnet.of_devices(rows, {"comms"} if down else ()))
    assert len(found) == (0 if down else 1)


@pytest.mark.parametrize("state", list(policy.State))
def test_a_policy_that_is_not_the_files(state: policy.State) -> None:
    assert bool(list(tailnet.of_policy(state))) == (state not in policy.WELL)


CA_KEY, OTHER_KEY, KEY = new_key(), new_key(), new_key()
CA, OTHER = ca_certificate(CA_KEY, NOW), ca_certificate(OTHER_KEY, NOW)
NAMES = wanted_names("comms", ["comms.home.arpa"], ["192.168.1.135"])


def a_certificate(names: Any = NAMES, days_ago: int = 0, issuer: Issuer | None = None) -> Any:
    made = NOW - timedelta(days=days_ago)
    return leaf_certificate("comms", names, KEY, issuer or Issuer(CA, CA_KEY), made)


def test_a_good_certificate_is_no_finding() -> None:
    assert (
        list(certificates.of_certificate(certificates.Kept("comms", NAMES, a_certificate()), CA, NOW)) == []
    )


@pytest.mark.parametrize(
    ("certificate", "fields"),
    [
        (None, ["certificate"]),
        (a_certificate(days_ago=366), []),
        (a_certificate(days_ago=368), ["end"]),
        (a_certificate(days_ago=500), ["end"]),
        (a_certificate(wanted_names("comms", ["evil.example"], [])), ["names"]),
        (a_certificate(issuer=Issuer(OTHER, OTHER_KEY)), ["issuer"]),
    ],
)
def test_each_thing_that_is_wrong_with_a_certificate(certificate: Any, fields: list[str]) -> None:
    found = certificates.of_certificate(certificates.Kept("comms", NAMES, certificate), CA, NOW)
    assert [each.field for each in found] == fields


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("drift_unmanaged_guests", "yes"),
        ("drift_foreign_firewall", True),
        ("drift_known_guests", "test"),
        ("drift_known_guests", [True]),
    ],
)
def test_a_setting_that_means_nothing(name: str, value: object) -> None:
    with pytest.raises(HearthError, match=name):
        read_settings({name: value})
