"""The CI kit: workflows that actionlint accepts, answers that the installer takes, a script that fails clearly."""
# ruff: noqa: E501  stand-ins of programs, a line each

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from answer_model import Answers
from pydantic import ValidationError

from twin import go_programs

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
KIT = PROJECT / "docs" / "ci"
WORKFLOWS = sorted(KIT.glob("*.yml"))
SCRIPT = KIT / "nested-node.sh"


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, timeout=120, **options
    )


# --------------------------------------------------------------------- workflows


def test_there_are_both() -> None:
    assert [path.name for path in WORKFLOWS] == ["nested.yml", "twin.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actionlint_accepts_it(path: Path) -> None:
    done = run(go_programs.ensure("actionlint"), "-no-color", path)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_actionlint_would_refuse_a_wrong_one(tmp_path: Path) -> None:
    wrong = tmp_path / "twin.yml"
    wrong.write_text((KIT / "twin.yml").read_text().replace("timeout-minutes:", "timeout-hours:"))
    assert run(go_programs.ensure("actionlint"), wrong).returncode != 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_it_names_what_is_there_and_may_write_nothing(path: Path) -> None:
    found = yaml.safe_load(path.read_text())
    assert found["permissions"] == {"contents": "read"}
    text = path.read_text()
    assert "${{ secrets." not in text  # nobody's fork gets a secret, for there is none
    for name in re.findall(r"(?<![\w./-])(?:docs|tests|inventory|bin)/[\w./-]+|\b\w+\.py\b", text):
        assert (PROJECT / name).exists(), name
    for job in found["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert job["steps"][-1]["if"] == "always()"


# ----------------------------------------------------------------------- answers


def answers(**changes: str) -> dict[str, Any]:
    """The file as nested-node.sh fills it in, with some of its text replaced."""
    text = (KIT / "answer.toml").read_text()
    for old, new in {
        "@ROOT_PASSWORD@": "0123456789abcdef",
        "@ROOT_SSH_KEY@": "ssh-ed25519 AAAA x",
        **changes,
    }.items():
        assert old in text
        text = text.replace(old, new)
    return tomllib.loads(text)


def test_the_installer_takes_the_answers() -> None:
    found = Answers.model_validate(answers())
    assert found.global_.reboot_mode == "power-off"  # else QEMU never ends
    assert found.disk_setup.disk_list == ["vda"]  # the script's disk is virtio's first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('keyboard = "en-us"', 'keyboard = "us"'),
        ('fqdn = "pve.home.arpa"', 'fqdn = "pve"'),
        ('timezone = "UTC"', 'timezone = "utc"'),
        ("reboot-mode", "reboot-how"),
        ('"power-off"', '"poweroff"'),
        ('"from-answer"', '"from-dhcp"'),
        ('gateway = "192.168.1.1"', ""),
        ('cidr = "192.168.1.185/24"', 'cidr = "192.168.1.185/33"'),
        ('disk-list = ["vda"]', ""),
        ('disk-list = ["vda"]', 'disk-list = ["vda", "vdb"]'),
        ("reboot-on-error = false", 'reboot-on-error = "no"'),
        ('root-password = "0123456789abcdef"', 'root-password = "short"'),
    ],
)
def test_and_no_others(old: str, new: str) -> None:
    text = (KIT / "answer.toml").read_text().replace("@ROOT_PASSWORD@", "0123456789abcdef")
    assert old in text
    with pytest.raises(ValidationError):
        Answers.model_validate(tomllib.loads(text.replace(old, new)))


def test_the_answers_are_those_of_the_default_fleet() -> None:
    from hearth.fleet.loader import load_fleet
    from hearth.role.catalogue import load_roles

    fleet = load_fleet(PROJECT / "inventory" / "fleet.yaml", load_roles(PROJECT / "roles"))
    (node,) = fleet.nodes
    found = Answers.model_validate(answers())
    assert found.global_.fqdn.partition(".")[0] == node.name
    assert found.network.cidr == f"{node.address}/{fleet.networks[0].subnet.prefixlen}"  # type: ignore[union-attr]
    assert found.network.gateway == str(fleet.networks[0].gateway)
    assert (node.storage, node.images) == ("local-lvm", "local")
    card = re.search(r"^card=(\S+)$", SCRIPT.read_text(), re.MULTILINE)
    assert card and found.network.filter == {"ID_NET_NAME_MAC": f"*{card[1].replace(':', '')}"}
    assert f"address=${{NESTED_ADDRESS:-{node.address}}}" in SCRIPT.read_text()


# ------------------------------------------------------------------------ script


def test_shellcheck_accepts_it() -> None:
    done = run("shellcheck", SCRIPT)
    assert done.returncode == 0, done.stdout
    assert SCRIPT.stat().st_mode & stat.S_IXUSR


ISO = b"an ISO"
STUB = """#!/bin/sh
echo "$(basename "$0") $*" >>"{folder}/called"
case "$(basename "$0") $*" in
{cases}
esac
"""
CASES = {
    "curl": '*" -o "*.part*) cp "{folder}/iso" "$(echo "$*" | sed "s/.* -o \\([^ ]*\\) .*/\\1/")" ;; *8006*) exit "${{STUB_NODE:-0}}" ;;',
    "proxmox-auto-install-assistant": '*validate-answer*) cp "$2" "{folder}/validated" ;;',
    "qemu-img": '*) for last in "$@"; do :; done; : >"{folder}/nothing" ;;',
    "timeout": '*node.log*) [ -z "${{STUB_NODE:-}}" ] || {{ echo "no memory"; exit 1; }}; exec sleep 60 ;; *) exit "${{STUB_QEMU:-0}}" ;;',
    "ssh": '*hostname*) echo pve ;; *"pveam list"*) echo "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst 120MB" ;;'
    ' *root-ca*) echo "a certificate" ;;',
}


@dataclass
class Job:
    """A job's machine whose programs are stand-ins: what was called is in a file."""

    folder: Path
    env: dict[str, str]

    def __call__(self, verb: str, **env: str) -> subprocess.CompletedProcess[str]:
        return run("sh", self.folder / "nested-node.sh", verb, env={**self.env, **env}, cwd=self.folder)

    @property
    def called(self) -> list[str]:
        file = self.folder / "called"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """The script with its answers, and stand-ins of all that it calls. /dev/kvm is a file of the test's own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    names = (
        "curl",
        "qemu-system-x86_64",
        "qemu-img",
        "proxmox-auto-install-assistant",
        "xorriso",
        "ip",
        "nft",
        "ssh",
        "timeout",
        "mknod",
    )
    for name in names:
        stub = STUB.format(folder=tmp_path, cases=CASES.get(name, "*) ;;").format(folder=tmp_path))
        (programs / name).write_text(stub)
        (programs / name).chmod(0o755)
    (tmp_path / "kvm").touch()
    text = SCRIPT.read_text().replace("/dev/kvm", str(tmp_path / "kvm"))
    text = text.replace("/proc/sys/net/ipv4/ip_forward", str(tmp_path / "ip_forward"))
    text = text.replace("/dev/net", str(tmp_path / "net"))
    (tmp_path / "nested-node.sh").write_text(text)
    shutil.copy(KIT / "answer.toml", tmp_path)
    (tmp_path / "iso").write_bytes(ISO)
    env = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "NESTED_ISO_URL": "https://example.org/pve.iso",
        "NESTED_ISO_SHA256": hashlib.sha256(ISO).hexdigest(),
        "NESTED_TRIES": "3",
    }
    return Job(tmp_path, env)


def test_it_is_installed_once(job: Job) -> None:
    done = job("install")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in job.called if "auto-install" in line or "timeout" in line] == [
        "proxmox-auto-install-assistant", "proxmox-auto-install-assistant", "timeout",
    ]  # fmt: skip
    qemu = next(line for line in job.called if line.startswith("timeout"))
    assert (
        "-boot order=d" in qemu and "auto.iso" in qemu and "-no-reboot" in qemu and "2400 install" not in qemu
    )
    count = len(job.called)
    again = job("install")
    assert (again.returncode, len(job.called)) == (0, count)
    assert "installed already" in again.stdout


def test_password_and_key_are_this_jobs_own_and_nobody_else_reads_them(job: Job) -> None:
    job("install")
    folder = job.folder / ".nested"
    found = Answers.model_validate(tomllib.loads((job.folder / "validated").read_text()))
    assert found.global_.root_password == (folder / "password").read_text()
    assert re.fullmatch("[0-9a-f]{32}", found.global_.root_password or "")
    assert found.global_.root_ssh_keys == [(folder / "key.pub").read_text().strip()]
    for name in ("password", "key", "answer.toml"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "password").read_text() not in "\n".join(job.called)


def test_an_iso_that_is_another_one_is_refused_and_forgotten(job: Job) -> None:
    (job.folder / "iso").write_bytes(b"evil")
    done = job("install")
    assert done.returncode == 1
    assert "has not the SHA-256" in done.stderr
    assert not [line for line in job.called if "auto-install" in line]
    (job.folder / "iso").write_bytes(ISO)
    assert job("install").returncode == 0


def test_an_installation_that_does_not_end_fails_and_is_made_anew(job: Job) -> None:
    done = job("install", STUB_QEMU="124")
    assert done.returncode == 1
    assert "did not end in time" in done.stderr
    assert not (job.folder / ".nested" / "installed").exists()
    assert job("install").returncode == 0


@pytest.mark.parametrize(
    ("env", "words"),
    [({"NESTED_ISO_URL": ""}, "NESTED_ISO_URL"), ({"NESTED_ISO_SHA256": ""}, "NESTED_ISO_SHA256")],
)
def test_without_an_iso_it_says_where_to_look(job: Job, env: dict[str, str], words: str) -> None:
    done = job("install", **env)
    assert done.returncode == 1 and words in done.stderr and "proxmox.com" in done.stderr
    assert job.called == []


def test_without_kvm_it_says_what_is_missing(job: Job) -> None:
    (job.folder / "kvm").unlink()
    done = job("install")
    assert done.returncode == 1 and "nested virtualization" in done.stderr


def test_it_starts_and_tells_the_job_where_and_stops(job: Job) -> None:
    job("install")
    done = job("start")
    assert done.returncode == 0, done.stderr
    environment = dict(
        line.split("=", 1) for line in (job.folder / ".nested" / "environment").read_text().splitlines()
    )
    assert environment["PROXMOX_VE_ENDPOINT"] == "https://192.168.1.185:8006"
    assert environment["HEARTH_LIVE_TEMPLATE"] == "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst"
    assert Path(environment["PROXMOX_VE_CA_BUNDLE"]).read_text() == "a certificate\n"
    from tests.live.test_live_guests import NEEDED

    assert set(NEEDED) - {"PROXMOX_VE_API_TOKEN"} <= set(environment)
    process = int((job.folder / ".nested" / "pid").read_text())
    assert job("stop").returncode == 0
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(process, 0)
            run("sleep", "0.1")
    assert job("stop").returncode == 0


def test_a_machine_that_ends_at_once_is_said_with_its_words(job: Job) -> None:
    job("install")
    done = job("start", STUB_NODE="1", NESTED_TRIES="20")
    assert done.returncode == 1
    assert "QEMU has ended: no memory" in done.stderr


def test_a_node_that_was_never_installed_is_not_started(job: Job) -> None:
    done = job("start")
    assert done.returncode == 1 and "nested-node.sh install" in done.stderr


def test_a_word_that_it_does_not_know(job: Job) -> None:
    assert "install, start or stop" in job("reboot").stderr
