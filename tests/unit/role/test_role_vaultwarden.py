"""Vaultwarden's settings: ours hold, secrets are hashed or root's, and what cannot be is refused."""

from __future__ import annotations

import subprocess
from typing import Any

import argon2
import pytest
from ops_kit import Absent, preparing
from role_kit import FakeRun, dual, fleet, group_data, guest

from hearth.errors import HearthError
from hearth.ops.image import image
from hearth.role.here import Here
from roles import vaultwarden as role


def here(run: FakeRun | None = None, **data: Any) -> Here:
    run = run or FakeRun(fleet(guest("security", 140, "vaultwarden", "front")))
    return run.here("security", "vaultwarden", **data)


def test_nobody_signs_up_and_it_listens_on_loopback() -> None:
    found = role.settings(here())
    assert found["SIGNUPS_ALLOWED"] == "false"
    assert found["INVITATIONS_ALLOWED"] == "false"
    assert found["DISABLE_ADMIN_TOKEN"] == "false"
    assert (found["ROCKET_ADDRESS"], found["ROCKET_PORT"]) == ("127.0.0.1", "18443")
    assert found["DOMAIN"] == "https://192.168.1.140:8443"


def test_the_domain_may_be_a_name() -> None:
    assert role.domain(here(vaultwarden_domain="https://vault.home.arpa")) == "https://vault.home.arpa"
    run = FakeRun(fleet(dual("security", 140, "vaultwarden", "front")))
    assert role.domain(here(run)) == "https://192.168.1.140:8443"


@pytest.mark.parametrize(
    "wrong", ["http://vault", "vault.home.arpa", "https://vault/", "https://va ult", "", 7]
)
def test_a_domain_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(HearthError, match="where it is found"):
        role.domain(here(vaultwarden_domain=wrong))


def test_the_tokens_hash_stays_and_holds_for_the_token_alone() -> None:
    run = FakeRun(fleet(guest("security", 140, "vaultwarden", "front")))
    first = role.admin_token(run.secrets).reveal()
    assert role.admin_token(run.secrets).reveal() == first
    token = run.secrets.get(role.TOKEN).reveal()
    assert argon2.PasswordHasher().verify(first, token)
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(first, token + "x")
    kept = argon2.extract_parameters(first)
    assert (kept.memory_cost, kept.time_cost, kept.parallelism) == (65_540, 3, 4)
    assert token not in role.environment(here(run), some()).text
    run.secrets.put(role.TOKEN, "another")
    assert role.admin_token(run.secrets).reveal() != first


def test_a_damaged_salt_is_told() -> None:
    run = FakeRun(fleet(guest("security", 140, "vaultwarden", "front")))
    run.secrets.put(role.SALT, "AAAA")
    with pytest.raises(HearthError, match="salt"):
        role.admin_token(run.secrets)


def some(digit: str = "a") -> Any:
    return image(f"docker.io/vaultwarden/server:1@sha256:{digit * 64}")


def test_settings_are_roots_and_another_image_makes_them_another_file() -> None:
    run = FakeRun(fleet(guest("security", 140, "vaultwarden", "front")))
    file = role.environment(here(run), some())
    assert (file.user, file.mode, file.secret) == ("root", "600", True)
    assert role.environment(here(run), some()).text == file.text
    assert role.environment(here(run), some("b")).text != file.text, "so that it is tried with them"


def test_further_settings_and_secrets_are_taken() -> None:
    run = FakeRun(fleet(guest("security", 140, "vaultwarden", "front")))
    run.secrets.put("vaultwarden/smtp-password", 'a"b')
    more = {"vaultwarden_settings": {"SMTP_PORT": 587, "SENDS_ALLOWED": True}}
    found = role.settings(
        here(run, **more, vaultwarden_secret_settings={"SMTP_PASSWORD": "vaultwarden/smtp-password"})
    )
    assert (found["SMTP_PORT"], found["SENDS_ALLOWED"], found["SMTP_PASSWORD"]) == ("587", "true", 'a"b')


@pytest.mark.parametrize(
    "name", ["SIGNUPS_ALLOWED", "ADMIN_TOKEN", "DOMAIN", "ROCKET_ADDRESS", "a b", "x\ny", "low"]
)
def test_what_is_held_or_no_setting_is_refused(name: str) -> None:
    with pytest.raises(HearthError, match="for Vaultwarden"):
        role.settings(here(vaultwarden_settings={name: "true"}))


def test_a_value_with_a_line_break_is_refused() -> None:
    with pytest.raises(HearthError, match="line break"):
        role.environment(here(vaultwarden_settings={"SMTP_FROM_NAME": "a\nSIGNUPS_ALLOWED=true"}), some())


@pytest.mark.parametrize("value", ["", "plain", 'a"b', "a\\b", "$argon2id$v=19", "`x`", " a 'b' #c ", "é"])
def test_a_value_arrives_as_it_is(value: str) -> None:
    # In double quotes a shell reads these characters as systemd does.
    done = subprocess.run(
        ["sh", "-c", f'X={role.quoted("X", value)}; printf %s "$X"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == value


def test_two_vaults_are_refused() -> None:
    both = FakeRun(
        fleet(*(guest(name, last, "vaultwarden") for name, last in (("security", 140), ("data", 139))))
    )
    with pytest.raises(HearthError, match="one guest"):
        role.vaultwarden(here(both))


def test_an_install_that_is_none_is_refused() -> None:
    with pytest.raises(HearthError, match="quadlet"):
        role.vaultwarden(here(vaultwarden_install="docker"))


@pytest.mark.parametrize("install", role.INSTALLS)
def test_all_of_it_is_planned_on_a_guest_that_does_not_exist(install: str) -> None:
    run = FakeRun(fleet(guest("security", 140, "vaultwarden", "front")))
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data(vaultwarden_install=install)
        role.vaultwarden(Here(run, run.fleet.guest("security"), host, run.roles["vaultwarden"]))
        metas = [host.state.get_op_meta(key) for key in host.state.ops[host]]
        changes = [data.operation_meta.will_change for data in host.state.ops[host].values()]
    names = [next(iter(meta.names)) for meta in metas]
    assert {"Take Vaultwarden's image", "Configure Vaultwarden", "Run Vaultwarden"} <= set(names)
    assert all(changes)


@pytest.mark.parametrize("contained", [False, True])
@pytest.mark.parametrize("number", range(4))
def test_its_programs_are_shell(contained: bool, number: int) -> None:
    script = role.scripts(here(), some(), contained)[number].text
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
