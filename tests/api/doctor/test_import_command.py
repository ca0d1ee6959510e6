"""`hearth import`: reads only, overwrites nothing unasked."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from doctor_home import Patient

from hearth.cli import main
from hearth.fleet.loader import load_fleet

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home(patient: Patient) -> Patient:
    """A node with a VM on it, and no fleet file yet."""
    patient.make_vm(136, "database")
    patient.home.fleet_file.unlink()
    return patient


@pytest.fixture
def run(home: Patient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `hearth import ARGUMENTS` in the project; further names are environment variables."""

    def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        with monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("PROXMOX_", "HEARTH_"))]:
                patch.delenv(name)
            for name, value in {**home.environ, **environ}.items():
                patch.setenv(name, value)
            patch.chdir(home.project)
            capsys.readouterr()
            code = main(["import", *arguments])
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(list(arguments), code, shown.out, shown.err)

    return run


def test_writes_a_fleet_file_that_loads_with_gets_only(home: Patient, run: Run) -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    fleet = load_fleet(home.home.fleet_file, {})
    assert [(guest.name, guest.vmid, guest.kind) for guest in fleet.guests] == [("database", 136, "vm")]
    assert home.pve.log.requests
    assert home.pve.log.writes() == []


def test_refuses_to_overwrite_and_asks_nothing(home: Patient, run: Run) -> None:
    home.home.fleet_file.write_text("mine")
    done = run()
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert home.home.fleet_file.read_text() == "mine"
    assert home.pve.log.requests == []


def test_force_overwrites(home: Patient, run: Run) -> None:
    home.home.fleet_file.write_text("mine")
    assert run("--force").returncode == 0
    assert "database" in home.home.fleet_file.read_text()


def test_a_failed_import_leaves_the_old_file(home: Patient, run: Run) -> None:
    home.home.fleet_file.write_text("mine")
    home.pve.fail("GET", "/nodes/pve/qemu", 500, "got timeout")
    done = run("--force")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert home.home.fleet_file.read_text() == "mine"


def test_to_another_file_or_to_stdout(home: Patient, run: Run) -> None:
    assert run("-o", "other.yaml").returncode == 0
    printed = run("-o", "-")
    assert "database" in printed.stdout
    assert not home.home.fleet_file.exists()
    assert load_fleet(home.project / "other.yaml", {}).guests


def test_a_folder_that_is_not_there(home: Patient, run: Run) -> None:
    done = run("-o", "nowhere/fleet.yaml")
    assert done.returncode == 1
    assert "mkdir" in done.stderr
    assert not Path(home.project / "nowhere").exists()


def test_the_endpoint_typed_wins_over_the_environment(home: Patient, run: Run) -> None:
    endpoint = home.environ["PROXMOX_VE_ENDPOINT"]
    done = run("--endpoint", endpoint, PROXMOX_VE_ENDPOINT="https://127.0.0.1:1")
    assert done.returncode == 0, done.stderr


def test_the_address_typed_wins_over_the_environment(home: Patient, run: Run) -> None:
    address = home.environ["PROXMOX_VE_ENDPOINT"].removeprefix("https://")
    done = run(address, PROXMOX_VE_ENDPOINT="https://127.0.0.1:1")
    assert done.returncode == 0, done.stderr


def test_token_from_the_secrets(home: Patient, run: Run) -> None:
    store = home.home.secrets
    store.put("proxmox/token", home.environ.pop("PROXMOX_VE_API_TOKEN"))
    store.save()
    assert run().returncode == 0


def test_no_token(home: Patient, run: Run) -> None:
    del home.environ["PROXMOX_VE_API_TOKEN"]
    done = run()
    assert done.returncode == 1
    assert "PROXMOX_VE_API_TOKEN" in done.stderr


def test_no_address(home: Patient, run: Run) -> None:
    del home.environ["PROXMOX_VE_ENDPOINT"]
    assert run().returncode == 2
