"""What `base` promises, asked of the guest itself."""

from __future__ import annotations

import io
import time
from ipaddress import ip_address
from typing import Any

import paramiko
import pytest
from under_test import UnderTest, address_of

from hearth.fleet.model import Guest
from hearth.role.certificates import fixed_addresses, host_names

CLOCK = 5  # seconds that a guest's clock may be off


def test_the_admin_logs_in_by_key_and_needs_no_password_for_sudo(host: Any, under_test: UnderTest) -> None:
    admin = under_test.fleet.admin
    if admin.keys:
        keys = host.file(f"{host.user(admin.user).home}/.ssh/authorized_keys")
        assert keys.content_string.splitlines() == list(admin.keys)
        assert (keys.user, keys.mode) == (admin.user, 0o600)
    if admin.user != "root":
        assert host.check_output(f"runuser -u {admin.user} -- sudo -n id -u") == "0"


def test_nobody_has_a_password(host: Any) -> None:
    shadow = [line.split(":")[:2] for line in host.file("/etc/shadow").content_string.splitlines()]
    assert [user for user, word in shadow if word[:1] not in ("!", "*")] == []


def test_root_comes_in_with_hearths_key_and_the_admins(host: Any, under_test: UnderTest) -> None:
    lines = host.file("/root/.ssh/authorized_keys").content_string.splitlines()
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(under_test.secret("ssh/deploy")))
    bodies = [line.split()[1] for line in lines if line.strip() and not line.startswith("#")]
    assert {key.get_base64(), *(line.split()[1] for line in under_test.fleet.admin.keys)} <= set(bodies)


@pytest.mark.parametrize(
    "setting",
    [
        "permitrootlogin without-password",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "permitemptypasswords no",
        "pubkeyauthentication yes",
        "x11forwarding no",
    ],
)
def test_sshd_has_its_settings(host: Any, setting: str) -> None:
    assert setting in host.check_output("sshd -T").lower().splitlines()


def test_sshd_offers_keys_only(guest: Guest) -> None:
    with paramiko.Transport((address_of(guest), 22)) as transport:
        transport.start_client(timeout=15)
        with pytest.raises(paramiko.BadAuthenticationType) as refused:
            transport.auth_none("root")
    assert refused.value.allowed_types == ["publickey"]


def test_no_rollback_of_ssh_is_pending(host: Any) -> None:
    assert not host.service("hearth-sshd-rollback.timer").is_running


def test_time_and_language(host: Any, under_test: UnderTest) -> None:
    admin = under_test.fleet.admin
    zone = host.check_output(f"readlink -f /usr/share/zoneinfo/{admin.timezone}")
    assert host.check_output("readlink -f /etc/localtime") == zone
    assert host.file("/etc/default/locale").content_string == f"LANG={admin.locale}\n"
    assert host.run(f"LC_ALL={admin.locale} locale").stderr == ""


def test_the_clock_is_right(host: Any) -> None:
    assert abs(float(host.check_output("date +%s.%N")) - time.time()) < CLOCK


def test_security_updates_are_installed_by_themselves(host: Any) -> None:
    settings = host.check_output("apt-config dump")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
    origins = [
        line for line in settings.splitlines() if line.startswith("Unattended-Upgrade::Origins-Pattern::")
    ]
    assert origins
    assert all("Debian-Security" in line for line in origins)
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        assert host.service(timer).is_running
        assert host.service(timer).is_enabled


def test_the_journal_is_kept_and_bounded(host: Any) -> None:
    settings = host.check_output("systemd-analyze cat-config systemd/journald.conf").splitlines()
    assert "Storage=persistent" in settings
    assert any(line.startswith("SystemMaxUse=") for line in settings)
    assert host.file("/var/log/journal").is_directory


def test_it_knows_the_fleet_by_name(host: Any, guest: Guest, under_test: UnderTest) -> None:
    fleet = under_test.fleet
    for other in fleet.guests:
        for address in fixed_addresses(other):
            database = "ahostsv4" if address.version == 4 else "ahostsv6"
            for name in host_names(other, fleet):
                found = host.check_output(f"getent {database} {name}").split()[0]
                assert ip_address(found) == address
    assert host.check_output("hostname --fqdn") == host_names(guest, fleet)[-1]


def test_it_trusts_the_fleets_authority(host: Any, under_test: UnderTest) -> None:
    bundle = host.file("/etc/ssl/certs/ca-certificates.crt").content_string
    assert under_test.authority.strip() in bundle
