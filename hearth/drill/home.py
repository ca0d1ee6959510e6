"""What the twin of a drill is told of the home: its own files where it may have them, copies where not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hearth.backup.keeping import COPIER
from hearth.phones.registry import phones_file
from hearth.role.tailnet import HEADSCALE, SUBNET_ROUTER
from hearth.values import VARIABLE

if TYPE_CHECKING:
    from hearth.run import Run

#: What the twin's stand-ins say for its simulated devices' sake: here the home's own is to be proven.
OWN = ("home_assistant_events", "ai_automation_alarms", "mosquitto_devices")
#: Devices are not restored: no radio is in a backup. What verification would do with them is passed over.
DEVICES = ("verify_sensor", "verify_light", "verify_switch", "verify_measure", "verify_look")


@dataclass(frozen=True)
class Files:
    """The files of a drill.

    Args:
        folder: private, and gone afterwards.
    """

    folder: Path

    @property
    def repository(self) -> Path:
        """The backup, brought near."""
        return self.folder / "repository"

    @property
    def state(self) -> Path:
        """The state folder of what runs in the twin."""
        return self.folder / "state"

    @property
    def fleet(self) -> Path:
        """The fleet file."""
        return self.folder / "fleet.yaml"

    @property
    def values(self) -> Path:
        """What wins over group_data."""
        return self.folder / "values.yaml"

    @property
    def node_key(self) -> Path:
        """The public key for the twin's node."""
        return self.folder / "node.pub"

    @property
    def log(self) -> Path:
        """What all commands say."""
        return self.folder / "drill.log"


def write(run: Run, files: Files) -> list[str]:
    """Write what the twin is told; what is to be known about it.

    Args:
        run: production's; nothing of it is changed.
        files: where.

    Raises:
        OSError: they cannot be written.
    """
    files.state.mkdir(mode=0o700)
    notes = []
    content = run.fleet_file.read_text(encoding="utf-8")
    if run.fleet.tailnet is not None and not run.fleet.with_role(HEADSCALE):
        fleet = yaml.safe_load(content)
        del fleet["tailnet"]
        for node in fleet["nodes"].values():
            node.pop("tailnet", None)
        for guest in fleet["guests"].values():
            if "roles" in guest:
                guest["roles"] = [role for role in guest["roles"] if role != SUBNET_ROUTER]
        content = yaml.safe_dump(fleet, sort_keys=False)
        notes.append("the tailnet takes no part: its servers are outside, and the twin has no way there")
    files.fleet.write_text(content, encoding="utf-8")
    # A copy: what a restore generates is the twin's.
    _copy(run.secrets.path, files.folder / "secrets.age")
    _copy(phones_file(run.project, run.fleet_file, run.environ), files.folder / "phones.yaml")
    files.values.write_text(yaml.safe_dump(_values(run, files)), encoding="utf-8")
    return notes


def _values(run: Run, files: Files) -> dict[str, Any]:
    elsewhere: dict[str, Any] = {
        "repository": str(files.repository),
        "environment": {},
        "secrets": {},
        "sftp": {},
        "rclone": None,
    }
    return {
        **{f"{COPIER}_{name}": value for name, value in elsewhere.items()},
        **{name: run.values[name] for name in OWN if name in run.values},
        **dict.fromkeys(DEVICES),
    }


def _copy(source: Path, target: Path) -> None:
    if source.exists():
        shutil.copyfile(source, target)
        target.chmod(0o600)


def outside(run: Run, files: Files) -> dict[str, str]:
    """The environment of `python -m twin`: the twin's values, and not production's."""
    dropped = (VARIABLE, "PROXMOX_VE_API_TOKEN", "PROXMOX_VE_ENDPOINT", "HEARTH_TWIN")
    return {key: value for key, value in run.environ.items() if key not in dropped} | {
        "HEARTH_FLEET": str(files.fleet),
        # Root leaves no files of its own in the admin's project.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }


def inside(run: Run, files: Files) -> Mapping[str, str]:
    """What `twin exec` does not set, or sets for a twin that is not this home."""
    return {
        "HEARTH_FLEET": str(files.fleet),
        "HEARTH_SECRETS": str(files.folder / "secrets.age"),
        "HEARTH_PHONES": str(files.folder / "phones.yaml"),
        "HEARTH_AGE_KEY_FILE": str(run.secrets.identity_file),
        "HEARTH_STATE_DIR": str(files.state),
    }


def overrides(run: Run, files: Files) -> str:
    """Production's own overrides, then `$HEARTH_OVERRIDES` of the twin, then the drill's. For a shell."""
    own = run.environ.get(VARIABLE, "")
    given = [str(run.project / each) for each in own.split(os.pathsep) if each]
    return os.pathsep.join([*given, f"${VARIABLE}", str(files.values)])
