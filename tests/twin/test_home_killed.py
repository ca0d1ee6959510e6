"""A deploy that is killed, again and again, ends where an undisturbed one does."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from tests.twin.handle import until
from tests.twin.home_kit import Home

pytestmark = pytest.mark.slow  # two minutes, most of them waiting: for `make test-all`
GUEST = "mqtt-standby"
VMID = 138
STARTING = "--> Starting operation: "


def what_there_is(home: Home) -> dict[str, Any]:
    """All that must be the same: configuration, disks, guests, and the files that roles wrote."""
    config = {key: value for key, value in home.config(GUEST).items() if key != "digest"}
    files = "mosquitto ssh/sshd_config.d sudoers.d systemd/system hosts apt/apt.conf.d default/locale"
    sums = home.said(GUEST, f"cd /etc && find {files} -type f -print0 | sort -z | xargs -0 sha256sum")
    packages = home.said(GUEST, "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'")
    return {
        "config": config,
        "wall": home.twin.as_root("GET", f"/nodes/pve/lxc/{VMID}/firewall/options"),
        "rules": home.twin.as_root("GET", f"/nodes/pve/lxc/{VMID}/firewall/rules"),
        "status": home.status(GUEST),
        "volumes": home.volumes(VMID),
        "guests": home.vmids(),
        "files": sums,
        "packages": packages,
    }


def kill_when(home: Home, look: Any, *options: str) -> str:
    """Start a deploy of the guest, and end it with SIGKILL as soon as `look` sees what it waits for."""
    run = home.start(
        *("pyinfra", "inventory", "deploy.py", "-y", "--limit", GUEST, *options), stderr=subprocess.STDOUT
    )
    try:
        until(lambda: True if look() else _goes_on(run), 120)
    finally:
        run.kill()
        said, _ = run.communicate()
    return said


def _goes_on(run: subprocess.Popen[str]) -> None:
    assert run.poll() is None, f"it ended before it could be killed\n{run.communicate()[0]}"


def tasks(home: Home, kind: str, since: int) -> bool:
    """Whether the API was asked for a creation or a start after a place in its log."""
    paths = {"create": ("POST", "/nodes/pve/lxc"), "start": ("POST", f"/nodes/pve/lxc/{VMID}/status/start")}
    return any((row["method"], row["path"]) == paths[kind] for row in home.requests(since))


def in_guest(home: Home, script: str) -> bool:
    """Whether a script ends well in the guest now; False where it cannot be reached."""
    done = subprocess.run(home.ssh(GUEST, script), capture_output=True, check=False, timeout=30)
    return done.returncode == 0


def test_killed_at_three_points_it_ends_as_if_undisturbed(home: Home) -> None:
    undisturbed = what_there_is(home)
    old_key = known_key(home)

    # While the new guest is being created, in place of the old one.
    home.twin.fault("slow-task", type="vzcreate", seconds=3)
    mark = home.log_size()
    kill_when(home, lambda: tasks(home, "create", mark), "--data", f"replace={GUEST}")
    home.twin.clear_faults()
    # After it was created and started, before its roles.
    mark = home.log_size()
    kill_when(home, lambda: tasks(home, "start", mark))
    # In the middle of its roles: packages are being unpacked.
    kill_when(home, lambda: in_guest(home, "pgrep -x dpkg"))
    assert not in_guest(home, "systemctl is-active -q mosquitto.service && test -e /etc/mosquitto/acl")

    home.deploy("--limit", GUEST).went_well()

    assert what_there_is(home) == undisturbed
    assert known_key(home) != old_key
    home.deploy("--limit", GUEST).silent()
    home.verify("-k", GUEST).went_well()


def known_key(home: Home) -> str:
    """The guest's host key as Hearth knows it."""
    known = (home.state_dir / "known_hosts").read_text()
    found = re.search(rf"^{re.escape(home.address(GUEST))} (.*)$", known, re.MULTILINE)
    assert found is not None
    return found[1]
