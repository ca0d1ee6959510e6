"""The prober pings without any capability: the kernel lets its group, and whoever could before."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from monitor_kit import folder
from role_kit import PROJECT

from roles.monitoring import exporters

pytestmark = pytest.mark.slow

SCRIPT = PROJECT / "templates/monitoring/pings.sh"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1\t0", "{g} {g}"),
        ("0\t2147483647", "0 2147483647"),
        ("0\t5", "0 {g}"),
        ("3000000\t3000001", "{g} 3000001"),
    ],
)
def test_the_groups_that_may_ping_become_more_and_never_fewer(
    before: str, after: str, tmp_path: Path
) -> None:
    file = tmp_path / "range"
    file.write_text(f"{before}\n")
    subprocess.run(["sh", SCRIPT, "nogroup"], check=True, env={**os.environ, "RANGE": str(file)})
    group = subprocess.run(
        ["getent", "group", "nogroup"], capture_output=True, text=True, check=True
    ).stdout.split(":")[2]
    assert file.read_text().strip() == after.format(g=group)


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own takes root")
def test_debians_prober_pings_as_nobody_in_particular() -> None:
    """In a network namespace of its own, without a capability, as the unit has it."""
    with folder() as place:
        (place / "blackbox.yml").write_text(exporters.blackbox_text())
        assert [pinged(place, how) for how in ("open", "closed")] == ["probe_success 1", "probe_success 0"]


def pinged(place: Path, how: str) -> str:
    """What a probe of loopback says, with the script having run ("open") or not."""
    at = "127.0.0.1:19115"
    script = f"""
ip link set lo up
{{ [ "$1" = closed ] || sh {SCRIPT} nogroup; }} || exit
setpriv --reuid=nobody --regid=nogroup --clear-groups --bounding-set=-all --no-new-privs \\
  prometheus-blackbox-exporter --config.file={place}/blackbox.yml --web.listen-address={at} 2>/dev/null &
for i in $(seq 50); do curl -sf --noproxy '*' http://{at}/-/healthy >/dev/null && break; sleep 0.1; done
curl -s --noproxy '*' 'http://{at}/probe?module=ping&target=127.0.0.1' | grep '^probe_success'
kill $!
"""
    command = ["unshare", "--net", "sh", "-c", script, "sh", how]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
