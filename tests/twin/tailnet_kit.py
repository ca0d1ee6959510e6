"""A small home with a tailnet, in a twin of its own: headscale, a router, two more guests, the node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.twin.annex_kit import LOUD, Watch
from tests.twin.away_kit import Phone, away
from tests.twin.handle import TwinHandle, new_key
from tests.twin.home_kit import WHOLE, Done, Home, copy_project
from twin import namespace
from twin.down import down
from twin.home import PROJECT
from twin.state import Twin

DOMAIN = "tail.home.arpa"
SERVER = ("tailnet.home.arpa", "192.168.1.141")
NODE = "pve"  # it is in the tailnet itself
HEADSCALE = "/opt/hearth/headscale/current/headscale -c /etc/headscale/config.yaml"
OPEN, CLOSED = 8123, 8124  # ports of home-assistant: what the policy lets phones reach, and what not
GUESTS: dict[str, dict[str, Any]] = {
    "tailnet": {"address": "192.168.1.141", "tun": True, "roles": ["headscale", "subnet_router"]},
    "home-assistant": {"kind": "vm", "address": "192.168.1.134"},
    "quiet": {"address": "192.168.1.139"},  # without a tun: tailscaled works in user space
    "outsider": {"address": "192.168.1.142", "tailnet": False},
}
#: One line back, which says who asked.
ECHO = """set -e
for port in {ports}; do
  printf '[Socket]\\nListenStream=%s\\nAccept=yes\\n' $port >/etc/systemd/system/echo$port.socket
  printf '[Service]\\nExecStart=/bin/sh -c "echo $REMOTE_ADDR"\\nStandardOutput=socket\\n' \\
    >/etc/systemd/system/echo$port@.service
done
systemctl daemon-reload
for port in {ports}; do systemctl start echo$port.socket; done
"""
#: Phones reach one port of one guest; everything of ours may talk to everything of ours.
POLICY = {
    "tagOwners": {"tag:hearth": []},
    "autoApprovers": {"routes": {"192.168.1.0/24": ["tag:hearth"]}},
    "acls": [
        {"action": "accept", "src": ["tag:hearth"], "dst": ["tag:hearth:*"]},
        {"action": "accept", "src": ["anna@"], "dst": [f"192.168.1.134/32:{OPEN}"]},
    ],
}


@dataclass(frozen=True)
class Tailnet:
    """How the small home came to be.

    Args:
        home: it.
        empty: a plan before anything was there.
        first: the first deploy, as loud as can be.
        began: when it began, seconds since the epoch.
        watch: every process meanwhile.
    """

    home: Home
    empty: Done
    first: Done
    began: float
    watch: Watch

    def policy(self, rules: dict[str, Any]) -> Path:
        """The admin's policy file, with these rules."""
        file = self.home.project / "inventory/policy.hujson"
        file.write_text(f"// The home.\n{json.dumps(rules, indent=2)}\n")
        return file

    def headscale(self, words: str) -> Any:
        """What headscale's own command says, read."""
        return json.loads(self.home.said("tailnet", f"{HEADSCALE} {words} -o json"))

    def nodes(self) -> list[tuple[str, bool]]:
        """Name and presence of every device of ours, by headscale itself."""
        rows = self.headscale("nodes list") or []
        ours = [row for row in rows if "tag:hearth" in (row.get("tags") or [])]
        return sorted((row["given_name"], bool(row.get("online"))) for row in ours)

    def status(self, guest: str) -> dict[str, Any]:
        """`tailscale status` of a guest or of the node, read."""
        words = "tailscale status --json"
        return dict(json.loads(self.on_node(words) if guest == NODE else self.home.said(guest, words)))

    def on_node(self, script: str) -> str:
        """What a shell script on the node says, as its admin types it there; it has to end with 0."""
        argv = namespace.enter(self.home.twin.twin, "sh", "-c", script)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def address(self, guest: str) -> str:
        """A guest's or the node's IPv4 address in the tailnet."""
        return str(self.status(guest)["TailscaleIPs"][0])


def fleet() -> dict[str, Any]:
    """The fleet file's content."""
    content: dict[str, Any] = yaml.safe_load((PROJECT / "inventory/fleet.yaml").read_text())
    guests = {name: {"kind": "lxc", **keys} for name, keys in GUESTS.items()}
    content["defaults"]["restart"] = "allowed"
    content["nodes"][NODE]["tailnet"] = True
    # Another kit's business, as the guests' own walls are: here the tailnet's policy is the wall.
    del content["firewall"]
    return {**content, "tailnet": {"domain": DOMAIN}, "guests": guests}


@pytest.fixture(scope="session")
def tailnet_twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TwinHandle, Path]]:
    """A twin of that fleet, and the fleet file."""
    place = tmp_path_factory.mktemp("tailnet")
    file = place / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet(), sort_keys=False))
    state = Twin.named(f"test-{os.getpid()}-tailnet")
    done = subprocess.run(
        [sys.executable, "-m", "twin", "--name", state.name, "up"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=3600,  # Go builds three programs, where that was never done
        check=False,
        env={**os.environ, "HEARTH_FLEET": str(file)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    handle = TwinHandle(state, new_key(place))
    yield handle, file
    handle.close()
    down(state)
    assert not state.dir.exists()


def without_walls(project: Path) -> Path:
    """A project whose guests have no wall: what is reached is what the tailnet's policy says."""
    values = project / "group_data/wall.py"
    text = values.read_text()
    assert "wall_enabled = True" in text
    values.write_text(text.replace("wall_enabled = True", "wall_enabled = False"))
    return project


@pytest.fixture(scope="session")
def tailnet(tailnet_twin: tuple[TwinHandle, Path]) -> Tailnet:
    """The small home, deployed, with its policy and something to reach."""
    twin, file = tailnet_twin
    home = Home(twin, file.parent, without_walls(copy_project(file.parent / "project")), file)
    empty = home.run("pyinfra", "inventory", "deploy.py", "--dry", *LOUD)
    home.trust_node_key()
    began = time.time()
    with Watch() as watch:
        before = home.log_size()
        process = home.start("pyinfra", "inventory", "deploy.py", "-y", *LOUD)
        watch.run = process.pid
        out, err = process.communicate(timeout=WHOLE)
        first = Done(process.returncode, out, err, home.requests(before))
    first.went_well()
    found = Tailnet(home, empty, first, began, watch)
    found.policy(POLICY)
    home.run("hearth", "tailnet", "policy", "--apply").went_well()
    home.said("home-assistant", ECHO.format(ports=f"{OPEN} {CLOSED}"))
    home.said("quiet", ECHO.format(ports=str(OPEN)))
    return found


@pytest.fixture(scope="session")
def phone(tailnet: Tailnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    """Anna's phone, away from home, and in the tailnet."""
    authority = tailnet.home.secret("ca/cert")
    tailnet.home.said("tailnet", f"{HEADSCALE} users create anna")
    user = tailnet.headscale("users list")[0]["id"]
    key = tailnet.headscale(f"preauthkeys create --user {user} --expiration 5m")["key"]
    with away(tailnet.home.twin.twin, tmp_path_factory.mktemp("phone"), authority, SERVER) as found:
        for guest in GUESTS.values():
            assert found.reaches(guest["address"], 22, within=1) is None, "it is outside"
        found.join(f"https://{SERVER[0]}", key)
        yield found
