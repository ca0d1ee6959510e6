"""`hearth android` as an admin sees it."""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from hearth.cli import main
from hearth.cli.android import lines
from hearth.phones.bundle import opened
from hearth.phones.registry import Ended, Phone, Phones, load_phones
from hearth.secrets import SecretStore, age

Hearth = Callable[..., "subprocess.CompletedProcess[str]"]
ROLE = """
from hearth.role.declaration import Port, Role
role = Role(provides=({ports},))
@role.deploy
def deployed(here):
    pass
"""
FLEET = """\
nodes:
  pve: {address: 192.0.2.1, storage: local-lvm, images: local}
networks:
  lan: {bridge: vmbr0, subnet: 192.0.2.0/24, gateway: 192.0.2.254}
images:
  debian: {kind: lxc, url: "http://example.org/debian.tar.zst"}
defaults:
  lxc: {image: debian, cores: 1, memory: 512 MiB, disk: 8 GiB}
guests:
  comms: {kind: lxc, address: 192.0.2.135, roles: [mosquitto]}
  hall: {kind: lxc, address: 192.0.2.134, roles: [front]}
  other: {kind: lxc, address: 192.0.2.139}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two guests that let phones in."""
    for folder in ("inventory", "roles", "group_data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "inventory/fleet.yaml").write_text(FLEET)
    roles = {
        "base": "",
        "front": "",
        "mosquitto": "Port('mqtts', 8883, tls=True, audience='lan')",
    }
    for name, ports in roles.items():
        text = ROLE.format(ports=ports) if ports else ROLE.replace("({ports},)", "()")
        (tmp_path / f"roles/{name}.py").write_text(text)
    for name in [name for name in os.environ if name.startswith(("PROXMOX_", "HEARTH_", "TAILSCALE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEARTH_AGE_KEY_FILE", str(tmp_path / "age.key"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hearth(project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Hearth:
    """Run `hearth ARGUMENTS` in this process."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        capfd.readouterr()
        code = main(arguments)
        shown = capfd.readouterr()
        return subprocess.CompletedProcess(list(arguments), code, shown.out, shown.err)

    return run


@pytest.fixture
def mine() -> tuple[str, str]:
    """An age key of the admin's: the bundle is quicker to seal for one."""
    identity = age.generate_identity()
    return identity.reveal(), age.recipient_of(identity)


def store(project: Path) -> SecretStore:
    return SecretStore.from_environment(project, os.environ)


def test_add_writes_a_bundle_and_a_page_that_only_the_admin_reads(hearth: Hearth, project: Path) -> None:
    done = hearth("android", "add", "anna")
    assert done.returncode == 0, done.stderr
    bundle, sheet = (project / ".hearth/phones/anna.age", project / ".hearth/phones/anna.html")
    assert done.stdout.split() == [str(bundle), str(sheet)]
    for path in (bundle, sheet):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(bundle.parent.stat().st_mode) == 0o700
    assert "pyinfra inventory deploy.py" in done.stderr, "it takes effect with the next deploy, and says so"
    passphrase = store(project).get("phone/anna/passphrase")
    assert passphrase.reveal() in sheet.read_text()
    assert "phone.json" in opened(bundle.read_bytes(), passphrase)


def test_no_secret_is_printed(hearth: Hearth, project: Path, mine: tuple[str, str]) -> None:
    shown = [hearth("android", "add", "anna", "--recipient", mine[1]), hearth("android", "list", "--all")]
    secrets = store(project)
    for name in secrets.names():
        for done in shown:
            assert secrets.get(name).reveal() not in done.stdout + done.stderr, name


def test_a_second_add_reissues_nothing_unless_asked(
    hearth: Hearth, project: Path, mine: tuple[str, str]
) -> None:
    def add(*more: str) -> subprocess.CompletedProcess[str]:
        return hearth("android", "add", "anna", "--recipient", mine[1], *more)

    add()
    before, serials = (project / "inventory/secrets.age").read_bytes(), load_phones(_list(project)).serials
    (project / ".hearth/phones/anna.age").unlink()
    done = add()
    assert done.returncode == 0
    assert "deploy.py" not in done.stderr
    assert (project / ".hearth/phones/anna.age").exists(), "a lost bundle is written again"
    assert (project / "inventory/secrets.age").read_bytes() == before
    assert add("--renew").returncode == 0
    assert load_phones(_list(project)).serials != serials


def test_where_it_is_written(hearth: Hearth, project: Path, mine: tuple[str, str]) -> None:
    done = hearth("android", "add", "anna", "--recipient", mine[1], "--to", "usb", "--no-biometric")
    assert done.returncode == 0
    assert (project / "usb/anna.age").exists()
    assert load_phones(_list(project)).present["anna"].biometric is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "Anna"), "as a phone's name"),
        (("add", "anna", "--recipient", "age1nobody"), "age public key"),
        (("revoke", "nobody"), "there is none of this name"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_made(
    hearth: Hearth, project: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = hearth("android", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not _list(project).exists()
    assert not (project / ".hearth").exists()


def test_list(hearth: Hearth, project: Path, mine: tuple[str, str]) -> None:
    assert hearth("android", "list").stdout == ""
    for name in ("anna", "berta"):
        hearth("android", "add", name, "--recipient", mine[1])
    hearth("android", "revoke", "anna")
    assert [line.split()[0] for line in hearth("android", "list").stdout.splitlines()] == ["berta"]
    everything = hearth("android", "list", "--all").stdout
    assert re.search(r"^anna .*ended", everything, re.M)


def test_list_says_what_is_due() -> None:
    today = date(2026, 11, 27)
    phones = Phones(
        {
            "gone": Phone(serial="0A", until=today - timedelta(days=1)),
            "soon": Phone(serial="0B", until=today + timedelta(days=20)),
            "well": Phone(serial="0C", until=today + timedelta(days=200), biometric=False),
        },
        (Ended(name="old", serial="0D", until=today),),
    )
    gone, soon, well = lines(phones, today, everything=False)
    assert "run out" in gone
    assert "20 days left" in soon
    assert "--renew" not in well
    assert "0D" in lines(phones, today, everything=True)[-1]


def test_revoke_ends_it_here_and_says_what_is_still_to_do(
    hearth: Hearth, project: Path, mine: tuple[str, str]
) -> None:
    hearth("android", "add", "anna", "--recipient", mine[1])
    done = hearth("android", "revoke", "anna")
    assert done.returncode == 0
    assert "pyinfra inventory deploy.py" in done.stderr
    assert load_phones(_list(project)).gone == ("anna",)
    assert not [name for name in store(project).names() if "anna" in name]
    assert not list((project / ".hearth/phones").iterdir()), "bundle and page are gone too"


def test_revoke_now_deploys_to_the_guests_that_let_phones_in(
    hearth: Hearth, project: Path, mine: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hearth("android", "add", "anna", "--recipient", mine[1])
    program = project / "bin/pyinfra"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\npwd >{project}/ran\necho $* >>{project}/ran\nexit $(cat {project}/code)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    for code in (0, 1):
        (project / "code").write_text(str(code))
        assert hearth("android", "revoke", "anna", "--now").returncode == code, "a deploy that failed shows"
        where, arguments = (project / "ran").read_text().splitlines()
        assert where == str(project)
        assert arguments == "inventory deploy.py -y --limit comms --limit hall"
    assert load_phones(_list(project)).gone == ("anna",)


def _list(project: Path) -> Path:
    return project / "inventory/phones.yaml"


def test_the_certificate_lasts_as_long_as_the_list_says(
    hearth: Hearth, project: Path, mine: tuple[str, str]
) -> None:
    hearth("android", "add", "anna", "--recipient", mine[1])
    pem = store(project).get("phone/anna/cert").reveal()
    told = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate"], input=pem, capture_output=True, text=True, check=True
    )
    end = datetime.strptime(told.stdout.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert load_phones(_list(project)).present["anna"].until == end.date()
