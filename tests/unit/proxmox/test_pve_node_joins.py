"""A node in the tailnet: planned truthfully, joined once by the real wrapper, and kept as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from node_kit import DOMAIN, KEY, SERVER, Node, made
from pyinfra.context import ctx_host

from hearth import run as runs
from hearth.deploy import node_tailnet
from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest, Network, Tailnet
from hearth.fleet.model import Node as FleetNode
from hearth.ops import tailscale
from hearth.pki import Authority
from hearth.role.catalogue import load_roles
from hearth.role.tailnet import VENDOR, member_names
from hearth.secrets import Secret, SecretStore
from hearth.tailnet import Device, JoinKey
from hearth.tailnet.on_node import OnNode
from hearth.tailnet_nodes import TailnetNodes

PROJECT = Path(__file__).parents[3]
STEPS = {"prepared": node_tailnet._prepare, "joined": node_tailnet._join, "settled": node_tailnet._settle}
LAN = Network(name="lan", bridge="vmbr0", subnet=IPv4Network("192.168.1.0/24"), domain="home.test")
OWN = Guest(
    name="tailnet",
    kind="lxc",
    node="pve",
    vmid=141,
    network="lan",
    address=IPv4Address("192.168.1.141"),
    roles=("base", "tailscale", "headscale", "front"),
)


def fleet(server: str | None = None, guests: tuple[Guest, ...] = (OWN,), **node: Any) -> Fleet:
    """A fleet whose one node asks for the tailnet."""
    kept = {"name": "pve", "storage": "s", "images": "i", "tailnet": True, **node}
    pve = FleetNode(address=IPv4Address("127.0.0.1"), endpoint="https://127.0.0.1:9", **kept)
    return Fleet(nodes=(pve,), networks=(LAN,), guests=guests, tailnet=Tailnet(domain=DOMAIN, server=server))


class Server:
    """The coordination server: it knows what it was told, and the node once that is in."""

    def __init__(self, node: Node) -> None:
        self.node, self.asked = node, list[str]()
        self.others: list[Device] = []

    def devices(self) -> list[Device]:
        name = self.node.text("name").partition(".")[0].strip()
        joined = self.node.text("backend").strip() == "Running"
        own = [Device("9", name, "pve", tags=("tag:hearth",), online=True)] if joined else []
        return [*self.others, *own]

    def delete(self, ident: str) -> None:
        self.asked.append(f"delete {ident}")
        self.others = [device for device in self.others if device.id != ident]

    def make_key(self, tags: Sequence[str], seconds: int, description: str) -> JoinKey:
        self.asked.append(f"key {','.join(tags)} {seconds} {description}")
        return JoinKey("7", Secret(KEY), datetime.now(UTC))

    def revoke_key(self, ident: str) -> None:
        self.asked.append(f"revoke {ident}")


class Home:
    """A run, its node and its server; `asked` is what the wrapper was asked for."""

    def __init__(self, node: Node, where: Fleet) -> None:
        self.node, self.server = node, Server(node)
        self.asked: list[list[str]] = []
        self.said: list[str] = []
        self.broken = ""
        self.interrupted = False
        self.fleet, self.roles = where, load_roles(PROJECT / "roles")
        self.values: dict[str, Any] = {"tailscale_key_minutes": 5, "tailscale_joins_within": 60}
        self.secrets = SecretStore(Path("/nonexistent/secrets.age"), Path("/nonexistent/age.key"), {})
        self.authority = Authority(self.secrets)
        self.tailnet_nodes = TailnetNodes(self)  # type: ignore[arg-type]
        self.tailnet_nodes.shell = lambda name: OnNode(name, self.run)  # type: ignore[method-assign]

    def run(self, argv: Sequence[str], stdin: str = "") -> tuple[int, str, str]:
        self.asked.append(list(argv))
        if self.broken:
            return 1, "", f"hearth-node: {self.broken}\n"
        return self.node(argv, stdin)

    @property
    def host(self) -> Any:
        noop, log = (lambda *_: None), (lambda line, *_: self.said.append(line))
        return SimpleNamespace(name="pve", noop=noop, log=log, log_styled=lambda line, **_: log(line))

    def planned(self) -> list[str]:
        """The steps that a run plans, or would do now."""
        with ctx_host.use(self.host):
            return [name for name in STEPS if list(getattr(node_tailnet, name)._inner())]

    def deploy(self) -> bool:
        """Every step that has something to do, one after the other; True where all went well."""
        with ctx_host.use(self.host):
            return all(
                step(None, self.host)
                for name, step in STEPS.items()
                if list(getattr(node_tailnet, name)._inner())
            )

    def again(self) -> Home:
        """Another run."""
        self.tailnet_nodes.changed("pve")
        self.asked.clear()
        return self


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home with a headscale of its own, and a node that is in no tailnet."""
    found = Home(made(tmp_path / "node"), fleet())
    monkeypatch.setattr(tailscale, "api_of_run", lambda: found.server)
    monkeypatch.setattr(runs, "current", lambda: found)
    yield found
    assert KEY not in str(found.asked) + str(found.said) + found.node.text("asked")


def test_all_is_planned_and_nothing_but_the_state_is_asked(home: Home) -> None:
    assert home.planned() == list(STEPS)
    assert home.asked == [["tailnet", "state", "tailnet.home.test"]], "once"
    assert (home.server.asked, home.node.asked()) == ([], [])


def test_it_joins_and_a_second_run_has_nothing_to_do(home: Home) -> None:
    assert home.deploy(), home.said
    assert home.server.asked == ["key tag:hearth 300 hearth pve"]
    assert home.node.text("fed") == KEY
    assert home.node.text("etc/hearth/tailnet-ca.pem") == home.authority.ca_pem
    assert home.node.text("etc/hosts").splitlines()[-1] == "192.168.1.141 tailnet.home.test # hearth"
    # The small tailscale keeps two settings of five: the others show as they are by default.
    assert home.again().planned() == []
    assert [words[1] for words in home.asked] == ["state"]


def test_what_the_node_was_before_is_forgotten_before_a_key_is_made(home: Home) -> None:
    home.server.others = [
        Device("1", "pve", "pve", tags=("tag:hearth",)),
        Device("2", "comms", "comms", tags=("tag:hearth",)),
    ]
    assert home.deploy(), home.said
    assert home.server.asked == ["delete 1", "key tag:hearth 300 hearth pve"]
    assert any("forgot the device pve" in line for line in home.said)


def test_where_the_wrapper_does_not_answer_the_plan_says_so_and_the_run_fails(home: Home) -> None:
    home.broken = "this key may do nothing about the tailnet: its line has no --tailnet"
    assert home.planned() == list(STEPS)
    (line,) = home.tailnet_nodes.lines("pve")
    assert "is not known, all of it is planned" in line and "bootstrap.py" in line
    assert not home.deploy()
    assert "its line has no --tailnet" in home.said[-1]
    assert home.server.asked == []


def test_an_answer_that_is_none_is_said() -> None:
    shell = OnNode("pve", lambda argv, stdin="": (0, "[]", ""))
    with pytest.raises(HearthError, match=r"it answered '\[\]'"):
        shell.state()


def test_a_key_that_was_not_taken_is_revoked(home: Home) -> None:
    (home.node.root / "broken").touch()
    assert not node_tailnet._join(None, home.host)
    assert home.server.asked == ["key tag:hearth 300 hearth pve", "revoke 7"]
    assert "it is broken" in home.said[-1]


@pytest.mark.parametrize(
    ("name", "server", "words"),
    [("pve-1.tail.home.arpa", SERVER, "pve-1"), ("pve.work.ts.net", VENDOR, VENDOR)],
    ids=["doubled", "another tailnet"],
)
def test_another_name_and_another_tailnet_are_said_and_left_alone(
    home: Home, name: str, server: str, words: str
) -> None:
    home.node.stands("Running", name, ControlURL=server, Hostname="pve")
    assert "joined" in home.planned()
    assert not node_tailnet._join(None, home.host)
    assert words in home.said[-1] and "docs/tailnet-guests.md" in home.said[-1]
    assert (home.server.asked, home.node.asked()) == ([], [])


@pytest.mark.parametrize(
    ("drift", "steps"),
    [
        ({"backend": "Stopped"}, ["settled"]),
        ({"RouteAll": True}, ["settled"]),
        ({"Hostname": "other"}, ["settled"]),
        ({"backend": "NeedsLogin"}, ["joined"]),
        ({"file": "etc/hearth/tailnet-ca.pem"}, ["prepared"]),
        ({"file": "etc/hosts"}, ["prepared"]),
    ],
    ids=["down", "a setting", "its name", "logged out", "the authority", "the server's name"],
)
def test_what_somebody_changed_is_planned_and_mended(
    home: Home, drift: dict[str, Any], steps: list[str]
) -> None:
    assert home.deploy(), home.said
    if file := drift.pop("file", ""):
        (home.node.root / file).write_text("127.0.0.1 localhost\n")
    else:
        prefs = {"ControlURL": SERVER, "Hostname": "pve", **drift}
        home.node.stands(prefs.pop("backend", "Running"), f"pve.{DOMAIN}", **prefs)
    assert home.again().planned() == steps
    assert home.deploy(), home.said
    assert home.again().planned() == []


def test_without_tailscale_there_everything_is_planned(home: Home) -> None:
    (home.node.root / "bin/tailscale").unlink()
    assert home.planned() == list(STEPS)


def test_the_vendors_server_needs_neither_authority_nor_address(home: Home) -> None:
    home.fleet = fleet(guests=())
    wanted = home.tailnet_nodes.wanted("pve")
    assert (wanted.entry.server, wanted.authority, wanted.host) == (VENDOR, "", None)


def test_a_public_name_of_the_own_server_is_left_to_the_name_servers(home: Home) -> None:
    home.fleet = fleet("https://vpn.example.org")
    wanted = home.tailnet_nodes.wanted("pve")
    assert (wanted.entry.server, wanted.host) == ("https://vpn.example.org", None)
    assert wanted.authority == home.authority.ca_pem


def test_names_there_are_in_small_letters(home: Home) -> None:
    home.fleet = fleet(name="PVE-1")
    assert home.tailnet_nodes.wanted("PVE-1").entry.name == f"pve-1.{DOMAIN}"
    assert member_names(home.fleet) == ("tailnet", "pve-1")
    assert member_names(fleet(tailnet=False)) == ("tailnet",)


@pytest.mark.parametrize("value", [0, "5", True, None])
def test_a_wrong_value_is_refused_in_words(home: Home, value: Any) -> None:
    home.values["tailscale_key_minutes"] = value
    with pytest.raises(HearthError, match="whole number of at least 1 into group_data/tailscale"):
        home.tailnet_nodes.wanted("pve")


def test_without_a_key_it_is_said_what_to_do(home: Home) -> None:
    said = TailnetNodes(home).standing("pve")  # type: ignore[arg-type]
    assert isinstance(said, HearthError) and "bootstrap.py" in said.remedy
