"""A real headscale on loopback, with a database of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from hearth.secrets import Secret
from hearth.tailnet import Access
from tests.ports import free_port

USER = "home"
#: Allows all, and lets the home's admin give the tags.
START = '{\n\t// The home.\n\t"tagOwners": {"tag:hearth": ["home@"], "tag:phone": ["home@"]},\n\t' + (
    '"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],\n}\n'
)
READY = 30.0  # seconds


@dataclass
class Headscale:
    """A running server."""

    program: Path
    folder: Path
    port: int
    api_key: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def access(self) -> Access:
        return Access(self.url, Secret(self.api_key))

    def command(self, *arguments: str) -> str:
        """What `headscale ARGUMENTS` prints, over the server's own socket."""
        config = ["-c", str(self.folder / "config.yaml")]
        done = subprocess.run(
            [self.program, *config, *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip()

    def ask(self, method: str, path: str, **content: Any) -> Any:
        """The server's own v1 API, past our client."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        answer = httpx.request(
            method, self.url + path, headers=headers, timeout=10, trust_env=False, **content
        )
        assert answer.is_success, answer.text
        return answer.json()

    def add(self, hostname: str, tag: str | None = "tag:hearth") -> str:
        """A device that is registered and offline; its id."""
        key = "hskey-authreq-" + secrets.token_hex(12)
        self.ask(
            "POST", "/api/v1/debug/node", json={"user": USER, "key": key, "name": hostname, "routes": []}
        )
        node = self.ask("POST", "/api/v1/auth/register", json={"user": USER, "authId": key})["node"]
        if tag:
            self.ask("POST", f"/api/v1/node/{node['id']}/tags", json={"tags": [tag]})
        return str(node["id"])

    def clear(self) -> None:
        """No devices, and the policy as at the start."""
        for node in self.ask("GET", "/api/v1/node")["nodes"]:
            self.ask("DELETE", f"/api/v1/node/{node['id']}")
        self.ask("PUT", "/api/v1/policy", json={"policy": START})


@contextmanager
def running(program: Path, folder: Path, policy: dict[str, str] | None = None) -> Iterator[Headscale]:
    """Start it, and end it afterwards.

    Args:
        program: the program.
        folder: an empty one, of a short path.
        policy: where it has its policy; None: in the database.
    """
    server = Headscale(program, folder, free_port())
    (folder / "config.yaml").write_text(
        yaml.safe_dump({**_config(server), "policy": policy or {"mode": "database"}})
    )
    (folder / "derp.yaml").write_text(yaml.safe_dump(DERP))
    with (folder / "log").open("w") as log:
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        command = [program, "-c", folder / "config.yaml", "serve"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environ)
    try:
        _await(server, process)
        server.command("users", "create", USER)
        server.api_key = server.command("apikeys", "create").splitlines()[-1]
        yield server
    finally:
        process.terminate()
        process.wait(10)


#: One relay, which is not there: headscale does not start without any.
DERP = {
    "regions": {
        901: {
            "regionid": 901,
            "regioncode": "none",
            "regionname": "None",
            "nodes": [{"name": "901a", "regionid": 901, "hostname": "127.0.0.1", "ipv4": "127.0.0.1"}],
        }
    }
}


def _config(server: Headscale) -> dict[str, Any]:
    folder = server.folder
    return {
        "server_url": server.url,
        "listen_addr": f"127.0.0.1:{server.port}",
        "metrics_listen_addr": "127.0.0.1:0",
        "grpc_listen_addr": f"127.0.0.1:{free_port()}",
        "noise": {"private_key_path": str(folder / "noise.key")},
        "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48"},
        "derp": {"server": {"enabled": False}, "urls": [], "paths": [str(folder / "derp.yaml")]},
        "disable_check_updates": True,
        "database": {"type": "sqlite", "sqlite": {"path": str(folder / "db.sqlite")}},
        "dns": {"magic_dns": True, "base_domain": "tail.home.arpa", "override_local_dns": False},
        "unix_socket": str(folder / "socket"),
        "logtail": {"enabled": False},
    }


def _await(server: Headscale, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if (
                httpx.get(f"{server.url}/health", trust_env=False).is_success
                and (server.folder / "socket").exists()
            ):
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError((server.folder / "log").read_text()[-2000:])


def version_of(program: Path) -> str:
    """What the program says: "v0.29.2"."""
    said = subprocess.run([program, "version", "-o", "json"], capture_output=True, text=True, check=True)
    return str(json.loads(said.stdout)["version"])
