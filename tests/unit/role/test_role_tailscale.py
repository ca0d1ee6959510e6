"""Joining a tailnet: once, under the own name, with a key that nobody else sees."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ops_kit import Absent, preparing
from role_kit import PROJECT, FakeRun, dual, fleet, group_data, guest

from hearth import run as runs
from hearth.deploy import node_tailnet
from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest, Tailnet
from hearth.ops import tailscale
from hearth.role.catalogue import load_roles
from hearth.role.certificates import certificate_for
from hearth.role.here import Here
from hearth.role.order import in_order
from hearth.role.tailnet import VENDOR, advertised, api_url, has_tun, server_url, tailnet_name
from hearth.secrets import Secret
from hearth.tailnet import Device, JoinKey
from hearth.tailnet.membership import Entry, Membership, Settings, differing, membership, wrong
from roles import tailscale as role

ROLES = load_roles(PROJECT / "roles")
DOMAIN, SERVER = "tail.home.arpa", "https://tailnet.home.test"
ENTRY = Entry(Settings("comms"), SERVER, DOMAIN)


def home(*guests: Guest, server: str | None = None) -> Fleet:
    return fleet(*guests).model_copy(update={"tailnet": Tailnet(domain=DOMAIN, server=server)})


COMMS = guest("comms", 135, "tailscale", "mosquitto")
OWN = guest("tailnet", 141, "tailscale", "headscale", "front", "subnet_router")


# ------------------------------------------------------------------ the fleet


def test_the_server_follows_from_the_fleet() -> None:
    assert server_url(home(COMMS), ROLES) == VENDOR
    assert server_url(home(COMMS, OWN), ROLES) == "https://tailnet.home.test"
    assert server_url(home(COMMS, OWN, server="https://vpn.example.org"), ROLES) == "https://vpn.example.org"
    assert (api_url(home(COMMS), ROLES), api_url(home(OWN), ROLES)) == (None, "https://192.168.1.141")


def test_without_the_section_there_is_no_tailnet() -> None:
    with pytest.raises(HearthError, match="section tailnet"):
        server_url(fleet(OWN), ROLES)
    assert tailnet_name(COMMS, fleet(COMMS)) is None


def test_certificates_hold_for_the_names_in_the_tailnet() -> None:
    names = certificate_for(COMMS, home(COMMS), ROLES)
    assert names is not None
    assert names.names == ("comms", "comms.home.test", f"comms.{DOMAIN}")
    outside = guest("comms", 135, "mosquitto")
    without = certificate_for(outside, home(outside), ROLES)
    assert without is not None
    assert f"comms.{DOMAIN}" not in without.names
    public = certificate_for(OWN, home(OWN, server="https://vpn.example.org:8443"), ROLES)
    assert public is not None
    assert "vpn.example.org" in public.names


def test_a_subnet_router_advertises_its_own_network() -> None:
    assert advertised(OWN, home(OWN)) == ("192.168.1.0/24",)
    assert advertised(COMMS, home(COMMS)) == ()
    network = home(OWN).networks[0].model_copy(update={"subnet6": "fd00::/64"})
    both = home(OWN).model_copy(update={"networks": (network,)})
    assert advertised(OWN, both) == ("192.168.1.0/24",), "it has no IPv6 address itself"
    assert advertised(dual("tailnet", 141, "subnet_router"), both) == ("192.168.1.0/24", "fd00::/64")


def test_the_kernel_carries_it_where_there_is_a_tun() -> None:
    assert not has_tun(guest("a", 1))
    assert has_tun(guest("a", 1, tun=True))
    assert has_tun(guest("a", 1, kind="vm"))


def test_a_guest_joins_after_the_server_and_the_front_before_it() -> None:
    order = in_order(ROLES)
    assert order.index("headscale") < order.index("front") < order.index("tailscale")


# ------------------------------------------------------------------ how it stands


def answers(**changes: Any) -> str:
    status = {
        "BackendState": "Running",
        "Self": {"DNSName": f"comms.{DOMAIN}.", "AllowedIPs": ["100.64.0.1/32", "192.168.1.0/24"]},
    }
    prefs = {
        "ControlURL": SERVER,
        "Hostname": "comms",
        "CorpDNS": False,
        "RouteAll": False,
        "AdvertiseRoutes": ["192.168.1.0/24"],
        "RunSSH": False,
        **changes,
    }
    return f"{json.dumps(status, indent=2)}\n{json.dumps(prefs, indent=2)}\n"


def test_both_answers_are_read() -> None:
    now = membership(answers())
    assert (now.backend, now.name, now.server, now.joined) == ("Running", f"comms.{DOMAIN}", SERVER, True)
    assert now.carries == ("100.64.0.1/32", "192.168.1.0/24")
    assert now.settings == Settings("comms", routes=("192.168.1.0/24",)).flags()


@pytest.mark.parametrize("text", ["", "{", '{"BackendState": "Running"}', "failed to connect to tailscaled"])
def test_no_answer_is_nothing(text: str) -> None:
    assert membership(text) == Membership()
    assert not membership(text).joined


def test_only_what_differs_is_set() -> None:
    now = membership(answers(RunSSH=True, AdvertiseRoutes=["fd00::/64", "192.168.1.0/24"]))
    wanted = Settings("comms", routes=("192.168.1.0/24", "fd00::/64"))
    assert differing(now, wanted) == {"ssh": "false"}
    assert differing(now, Settings("comms")) == {"ssh": "false", "advertise-routes": ""}
    assert differing(membership(answers()), Settings("x", True, True)) == {
        "hostname": "x",
        "accept-dns": "true",
        "accept-routes": "true",
        "advertise-routes": "",
    }


def stands(backend: str, name: str, server: str = SERVER, hostname: str = "comms") -> Membership:
    return Membership(backend, name, server=server, settings=Settings(hostname).flags())


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (stands("Running", f"comms.{DOMAIN}"), ""),
        (stands("Running", f"comms.{DOMAIN}", f"{SERVER}/"), ""),
        (stands("Stopped", ""), ""),
        (stands("Running", f"comms-1.{DOMAIN}"), "comms-1"),
        (stands("Running", "comms.other.ts.net"), "comms.other.ts.net"),
        (stands("Running", f"comms.{DOMAIN}", VENDOR), VENDOR),
        (stands("Running", f"other.{DOMAIN}", hostname="other"), ""),
    ],
    ids=["well", "a slash", "down", "doubled", "another domain", "another server", "a setting to be mended"],
)
def test_a_wrong_place_and_a_wrong_name_are_seen(now: Membership, words: str) -> None:
    found = wrong(now, ENTRY)
    assert bool(found) is bool(words)
    assert words in found


# ------------------------------------------------------------------ joining


@dataclass
class Server:
    """The coordination server, as far as joining asks it; notes what it was asked."""

    there: list[Device] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    became: str = "comms"

    def devices(self) -> list[Device]:
        return list(self.there)

    def delete(self, ident: str) -> None:
        self.asked.append(f"delete {ident}")
        self.there = [device for device in self.there if device.id != ident]

    def make_key(self, tags: tuple[str, ...], seconds: int, description: str) -> JoinKey:
        self.asked.append(f"key {','.join(tags)} {seconds}")
        return JoinKey("7", Secret("hskey-auth-very-secret"), datetime.now(UTC))

    def revoke_key(self, ident: str) -> None:
        self.asked.append(f"revoke {ident}")

    def came(self) -> None:
        self.there.append(Device("9", self.became, "comms", tags=("tag:hearth",), online=True))


class Machine:
    """A guest's connector and facts: what ran there, and what it was fed."""

    def __init__(self, server: Server, works: bool = True, then: Membership | None = None) -> None:
        self.server, self.works = server, works
        self.now, self.then = Membership("NeedsLogin"), then
        self.ran: list[tuple[str, dict[str, Any]]] = []
        self.name, self.connector, self.said = "comms", self, []

    def run_shell_command(self, line: str, **how: Any) -> tuple[bool, Any]:
        self.ran.append((line, how))
        if self.works:
            self.server.came()
            self.now = self.then or Membership("Running", f"comms.{DOMAIN}", server=SERVER)
        return self.works, SimpleNamespace(stdout="", stderr="backend error: invalid key")

    def get_fact(self, *_: Any) -> Membership:
        return self.now

    def log(self, line: str, *_: Any) -> None:
        self.said.append(line)

    def log_styled(self, line: str, **_: Any) -> None:
        self.said.append(line)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(tailscale, "api_of_run", lambda: found)
    monkeypatch.setattr(runs, "current", lambda: SimpleNamespace(interrupted=False, brought_back=set()))
    return found


def join(machine: Machine) -> bool:
    return tailscale._join(None, machine, ENTRY)


def test_the_key_goes_in_on_standard_input_and_nowhere_else(server: Server) -> None:
    machine = Machine(server)
    assert join(machine), machine.said
    ((line, how),) = machine.ran
    assert how["_stdin"] == "hskey-auth-very-secret"
    assert "very-secret" not in line
    assert "very-secret" not in " ".join(machine.said)
    for word in ("--auth-key=file:/dev/stdin", f"--login-server={SERVER}", "--hostname=comms", "--ssh=false"):
        assert word in line.split()
    assert server.asked == ["key tag:hearth 300"]


def test_what_the_guest_was_before_is_forgotten_before_a_key_is_made(server: Server) -> None:
    server.there = [
        Device("1", "comms", "comms", tags=("tag:hearth",)),
        Device("2", "data", "data", tags=("tag:hearth",)),
        Device("3", "comms-2", "comms", user="anna"),
    ]
    assert join(Machine(server))
    assert server.asked == ["delete 1", "key tag:hearth 300"]


def test_a_key_that_was_not_taken_is_revoked(server: Server) -> None:
    machine = Machine(server, works=False)
    assert not join(machine)
    assert server.asked == ["key tag:hearth 300", "revoke 7"]
    assert "invalid key" in " ".join(machine.said)


def test_another_name_is_a_failure(server: Server) -> None:
    machine = Machine(server, then=stands("Running", f"comms-1.{DOMAIN}"))
    assert not join(machine)
    assert f"comms-1.{DOMAIN}" in " ".join(machine.said)


def test_one_that_is_in_another_tailnet_is_left_there(server: Server) -> None:
    machine = Machine(server)
    machine.now = Membership("Running", "comms.work.ts.net", server=VENDOR)
    assert not join(machine)
    assert (machine.ran, server.asked) == ([], [])


def test_one_that_has_joined_meanwhile_is_not_joined_again(server: Server) -> None:
    machine = Machine(server)
    machine.now = Membership("Running", f"comms.{DOMAIN}", server=SERVER)
    assert join(machine)
    assert (machine.ran, server.asked) == ([], [])


class Restored(Machine):
    """A guest whose tailscaled has just got its old identity back, and is let in after some looks, or never.

    Its shell is this machine's; `tailscale` says what is in a file.
    """

    def __init__(self, server: Server, folder: Path, after: int) -> None:
        super().__init__(server)
        self.folder = folder
        (folder / "tailscale").write_text(
            f"#!/bin/sh\necho x >>{folder}/looks\n[ $(wc -l <{folder}/looks) -gt {after} ] && "
            'echo \'{"BackendState": "Running"}\' || echo \'{"BackendState": "NoState"}\'\n'
        )
        (folder / "tailscale").chmod(0o755)
        self.now = Membership("NoState")

    def run_shell_command(self, line: str, **how: Any) -> tuple[bool, Any]:
        self.ran.append((line, how))
        path = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        done = subprocess.run(["sh", "-c", line], env=path, check=False, timeout=30)
        if done.returncode == 0:
            self.now = Membership("Running", f"comms.{DOMAIN}", server=SERVER)
        return done.returncode == 0, SimpleNamespace(stdout="", stderr="")


def restoring(monkeypatch: pytest.MonkeyPatch) -> None:
    run = SimpleNamespace(interrupted=False, brought_back={("comms", "tailscale")})
    monkeypatch.setattr(runs, "current", lambda: run)


def test_a_restored_identity_is_waited_for_and_not_joined_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    restoring(monkeypatch)
    server.there = [Device("1", "comms", "comms", tags=("tag:hearth",))]
    machine = Restored(server, tmp_path, after=2)
    assert join(machine), machine.said
    assert server.asked == [], "its device is not forgotten, no key is made"


def test_a_restored_identity_that_is_not_accepted_is_a_failure_and_stays(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    restoring(monkeypatch)
    server.there = [Device("1", "comms", "comms", tags=("tag:hearth",))]
    machine = Restored(server, tmp_path, after=1000)
    assert not tailscale._join(None, machine, replace(ENTRY, within=2))
    assert "restored identity" in " ".join(machine.said)
    assert server.asked == []


def test_one_that_was_just_started_is_asked_again_before_it_is_joined_again(
    server: Server, tmp_path: Path
) -> None:
    """Its authority was changed: tailscaled starts anew, and does not know yet that it is in."""
    server.there = [Device("1", "comms", "comms", tags=("tag:hearth",), online=True)]
    machine = Restored(server, tmp_path, after=2)
    assert join(machine), machine.said
    assert server.asked == [], "its device is not forgotten, no key is made"


def test_a_node_that_was_just_started_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_tailnet.time, "sleep", lambda _: None)
    told = iter([Membership(), Membership(), Membership("Running")])
    assert node_tailnet._decided(lambda: next(told), 60).joined
    assert node_tailnet._decided(lambda: Membership("NeedsLogin"), 60).backend == "NeedsLogin"
    assert not node_tailnet._decided(Membership, 0).joined


# ------------------------------------------------------------------ the role


@pytest.mark.parametrize("source", ["vendor", {"url": "https://x.example/tailscale.tgz", "sha256": "a" * 64}])
def test_all_of_it_is_planned_on_a_guest_that_does_not_exist_and_nobody_is_asked(
    source: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun(home(OWN))
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data(tailscale_source=source)
        role.membership(Here(run, OWN, host, run.roles["tailscale"]))
        metas = [host.state.get_op_meta(key) for key in host.state.ops[host]]
        changes = [data.operation_meta.will_change for data in host.state.ops[host].values()]
    names = [next(iter(meta.names)) for meta in metas]
    assert names[-3:] == [
        "Join the tailnet",
        "Keep Tailscale's settings",
        "Carry the guest's network for the tailnet",
    ]
    assert all(changes)
    assert server.asked == []


def test_without_a_tun_it_has_no_right_of_roots() -> None:
    run = FakeRun(home(COMMS, guest("tunned", 136, "tailscale", tun=True)))
    plain = role.unit_file(run.here("comms", "tailscale"), None).text
    tunned = role.unit_file(run.here("tunned", "tailscale"), None).text
    assert "--tun=userspace-networking" in plain
    assert "CAP_" not in plain
    assert "CapabilityBoundingSet=\n" in plain
    assert "--tun=" not in tunned
    assert "DeviceAllow=/dev/net/tun rw" in tunned
    assert "CapabilityBoundingSet=CAP_NET_ADMIN\n" in tunned
    assert "User=tailscale\n" in plain and "User=tailscale\n" in tunned


def repository(folder: Path, key: str, url: str) -> tuple[str, str]:
    here = FakeRun(home(COMMS)).here("comms", "tailscale")
    values = {"keyring": folder / "key.gpg", "list": folder / "tailscale.list", "url": url, "sha256": key}
    return here.render("repository-holds.sh.j2", **values), here.render("repository.sh.j2", **values)


def test_the_vendors_key_is_taken_only_if_it_is_the_pinned_one(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    codename = subprocess.run(
        ["sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (served / f"{codename}.noarmor.gpg").write_bytes(b"the key")
    right = (
        subprocess.run(["sha256sum"], input=b"the key", capture_output=True, check=True).stdout[:64].decode()
    )
    for key, code in (("0" * 64, 1), (right, 0)):
        holds, command = repository(tmp_path, key, served.as_uri())
        assert subprocess.run(["sh", "-c", holds], capture_output=True, check=False).returncode != 0
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode != 0) is bool(code)
        assert (tmp_path / "key.gpg").exists() is not bool(code)
    assert subprocess.run(["sh", "-c", holds], capture_output=True, check=False).returncode == 0
    assert f"signed-by={tmp_path}/key.gpg" in (tmp_path / "tailscale.list").read_text()
