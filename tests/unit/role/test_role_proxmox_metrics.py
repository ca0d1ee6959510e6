"""Proxmox's exporter: asked where there is a token that only reads, and trusting whom the run trusts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitor_kit import a_home
from role_kit import PROJECT, FakeRun

from hearth.bootstrap.reader import SECRET, TOKEN
from hearth.errors import HearthError
from hearth.role.tokens import token_name
from roles.monitoring import configuration, proxmox

VALUE = "12345678-1234-1234-1234-1234567890ab"


def a_run(environ: dict[str, str] | None = None, token: bool = True) -> FakeRun:
    run = a_home()
    run.secrets.put(token_name("monitoring-monitoring"), "x")
    if token:
        run.secrets.put(SECRET, f"{TOKEN}={VALUE}")
    run.environ = environ or {}  # type: ignore[attr-defined]
    return run


def jobs(run: FakeRun) -> dict[str, Any]:
    text = configuration.prometheus_files(run.here("monitoring", "monitoring")).proven[0].text
    return {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}


def test_without_a_token_nobody_asks_proxmox() -> None:
    assert "pve" not in jobs(a_run(token=False))


def test_each_node_is_asked_under_its_own_name() -> None:
    job = jobs(a_run())["pve"]
    assert job["static_configs"] == [{"targets": ["192.168.1.185:8006"], "labels": {"guest": "pve"}}]
    assert job["params"]["cluster"] == ["1"]


def test_the_token_is_in_its_own_file_alone() -> None:
    run = a_run()
    here = run.here("monitoring", "monitoring")
    found = proxmox.exporter(here)
    (settings,) = found.files
    assert yaml.safe_load(settings.text)["default"] == {
        "user": "hearth-metrics@pve",
        "token_name": "read",
        "token_value": VALUE,
        "verify_ssl": True,
    }
    assert (settings.user, settings.mode, settings.secret) == ("pve-exporter", "600", True)
    assert VALUE not in found.units[0].text
    assert VALUE not in configuration.prometheus_files(here).proven[0].text


def test_it_trusts_whom_the_run_was_told_to_trust(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("the node's authority\n")
    found = proxmox.exporter(a_run({"PROXMOX_VE_CA_BUNDLE": str(bundle)}).here("monitoring", "monitoring"))
    assert found.files[1].text == "the node's authority\n"
    assert f"REQUESTS_CA_BUNDLE={proxmox.AUTHORITY}" in found.units[0].text
    insecure = a_run({"PROXMOX_VE_INSECURE": "1"}).here("monitoring", "monitoring")
    assert not yaml.safe_load(proxmox.settings(insecure))["default"]["verify_ssl"]


def test_an_authority_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    run = a_run({"PROXMOX_VE_CA_BUNDLE": str(tmp_path / "none")})
    with pytest.raises(HearthError, match="PROXMOX_VE_CA_BUNDLE"):
        proxmox.exporter(run.here("monitoring", "monitoring"))


def test_every_part_of_it_is_pinned_by_hash() -> None:
    text = (PROJECT / "templates/monitoring/pve-exporter.lock").read_text()
    parts = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line, re.I)]
    assert parts
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+ \\", part) for part in parts), parts
    assert text.count("--hash=sha256:") >= len(parts)
