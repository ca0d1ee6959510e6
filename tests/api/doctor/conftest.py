"""The patient: all well until a test breaks something."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from doctor_home import FLEET, Patient

from hearth.doctor.rights import grant_commands
from hearth.proxmox.privileges import needed
from twin.pve import Server


@pytest.fixture
def patient(pve_server: Server, tmp_path: Path) -> Patient:
    """All well: the token has exactly what the doctor asks for."""
    for folder in ("inventory", "roles"):
        (tmp_path / folder).mkdir()
    token = pve_server.call(lambda: pve_server.pve.add_token("keeper@pve!doctor"))
    environ = {
        "PROXMOX_VE_ENDPOINT": pve_server.url,
        "PROXMOX_VE_API_TOKEN": token,
        "PROXMOX_VE_CA_BUNDLE": str(pve_server.ca_file),
        "HEARTH_AGE_KEY_FILE": str(tmp_path / "config" / "age.key"),
    }
    found = Patient(tmp_path, pve_server, environ, copy.deepcopy(FLEET))
    found.write_fleet()
    privileges = needed(found.home.load_fleet())
    for path in {privilege.path for privilege in privileges}:
        found.type_on_node(
            grant_commands(path, [p for p in privileges if p.path == path], "keeper@pve", "doctor")
        )
    pve_server.call(pve_server.pve.log.clear)
    return found


@pytest.fixture
def on_server(pve_server: Server) -> Callable[[Callable[[], object]], object]:
    """Run a function between two requests of the fake."""
    return pve_server.call
