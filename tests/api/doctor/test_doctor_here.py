"""What can be wrong on this machine: fleet file, secrets, identity, CA; and how it is shown."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from doctor_home import Patient

from hearth.cli import main
from hearth.doctor import examine as examination
from hearth.pki import Authority
from hearth.secrets.age import generate_identity

Doctor = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def with_secrets(patient: Patient) -> Patient:
    store = patient.home.secrets
    store.put("mqtt/kitchen", "canary-kitchen")
    store.save()
    return patient


def test_every_mistake_of_the_fleet_is_a_finding(patient: Patient) -> None:
    patient.guest("comms")["memory"] = "much"
    patient.guest("comms")["colour"] = "red"
    complaints = patient.complaints()
    assert [(finding.check, finding.status) for finding in complaints] == [("fleet", "fail")] * 2
    assert all(re.search(r"fleet\.yaml:\d+: guests\.comms\.", finding.text) for finding in complaints)
    assert patient.pve.log.requests == []


def test_no_fleet_file(patient: Patient) -> None:
    patient.write_fleet = lambda: None  # type: ignore[method-assign]
    (patient.project / "inventory" / "fleet.yaml").unlink()
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("fleet", "fail")


def test_a_role_that_cannot_be_loaded(patient: Patient) -> None:
    (patient.project / "roles" / "broken.py").write_text("import nothing_of_this_name\n")
    finding = patient.complaint()
    assert finding.check == "fleet"
    assert "broken" in finding.text


def test_secrets_that_open_are_well(with_secrets: Patient) -> None:
    assert with_secrets.complaints() == []


def test_identity_that_others_can_read(with_secrets: Patient) -> None:
    identity = with_secrets.project / "config" / "age.key"
    identity.chmod(0o644)
    finding = with_secrets.complaint()
    assert (finding.check, finding.status) == ("secrets", "fail")
    assert finding.remedy == f"chmod 600 {identity}"


def test_identity_that_others_can_read_before_there_are_secrets(with_secrets: Patient) -> None:
    (with_secrets.project / "inventory" / "secrets.age").unlink()
    assert with_secrets.complaints() == []
    (with_secrets.project / "config" / "age.key").chmod(0o640)
    assert with_secrets.complaint().check == "secrets"


def test_a_locked_vault_is_told_as_such(patient: Patient) -> None:
    store = patient.home.secrets
    store.put("proxmox/token", "bw://hearth")
    store.save()
    del patient.environ["PROXMOX_VE_API_TOKEN"]
    patient.environ["PATH"] = "/nonexistent"
    finding = patient.complaint()
    assert finding.check == "token"
    assert "Bitwarden" in finding.text


def test_wrong_identity(with_secrets: Patient) -> None:
    (with_secrets.project / "config" / "age.key").write_text(generate_identity().reveal())
    finding = with_secrets.complaint()
    assert finding.check == "secrets"
    assert "HEARTH_AGE_KEY_FILE" in finding.remedy


def test_missing_identity(with_secrets: Patient) -> None:
    (with_secrets.project / "config" / "age.key").unlink()
    assert with_secrets.complaint().check == "secrets"


def test_damaged_secrets(with_secrets: Patient) -> None:
    (with_secrets.project / "inventory" / "secrets.age").write_text("damaged")
    assert with_secrets.complaint().check == "secrets"


def test_ca_near_its_end(patient: Patient) -> None:
    store = patient.home.secrets
    then = datetime.now(UTC) - timedelta(days=3652 - 364)
    assert Authority(store, lambda: then).ca_pem
    store.save()
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("ca", "warn")
    assert "hearth secrets remove ca/cert" in finding.remedy


def test_young_ca_is_well(patient: Patient) -> None:
    store = patient.home.secrets
    assert Authority(store).ca_pem
    store.save()
    assert patient.complaints() == []


def test_passing_through_a_guest_is_said(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "addresses_on_path", lambda fleet: frozenset({"192.0.2.135"}))
    (finding,) = [finding for finding in patient.examine() if finding.check == "place"]
    assert "comms" in finding.text


# ---------------------------------------------------------------- the command


@pytest.fixture
def doctor(patient: Patient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Run `hearth doctor OPTIONS`."""

    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        with monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("PROXMOX_", "HEARTH_"))]:
                patch.delenv(name)
            for name, value in patient.environ.items():
                patch.setenv(name, value)
            capsys.readouterr()
            code = main(["--project", str(patient.project), "doctor", *options])
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(list(options), code, shown.out, shown.err)

    return run


def test_exit_0_when_all_is_well(patient: Patient, doctor: Doctor) -> None:
    done = doctor()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "all is well"


def test_exit_1_with_the_remedy_otherwise(patient: Patient, doctor: Doctor) -> None:
    patient.pve.storages["local-lvm"]["content"] = "images"
    done = doctor()
    assert done.returncode == 1
    assert "pvesm set local-lvm --content images,rootdir" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 to mend"


def test_exit_1_for_a_warning_too(patient: Patient, doctor: Doctor, root_token: str) -> None:
    patient.environ["PROXMOX_VE_API_TOKEN"] = root_token
    assert doctor().returncode == 1


def test_json(patient: Patient, doctor: Doctor) -> None:
    well = doctor("--json")
    assert well.returncode == 0
    assert {finding["status"] for finding in json.loads(well.stdout)} == {"ok"}
    patient.pve.storages["local-lvm"]["content"] = "images"
    ill = doctor("--json")
    assert ill.returncode == 1
    (finding,) = [finding for finding in json.loads(ill.stdout) if finding["status"] != "ok"]
    assert set(finding) == {"check", "status", "text", "remedy"}


def test_no_secret_is_shown(with_secrets: Patient, doctor: Doctor) -> None:
    token = with_secrets.environ["PROXMOX_VE_API_TOKEN"]
    store = with_secrets.home.secrets
    store.put("proxmox/token", token)
    store.save()
    with_secrets.pve.storages["local-lvm"]["content"] = "images"
    for options in ([], ["--json"]):
        shown = doctor(*options)
        assert token.partition("=")[2] not in shown.stdout + shown.stderr
        assert "canary" not in shown.stdout + shown.stderr
