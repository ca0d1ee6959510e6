"""A small home beside the default one: a copy of the project in a Git repository, with a role of its own.

Its first deploy makes `annex` (broker and the added role) and takes over `ct152`, which was made by hand.
It is watched: what it says, every process there is meanwhile. So one deploy serves many tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import yaml

from hearth.secrets import SecretStore, ensure_ssh_key
from tests.twin.handle import TwinHandle
from tests.twin.home_kit import Done, Home, copy_project
from twin.home import PROJECT

ECHO = Path(__file__).parent / "echo"
LOUD = ("-vvv", "--debug", "--diff")
AWKWARD = 'Kanarie\'nvogel "$HOME" %41 \\n; é'
ANNEX: dict[str, Any] = {"kind": "lxc", "address": "192.168.1.150", "roles": ["mosquitto"], "tags": ["annex"]}
FOUND: dict[str, Any] = {
    "kind": "lxc",
    "address": "192.168.1.152",
    "memory": "256 MiB",
    "disk": "4 GiB",
    "restart": "allowed",
}


class Watch:
    """Every process of this machine and its guests, again and again: command lines and environments."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, bool, bytes]] = set()  # what, in a guest?, text
        self.handed_down: set[bytes] = set()  # environments of the run and of what it starts
        self.run = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._here = Path("/proc/self/ns/pid").readlink()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def texts(self, what: str, in_guest: bool) -> list[bytes]:
        """What was seen: of kind `cmdline` or `environ`, in guests or on this machine."""
        return [text for kind, inside, text in self.seen if (kind, inside) == (what, in_guest)]

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    self._look(entry.name)

    def _look(self, pid: str) -> None:
        try:
            inside = Path(f"/proc/{pid}/ns/pid").readlink() != self._here
            self.seen.add(("cmdline", inside, Path(f"/proc/{pid}/cmdline").read_bytes()))
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if not inside and self._is_of_the_run(int(pid)):
                self.handed_down.add(environment)
            else:
                self.seen.add(("environ", inside, environment))
        except OSError:
            pass  # it has ended

    def _is_of_the_run(self, pid: int) -> bool:
        while pid > 1:
            if pid == self.run:
                return True
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return False


@dataclass(frozen=True)
class Annex:
    """How the small home came to be.

    Args:
        home: it.
        added: what Git calls changed once the role's files were there.
        unasked: a deploy that was not told to take the hand-made guest over.
        made_by_hand: that guest's configuration before.
        first: the first deploy, as loud as can be.
        rotated: the second, after a password was changed; `--json` besides.
        old_password: the password before that.
        watch: the processes during both.
    """

    home: Home
    added: list[str]
    unasked: Done
    made_by_hand: dict[str, Any]
    first: Done
    rotated: Done
    old_password: str
    watch: Watch

    def git(self, *words: str) -> bytes:
        """A Git command in the project's copy."""
        return git(self.home.project, *words)


def git(where: Path, *words: str) -> bytes:
    """A Git command's output."""
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *who, *words], cwd=where, check=True, capture_output=True).stdout


def fleet_of(**guests: dict[str, Any]) -> dict[str, Any]:
    """The default fleet file with other guests, and without what a node has one of: firewall and tailnet."""
    content: dict[str, Any] = yaml.safe_load((PROJECT / "inventory/fleet.yaml").read_text())
    del content["firewall"], content["tailnet"]
    return {**content, "guests": guests}


def _plant(home: Home) -> None:
    """Secrets that an admin has set before the first deploy."""
    home.vault.mkdir(mode=0o700)
    store = SecretStore(home.secrets_file, home.age_key, notify=lambda _: None)
    store.put("mqtt/garden-sensor", AWKWARD + token_hex())
    store.put("mqtt/hearth-verify", token_hex())
    store.put("mqtt/echo-annex", token_hex())
    ensure_ssh_key(store, "node")
    store.save()


def _project(place: Path, admin: str) -> tuple[Path, list[str]]:
    """A copy of the project, committed; then the role's files and its word in the fleet file."""
    project = copy_project(place / "project")
    content = fleet_of(annex=ANNEX, ct152=FOUND)
    content["admin"]["keys"] = [admin]
    fleet_file = project / "inventory/fleet.yaml"
    fleet_file.write_text(yaml.safe_dump(content, sort_keys=False))
    devices = project / "group_data/mosquitto.py"
    nobody = "mosquitto_devices: dict[str, dict[str, list[str]]] = {}"
    assert nobody in devices.read_text()
    device = 'mosquitto_devices = {"garden-sensor": {"publish": ["garden/#"]}}'
    devices.write_text(devices.read_text().replace(nobody, device))
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "the project")
    shutil.copytree(ECHO, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    text = fleet_file.read_text()
    assert text.count("- mosquitto\n") == 1
    fleet_file.write_text(text.replace("- mosquitto\n", "- echo\n    - mosquitto\n"))
    return project, git(project, "status", "--porcelain", "-uall").decode().splitlines()


@pytest.fixture(scope="session")
def annex(twin: TwinHandle, tmp_path_factory: pytest.TempPathFactory) -> Annex:
    """The small home, deployed."""
    place = tmp_path_factory.mktemp("annex")
    project, added = _project(place, twin.public)
    home = Home(twin, place, project, project / "inventory/fleet.yaml", own_secrets=True)
    _plant(home)
    for vmid in (150, 152):
        twin.remove("lxc", vmid)
    twin.container(152, hostname="ct152", tags="by-hand", description="made by hand")
    made_by_hand = home.config("ct152")
    admins_home = place / "admin"
    (admins_home / ".ssh").mkdir(parents=True, mode=0o700)
    shutil.copy(twin.key, admins_home / ".ssh/id_ed25519")
    admin = {"HOME": str(admins_home)}
    unasked = home.deploy(env=admin)
    with Watch() as watch:
        first = _watched(home, watch, *LOUD, "--data", "adopt=ct152", env=admin).went_well()
        store = home.secrets
        old = store.get("mqtt/echo-annex").reveal()
        store.put("mqtt/echo-annex", token_hex())
        store.save()
        rotated = _watched(home, watch, *LOUD, "--json").went_well()
    return Annex(home, added, unasked, made_by_hand, first, rotated, old, watch)


def _watched(home: Home, watch: Watch, *options: str, **how: Any) -> Done:
    before = home.log_size()
    process = home.start("pyinfra", "inventory", "deploy.py", "-y", *options, **how)
    watch.run = process.pid
    out, err = process.communicate(timeout=900)
    return Done(process.returncode, out, err, home.requests(before))
