"""Quadlets that the roles render, judged by Podman's own generator; and that its refusals count."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from role_kit import FakeRun, fleet, guest

from hearth.ops import quadlet
from roles import vaultwarden

# Podman's own, in one program (its tags leave out what only containers need).
MODULE = "github.com/containers/podman/v5"
VERSION = "v5.4.2"
GO = "/usr/local/go/bin"  # where go.dev/doc/install puts it; it may be in nobody's path
TAGS = "remote exclude_graphdriver_btrfs containers_image_openpgp"
GOOD = "[Container]\nImage=docker.io/a/b@sha256:aa\n"
PODMAN_4 = """#!/bin/sh
echo 'quadlet-generator[7]: Loading source unit file /x/it.container' >&2
echo "quadlet-generator[7]: converting \\"it.container\\": unsupported key 'Pul' in group 'Container'" >&2
"""


@pytest.fixture(scope="session")
def generator(request: pytest.FixtureRequest) -> str:
    """The generator: Debian 13's, or one that Go builds (half a minute, kept)."""
    found = shutil.which(quadlet.GENERATOR)
    built = Path(request.config.cache.mkdir(f"quadlet-{VERSION}")) / "quadlet"  # type: ignore[union-attr]
    if found is None and not built.exists():
        module = built.parent / "build"
        module.mkdir(exist_ok=True)
        (module / "go.mod").write_text(f"module quadlet\n\ngo 1.22.8\n\nrequire {MODULE} {VERSION}\n")
        go = shutil.which("go", path=f"{os.environ.get('PATH', os.defpath)}:{GO}") or "go"
        command = [go, "build", "-mod=mod", "-tags", TAGS, "-o", "quadlet", f"{MODULE}/cmd/quadlet"]
        env = {"HOME": str(module), **os.environ, "CGO_ENABLED": "0"}
        done = subprocess.run(
            command, cwd=module, env=env, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
        (module / "quadlet").rename(built)
    return found or str(built)


def judged(place: Path, text: str, generator: str) -> subprocess.CompletedProcess[str]:
    """How the check of `quadlet.present` ends for a candidate."""
    folder = place / quadlet.FOLDER.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "it.container").write_text(text)
    script = quadlet.check(generator).replace("{stage}", str(place))
    return subprocess.run(["sh", "-euc", script], capture_output=True, text=True, timeout=30, check=False)


def test_a_good_one_is_taken(tmp_path: Path, generator: str) -> None:
    done = judged(tmp_path, GOOD, generator)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{GOOD}Pul=never\n", "unsupported key 'Pul'"),
        ("[Container]\nPull=never\n", "no Image or Rootfs key specified"),
        (f"{GOOD}what is this\n", "not a key-value pair"),
    ],
    ids=["unknown", "without an image", "garbage"],
)
def test_a_bad_one_is_refused_in_the_generators_own_words(
    tmp_path: Path, generator: str, text: str, words: str
) -> None:
    done = judged(tmp_path, text, generator)
    assert done.returncode != 0
    assert words in done.stderr


def test_a_complaint_counts_whatever_the_exit_code(tmp_path: Path) -> None:
    generator = tmp_path / "quadlet"
    generator.write_text(PODMAN_4)
    generator.chmod(0o755)
    done = judged(tmp_path, GOOD, str(generator))
    assert done.returncode != 0
    assert "unsupported key 'Pul'" in done.stderr


def test_a_file_that_is_passed_over_is_refused(tmp_path: Path) -> None:
    assert "no service" in judged(tmp_path, GOOD, "/bin/true").stderr


def test_a_guest_without_the_generator_is_told_so(tmp_path: Path) -> None:
    done = judged(tmp_path, GOOD, "/nonexistent/quadlet")
    assert done.returncode != 0
    assert "Debian 13" in done.stderr


def rendered(there: str) -> str:
    """What a role's quadlet says."""
    run = FakeRun(fleet(guest("security", 140, there, "front")))
    here = run.here("security", there)
    if there == "vaultwarden":
        values = {"image": "docker.io/a/b@sha256:aa", "names": list(vaultwarden.settings(here))}
        more = {"data": vaultwarden.DATA, "uid": vaultwarden.UID, "environment": vaultwarden.ENVIRONMENT}
        return here.render("vaultwarden.container.j2", **values, **more)
    values = {"image": "ghcr.io/a/b:1", "config": "/var/lib/it", "library": "/usr/local/lib/it"}
    return here.render("home-assistant.container.j2", **values, uid=900_000, users=65_536)


@pytest.mark.parametrize("there", ["vaultwarden", "home_assistant"])
def test_what_the_roles_render_is_taken(tmp_path: Path, generator: str, there: str) -> None:
    done = judged(tmp_path, rendered(there), generator)
    assert done.returncode == 0, done.stderr


def test_vaultwardens_container_is_confined_and_its_secrets_are_in_no_command_line(
    tmp_path: Path, generator: str
) -> None:
    folder = tmp_path / "q"
    folder.mkdir()
    (folder / "vaultwarden.container").write_text(rendered("vaultwarden"))
    env = {**os.environ, "QUADLET_UNIT_DIRS": str(folder)}
    unit = subprocess.run(
        [generator, "--dryrun"], env=env, capture_output=True, text=True, timeout=30, check=True
    ).stdout
    (command,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    words = command.split()
    for wanted in ("--cap-drop", "--read-only", "--security-opt=no-new-privileges", "--env=ADMIN_TOKEN"):
        assert wanted in words
    assert words[words.index("--user") + 1] == f"{vaultwarden.UID}:{vaultwarden.UID}"
    assert words[words.index("--pull") + 1] == "never"
    assert "argon2" not in unit
    assert "EnvironmentFile=/etc/vaultwarden/environment" in unit
