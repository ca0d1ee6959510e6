"""A home in the twin, and the commands that an admin types about it."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.fleet.loader import load_fleet
from hearth.fleet.model import Fleet
from hearth.role.catalogue import load_roles
from hearth.secrets import SecretStore, ssh_public_key
from tests.twin.handle import TwinHandle, until
from twin.home import PROJECT

PATIENCE = 240  # seconds that one command on a small part of the home may take
WHOLE = 1500  # and one on the whole home, packages and all, on a busy machine
NOT_COPIED = (
    ".git",
    ".venv",
    ".hearth",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    "*.age",
)


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it asked of the API."""

    code: int
    out: str
    err: str
    requests: list[dict[str, Any]] = field(repr=False)

    @property
    def text(self) -> str:
        """What the admin saw, both streams."""
        return self.err + self.out

    @property
    def asked(self) -> list[str]:
        """`METHOD PATH` of every request."""
        return [f"{row['method']} {row['path']}" for row in self.requests]

    @property
    def writes(self) -> list[str]:
        """Those that are no GETs."""
        return [line for line in self.asked if not line.startswith("GET ")]

    def went_well(self) -> Done:
        """Itself; fails the test where the command did not end 0."""
        assert self.code == 0, self.text
        return self

    def silent(self) -> Done:
        """Itself; fails unless the run ended 0, changed nothing and asked with GETs only."""
        self.went_well()
        assert "--> 0 changes made" in self.text, self.text
        assert self.writes == []
        return self

    def refused(self, *words: str) -> Done:
        """Itself; fails unless it ended non-zero, with these words and without a traceback."""
        assert self.code != 0, f"exit 0\n{self.text}"
        assert "Traceback" not in self.text, self.text
        for word in words:
            assert word in self.text, f"{word!r} is not said:\n{self.text}"
        return self


class Home:
    """A project's folder, its fleet file and its secrets, in the twin.

    Args:
        twin: the twin.
        place: a folder for what this needs.
        project: where the commands are typed.
        fleet_file: the fleet file.
        own_secrets: True: the project's own places for secrets and state, and an age key in `place`; False:
            the twin's.
    """

    def __init__(
        self,
        twin: TwinHandle,
        place: Path,
        project: Path = PROJECT,
        fleet_file: Path = PROJECT / "inventory/fleet.yaml",
        own_secrets: bool = False,
    ) -> None:
        self.twin = twin
        self.place = place
        self.project = project
        self.fleet_file = fleet_file
        self.own_secrets = own_secrets
        self.process = 0  # of the last command
        self.vault = place / "private" if own_secrets else twin.twin.private / "hearth"

    # ---------------------------------------------------------------- commands

    def argv(self, *command: str) -> list[str]:
        """The command as a process of its own, through `twin exec`."""
        return [
            *(sys.executable, "-m", "twin", "--name", self.twin.twin.name, "exec", "--"),
            *("env", *(f"{key}={value}" for key, value in self.settings.items()), *command),
        ]

    @property
    def settings(self) -> dict[str, str]:
        """What `twin exec` does not set of itself."""
        own = {
            "HEARTH_SECRETS": str(self.secrets_file),
            "HEARTH_PHONES": "",  # beside the fleet file
            "HEARTH_AGE_KEY_FILE": str(self.age_key),
            "HEARTH_STATE_DIR": str(self.state_dir),
            "HEARTH_OVERRIDES": "",  # what stands in the project's own group_data holds
        }
        return {"HEARTH_FLEET": str(self.fleet_file), **(own if self.own_secrets else {})}

    @property
    def state_dir(self) -> Path:
        """Where known hosts and the lock are."""
        return self.project / ".hearth" if self.own_secrets else self.vault / "state"

    @property
    def secrets_file(self) -> Path:
        """The encrypted file."""
        return self.project / "inventory/secrets.age" if self.own_secrets else self.vault / "secrets.age"

    @property
    def age_key(self) -> Path:
        """What opens it."""
        return self.vault / "age.key"

    def with_values(self, file: Path, **values: Any) -> dict[str, str]:
        """The environment of commands whose values of group_data are others; the twin's stand-ins stay.

        Args:
            file: where to write them.
            values: what wins.
        """
        usual = yaml.safe_load((self.twin.twin.dir / "standins.yaml").read_text())
        file.write_text(yaml.safe_dump({**usual, **values}))
        return {"HEARTH_OVERRIDES": str(file)}

    def start(self, *command: str, **popen: Any) -> subprocess.Popen[str]:
        """Start a command; its process is the command's own (`twin exec` becomes it)."""
        # Nobody's SSH keys but those that a test gives.
        env = {key: value for key, value in os.environ.items() if key != "SSH_AUTH_SOCK"}
        nobodys = {"HOME": str(self.place), "HEARTH_TWIN_HOME": str(self.twin.twin.home)}
        env = {**env, **nobodys, **popen.pop("env", {})}
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "text": True, "cwd": self.project, "env": env}
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(self.argv(*command), **(options | popen))
        self.process = process.pid
        return process

    def run(self, *command: str, patience: float = PATIENCE, **popen: Any) -> Done:
        """Run a command to its end, or fail the test."""
        before = self.log_size()
        process = self.start(*command, **popen)
        try:
            out, err = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"{' '.join(command)} took more than {patience} s\n{err}{out}")
        return Done(process.returncode, out, err, self.requests(before))

    def outside(self, program: str, *words: str, env: dict[str, str], patience: float = PATIENCE) -> Done:
        """Run a program of this Python's on this machine itself, outside of the twin's network."""
        before = self.log_size()
        kept = {key: value for key, value in os.environ.items() if key != "SSH_AUTH_SOCK"}
        given = {**kept, "HOME": str(self.place), "HEARTH_TWIN_HOME": str(self.twin.twin.home), **env}
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), *words],
            cwd=self.project,
            env=given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr, self.requests(before))

    def trust_node_key(self) -> None:
        """Let the node take Hearth's key for its one command, as bootstrap.py does at home."""
        key = self.place / "node.pub"
        key.write_text(self.run("hearth", "node-key", "--line").went_well().out)
        assert self.twin.command("trust-node-key", str(key)).returncode == 0

    def deploy(self, *options: str, **how: Any) -> Done:
        """`pyinfra inventory deploy.py -y`."""
        return self.run("pyinfra", "inventory", "deploy.py", "-y", *options, **how)

    def dry(self, *options: str, **how: Any) -> Done:
        """`pyinfra inventory deploy.py --dry`; it must end 0 and have asked with GETs only."""
        done = self.run("pyinfra", "inventory", "deploy.py", "--dry", *options, **how).went_well()
        assert done.writes == []
        return done

    def plan(self, *options: str) -> dict[str, Any]:
        """`--dry --json`, read."""
        return dict(json.loads(self.dry("--json", *options).out))

    def changes(self, guest: str) -> dict[str, str]:
        """The planned changes of a guest: field -> kind."""
        rows = self.plan("--limit", guest)["guests"][guest]["changes"]
        return {row["field"]: row["kind"] for row in rows}

    def verify(self, *options: str, **how: Any) -> Done:
        """`pytest tests/verify`."""
        pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", "-rfE")
        return self.run(*pytest_, *options, "tests/verify", patience=WHOLE, **how)

    # --------------------------------------------------------------- the files

    @property
    def fleet(self) -> Fleet:
        """The fleet as the file has it now."""
        return load_fleet(self.fleet_file, load_roles(self.project / "roles"))

    def edited(self, place: Path, edit: Callable[[dict[str, Any]], None]) -> Home:
        """The same home with a fleet file of its own, edited by a function."""
        content = copy.deepcopy(yaml.safe_load(self.fleet_file.read_text()))
        edit(content)
        return self.with_fleet(place, content)

    def with_fleet(self, place: Path, content: dict[str, Any]) -> Home:
        """The same home with a fleet file of this content."""
        file = place / "fleet.yaml"
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return Home(self.twin, self.place, self.project, file, self.own_secrets)

    def with_guest(self, place: Path, name: str, **keys: Any) -> Home:
        """The same home with other keys of one guest (None removes one)."""

        def edit(content: dict[str, Any]) -> None:
            guest = {**content["guests"].get(name, {}), **keys}
            content["guests"][name] = {key: value for key, value in guest.items() if value is not None}

        return self.edited(place, edit)

    @property
    def secrets(self) -> SecretStore:
        """The secrets, opened anew."""
        return SecretStore(self.secrets_file, self.age_key)

    def secret(self, name: str) -> str:
        """A secret's text."""
        return self.secrets.get(name).reveal()

    # ------------------------------------------------------------- what there is

    def log_size(self) -> int:
        """Where the API's log ends now."""
        file = self.twin.twin.logs / "requests.jsonl"
        return file.stat().st_size if file.exists() else 0

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """The API's log from a place on."""
        with (self.twin.twin.logs / "requests.jsonl").open() as log:
            log.seek(since)
            return [json.loads(line) for line in log]

    def address(self, guest: str) -> str:
        """A guest's IPv4 address."""
        return str(self.fleet.guest(guest).address)

    def api(self, guest: str, below: str) -> Any:
        """GET something below a guest in the API."""
        found = self.fleet.guest(guest)
        kind = "lxc" if found.kind == "lxc" else "qemu"
        return self.twin.api("GET", f"/nodes/pve/{kind}/{found.vmid}{below}")

    def task(self, method: str, guest: str, below: str, **form: Any) -> None:
        """Do something to a guest through the API, beside Hearth."""
        found = self.fleet.guest(guest)
        kind = "lxc" if found.kind == "lxc" else "qemu"
        self.twin.task(method, f"/nodes/pve/{kind}/{found.vmid}{below}", **form)

    def status(self, guest: str) -> str:
        """`running` or `stopped`."""
        return str(self.api(guest, "/status/current")["status"])

    def config(self, guest: str) -> dict[str, Any]:
        """A guest's configuration without its digest."""
        return {key: value for key, value in self.api(guest, "/config").items() if key != "digest"}

    def volumes(self, vmid: int) -> set[str]:
        """The disks of a VMID on the node's storage."""
        rows = self.twin.api("GET", "/nodes/pve/storage/local-lvm/content")
        return {row["volid"] for row in rows if row.get("vmid") == vmid}

    def vmids(self) -> set[int]:
        """Every guest of the node."""
        return {row["vmid"] for kind in ("lxc", "qemu") for row in self.twin.api("GET", f"/nodes/pve/{kind}")}

    @property
    def door(self) -> TwinHandle:
        """SSH with Hearth's own key."""
        key = self.place / "deploy_key"
        private = self.secret("ssh/deploy")
        if not key.exists() or key.read_text() != private:
            key.touch(mode=0o600)
            key.write_text(private)
            key.with_suffix(".pub").write_text(ssh_public_key(self.secrets.get("ssh/deploy")))
        return TwinHandle(self.twin.twin, key)

    def ssh(self, guest: str, script: str) -> list[str]:
        """The command that runs a shell script in a guest, once, as a process of one's own."""
        return [
            *("nsenter", f"--net={self.twin.twin.netns_file}", "--", "ssh", "-i", str(self.door.key)),
            *("-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR"),
            *("-oConnectTimeout=5", "-oBatchMode=yes", f"root@{self.address(guest)}", script),
        ]

    def said(self, guest: str, command: str) -> str:
        """What a shell command in a guest says; it has to end with 0."""
        return self.door.said(self.address(guest), command)

    def ends(self, guest: str, command: str) -> int:
        """How a shell command in a guest ends."""
        return self.door.ssh(self.address(guest), command).returncode


def copy_project(to: Path) -> Path:
    """A copy of the project's files as a fresh checkout has them."""
    shutil.copytree(PROJECT, to, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
    return to


def await_text(path: Path, *words: str) -> str:
    """The text of a growing file, as soon as one of these words is in it."""

    def look() -> str | None:
        text = path.read_text(errors="replace") if path.exists() else ""
        return text if any(word in text for word in words) else None

    return until(look, PATIENCE)


@dataclass(frozen=True)
class Story:
    """How the session's home came to be.

    Args:
        home: the default fleet, deployed.
        files_before: what Hearth keeps on this machine, before anything.
        empty: `--dry` on the empty node.
        files_after_dry: the same files after it.
        first: the first deploy.
        paired: a hand that let the Zigbee devices join afterwards.
    """

    home: Home
    files_before: dict[str, bytes]
    empty: Done
    files_after_dry: dict[str, bytes]
    first: Done
    paired: Done


def kept_files(home: Home) -> dict[str, bytes]:
    """Every file that Hearth keeps for a home on this machine, by name."""
    found = (path for path in home.vault.rglob("*") if path.is_file())
    return {str(path.relative_to(home.vault)): path.read_bytes() for path in found}


@pytest.fixture(scope="session")
def story(twin: TwinHandle, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The default fleet: planned on an empty node, then deployed, once a session."""
    home = Home(twin, tmp_path_factory.mktemp("home"))
    before = kept_files(home)
    empty = home.run("pyinfra", "inventory", "deploy.py", "--dry")
    after = kept_files(home)
    home.trust_node_key()
    first = home.deploy(patience=WHOLE)
    paired = home.run(sys.executable, "-m", "twin.devices.pairing")
    return Story(home, before, empty, after, first, paired)


@pytest.fixture(scope="session")
def home(story: Story) -> Home:
    """The default fleet, deployed."""
    assert story.first.code == 0, story.first.text
    assert story.paired.code == 0, story.paired.text
    return story.home
