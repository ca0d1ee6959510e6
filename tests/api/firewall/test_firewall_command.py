"""The whole command with the firewall kept: plan, deploy, silence, refusal; probes are real connections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.run.conftest import Home, container, fleet_of, home_of
from twin.pve import Server, faults

ENABLE = "PUT /cluster/firewall/options"


@pytest.fixture
def kept(pve_server: Server, pve_env: dict[str, str], tmp_path: Path) -> Home:
    """A home of one appliance, whose node's firewall is kept."""
    home = home_of(pve_server, pve_env, tmp_path)
    home.declare({**fleet_of(comms=container()), "firewall": True})
    (tmp_path / "overrides.yaml").write_text("firewall_log_level: info\n")
    home.env["HEARTH_OVERRIDES"] = str(tmp_path / "overrides.yaml")
    return home


def stored(home: Home) -> dict[str, Any]:
    return home.server.call(lambda: home.pve.firewall_config("cluster"))


def test_a_plan_tells_a_deploy_does_and_the_next_is_silent(kept: Home) -> None:
    dry = kept.dry().went_well()
    assert dry.writes == []
    assert "firewall off; it will be on" in dry.text
    assert "group/hearth-node: + in accept tcp 8006 from management" in dry.text
    kept.deploy().went_well()
    assert stored(kept)["options"] == {"enable": 1, "policy_in": "DROP"}
    node = kept.server.call(lambda: kept.pve.firewall_config("host", "pve"))
    assert node["options"]["log_level_in"] == "info"
    again = kept.deploy().went_well()
    assert again.writes == []
    assert "firewall" not in kept.dry().went_well().text.lower().replace("firewall as the flows", "")


def test_the_plan_for_programs(kept: Home) -> None:
    plan = json.loads(kept.dry("--json").went_well().out)["firewall"]["pve"]
    assert plan["state"] == "off"
    assert {"verb": "set", "kind": "option", "place": "cluster", "what": "policy_in"}.items() <= next(
        step for step in plan["steps"] if step["kind"] == "option"
    ).items()


def test_a_refused_write_ends_the_run_non_zero_and_as_it_was(kept: Home) -> None:
    fault = {"method": "POST", "path": "/cluster/firewall/groups", "status": 403, "message": "not today"}
    kept.server.call(lambda: faults.apply(kept.pve, "http", **fault))
    kept.deploy().refused("not today", "the old rules are back")
    assert not stored(kept)["options"].get("enable")
    assert not stored(kept)["ipset"]
    assert not list(kept.place.glob("state/firewall-*"))


def test_where_the_fleet_file_does_not_say_so_nothing_is_asked(kept: Home) -> None:
    kept.declare(comms=container())
    done = kept.deploy().went_well()
    assert not [path for path in done.paths if "firewall" in path]


def test_a_value_that_means_nothing_is_said_before_anything_changes(kept: Home) -> None:
    (kept.place / "overrides.yaml").write_text("firewall_iot: [toaster]\n")
    done = kept.deploy().refused("toaster")
    assert done.writes == []
