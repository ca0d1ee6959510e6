"""The ways in: what README promises is there, and what is installed is pinned."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["demo", "test", "test-all", "test-long", "lint", "twin-up", "twin-down"])
def test_make_has_the_target(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_everything_installed_is_pinned(file: str) -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if line and line != "-e ."]
    assert wanted
    assert all(re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==[\w.]+", line) for line in wanted), wanted


def test_the_pins_keep_pyinfra_where_its_corrections_fit() -> None:
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert any(pin.startswith("pyinfra==3.10.") for pin in pins)


@pytest.mark.parametrize("path", re.findall(r"\]\((docs/[^)#]+)\)", README))
def test_readme_links_lead_somewhere(path: str) -> None:
    assert (ROOT / path).exists()


def test_readme_names_the_two_commands() -> None:
    assert "make demo" in README
    assert "pyinfra inventory deploy.py --dry" in README
    assert re.search(r"pyinfra inventory deploy\.py\s", README)


@pytest.mark.parametrize("path", [".ci/run", "bin/setup", "bin/demo"])
def test_scripts_are_sound_and_can_be_started(path: str) -> None:
    script = ROOT / path
    assert os.access(script, os.X_OK)
    shell = "bash" if "bash" in script.read_text(encoding="utf-8").splitlines()[0] else "sh"
    assert subprocess.run([shell, "-n", str(script)], check=False).returncode == 0


def test_ci_runs_everything() -> None:
    assert "make test-all" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "what", ["Home Assistant OS", "official image", "Vaultwarden", "Zigbee", "push cloud"]
)
def test_the_services_page_names_what_the_twin_has_otherwise(what: str) -> None:
    page = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")
    assert what in page.partition("## What the twin has in another way")[2]
