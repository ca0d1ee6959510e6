"""`hearth report`, the whole command against the fake: one file, GETs only; what cannot be asked says so."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from tests.api.run.conftest import Done, Home

HEARTH = str(Path(sys.executable).with_name("hearth"))


def report(home: Home, *arguments: str, env: dict[str, str] | None = None) -> Done:
    """Run `hearth report`."""
    before = len(home.pve.log.requests)
    process = home.start("report", *arguments, program=HEARTH, env={**home.env, **(env or {})})
    out, err = process.communicate(timeout=120)
    done = Done(process.returncode, out, err, tuple(home.pve.log.requests[before:]))
    assert done.writes == [], "a report must only read"
    return done


def test_it_shows_the_home_and_only_the_admin_can_read_it(deployed: Home) -> None:
    (deployed.place / "state" / "drill.json").write_text(
        json.dumps(
            {
                "began": "2026-11-27T10:00:00+00:00",
                "stages": [{"name": "All of it", "seconds": 9, "ok": True}],
            }
        )
    )
    file = deployed.place / "page.html"
    report(deployed, "-o", str(file)).went_well()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    for word in (
        "comms",
        "database",
        "Proxmox VE",
        "All of it",
        "all as the project says",
        "nobody watches this home",
    ):
        assert word in text, word
    assert "Not known:" not in text


def test_a_home_whose_node_is_down_has_a_page_that_says_so(deployed: Home) -> None:
    file = deployed.place / "page.html"
    down = {"PROXMOX_VE_ENDPOINT": "https://127.0.0.1:9", "HEARTH_API_TIMEOUT": "2"}
    report(deployed, "-o", str(file), env=down).went_well()
    text = file.read_text()
    assert "did not answer" in text and "127.0.0.1:9" in text
    assert text.count("Not known:") >= 2


def test_on_standard_output(deployed: Home) -> None:
    done = report(deployed, "-o", "-").went_well()
    assert done.out.startswith("<!doctype html>") and done.out.rstrip().endswith("</html>")


@pytest.mark.parametrize("where", ["no/such/folder/page.html"])
def test_a_place_that_cannot_be_written(deployed: Home, where: str) -> None:
    report(deployed, "-o", str(deployed.place / where)).refused("cannot write", "-o FILE")
