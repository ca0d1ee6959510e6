"""Sufficient and minimal: with what bootstrap.py gives, the whole life of guests works; without any part not.

The life: images fetched, containers and VMs made, changed in every way, moved to a pool, restarted and
destroyed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from bootstrap_kit import Site

from hearth.bootstrap import rights
from hearth.bootstrap.look import look
from hearth.doctor import ask
from hearth.doctor.rights import judge_rights
from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest, Network, Startup
from hearth.proxmox import images, observe
from hearth.proxmox.access import Access
from hearth.proxmox.api import Api
from hearth.proxmox.guests import converge
from hearth.proxmox.plan import Intent, plan_destroy, plan_guest
from hearth.proxmox.privileges import grants, needed
from hearth.proxmox.remove import destroy
from tests.api.proxmox.conftest import Home, api_for, container, fleet_of, machine
from tests.api.run.conftest import container as container_in_file
from tests.api.run.conftest import fleet_of as fleet_file
from tests.api.run.conftest import machine as machine_in_file
from twin.pve import Pve, Server

VERSIONS = [pytest.param(marks=pytest.mark.pve(version=v, images=False), id=v) for v in ("8.4.21", "9.2.11")]
# What a deploy does not fail without, and who needs it.
DOCTORS = {
    ("/nodes/pve", "Sys.Audit"): "the clock of the node: GET /nodes/pve/time",
}


def first() -> tuple[Guest, ...]:
    """One container and one VM, as they are made; and a privileged container."""
    data = ({"slot": "mp0", "path": "/srv", "size": 1024},)
    return (
        container(pool="home", mounts=data, tags=("mqtt",), description="one"),
        machine(startup=Startup(order=2), disks=({"slot": "scsi1", "size": 1024},), restart="allowed"),
        container(name="old", vmid=137, address="192.168.1.137", unprivileged=False, features={}),
    )


def second() -> tuple[Guest, ...]:
    """The same, with something of every kind changed."""
    grown = ({"slot": "mp0", "path": "/srv", "size": 2048}, {"slot": "mp1", "path": "/m", "size": 1024})
    more = ({"slot": "scsi1", "size": 2048}, {"slot": "scsi2", "size": 1024})
    return (
        container(pool="other", network="iot", mounts=grown, cores=2, memory=1024, disk=9216, onboot=False),
        machine(
            pool="home", network="iot", disks=more, cores=4, memory=4096, disk=17408, restart="allowed",
            startup=Startup(order=3), description="two",
        ),
    )  # fmt: skip


def whole() -> Fleet:
    """The fleet of both: what it needs is what is given."""
    fleet = fleet_of(*first(), container(name="more", vmid=138, pool="other", network="iot"))
    iot = Network(name="iot", bridge="vmbr1", vlan=20, subnet="192.168.1.0/24", gateway="192.168.1.1")
    return fleet.model_copy(update={"networks": (*fleet.networks, iot)})


@dataclass
class Given:
    """The fake after bootstrapping, and Hearth's own way in."""

    pve: Pve
    home: Home
    env: dict[str, str]
    on_server: Callable[[Callable[[], Any]], Any]

    def live(self) -> None:
        """The whole life of the fleet's guests, with new connections."""
        api = api_for(self.env)
        node, fleet = whole().nodes[0], whole()
        for image in images.missing(api, node, fleet.images):
            images.fetch(api, node, image)
        for guest in (*first(), *second()):
            converge(api, self.plan(api, guest), None)
        for guest in first():
            view = observe.observe(api, "pve")
            seen = view.find(guest.vmid)
            assert seen is not None
            config = observe.read_config(api, seen)
            destroy(api, plan_destroy(self.intent(guest, destroy=True), [view], config))

    def plan(self, api: Api, guest: Guest) -> Any:
        view = observe.observe(api, "pve", ours=[guest.vmid])
        seen = view.find(guest.vmid)
        config = observe.read_config(api, seen) if seen else None
        pools = observe.pools(api, [guest.pool]) if guest.pool else None
        return plan_guest(self.intent(guest), [view], config, pools)

    @staticmethod
    def intent(guest: Guest, **named: bool) -> Intent:
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKly5rO/DdfA6KOQ4MF6jiiy+BhpNMeUUN7DW6xcWwlc t@example"
        return Intent(guest, whole(), "pve", (key,), **named)

    def doctor(self) -> list[tuple[str, str]]:
        """What the doctor says of the token: status and text."""
        wanted = needed(whole())
        held, everywhere = ask.rights(api_for(self.env), wanted)
        return [(f.status, f.text) for f in judge_rights(wanted, held, everywhere, "hearth@pve", "deploy")]

    def take(self, path: str, name: str) -> None:
        """Take one privilege on one path away."""
        (role,) = {e.role for e in self.pve.access.acl if e.path == path and e.ugid == rights.TOKEN}
        custom = self.pve.access.custom
        self.on_server(lambda: custom.update({role: custom[role] - {name}}))


async def fetched(url: str) -> bytes:
    """What every URL gives."""
    return b"an image"


@pytest.fixture
def given(request: pytest.FixtureRequest, pve_server: Server, root_token: str) -> Given:
    """A fake without Hearth, bootstrapped by root for the whole fleet; images are not there yet.

    `@pytest.mark.firewall`: for a fleet whose firewall Hearth keeps.
    """
    firewall = request.node.get_closest_marker("firewall") is not None
    pve = pve_server.pve
    pve.bridges = {"vmbr0", "vmbr1"}
    pve.fetch = fetched
    user, _, rest = root_token.partition("!")
    name, _, value = rest.partition("=")
    root = Api(Access(pve_server.url, user, name, value, str(pve_server.ca_file)))

    def forget() -> None:
        pve.apitokens.pop(rights.TOKEN)
        pve.access.users.pop(rights.USER)
        pve.access.acl.clear()
        pve.access.custom.clear()

    pve_server.call(forget)
    token = ""
    for step in rights.plan(
        grants(needed(whole().model_copy(update={"firewall": firewall}))), {"home", "other"}, look(root, None)
    ):
        answer = getattr(root, step.method.lower())(step.path, **step.params)
        token = f"{answer['full-tokenid']}={answer['value']}" if step.brings_token else token
    env = {
        "PROXMOX_VE_ENDPOINT": pve_server.url,
        "PROXMOX_VE_API_TOKEN": token,
        "PROXMOX_VE_CA_BUNDLE": str(pve_server.ca_file),
    }
    return Given(pve, Home(pve, api_for(env)), env, pve_server.call)


@pytest.mark.parametrize((), VERSIONS)
def test_with_the_token_the_whole_life_of_guests_works(given: Given) -> None:
    assert [status for status, _ in given.doctor()] == ["ok"]
    given.live()
    assert (given.pve.cts, given.pve.vms) == ([], [])
    assert not [asked for asked in given.pve.log.requests if asked.status == 403]


EVERY = [(privilege.path, privilege.name) for privilege in needed(whole())]


@pytest.mark.pve(images=False)
@pytest.mark.parametrize(("path", "name"), EVERY, ids=[f"{path}-{name}" for path, name in EVERY])
def test_without_any_one_privilege_the_doctor_names_it_and_something_fails_clearly(
    given: Given, path: str, name: str
) -> None:
    given.take(path, name)
    (finding,) = given.doctor()
    assert finding[0] == "fail"
    assert f"lacks on {path}: {name} (" in finding[1]
    if (path, name) in DOCTORS:
        given.live()
        with pytest.raises(HearthError, match=f"Permission check failed.*{path}, {name}"):
            ask.clock(api_for(given.env), whole().nodes[0])
        return
    with pytest.raises(HearthError) as failure:
        given.live()
    told = str(failure.value)
    hidden = name == "VM.Audit"  # Proxmox does not refuse: it shows no guests
    assert hidden or "Permission check failed" in told, told
    assert hidden or "hearth doctor" in told, told


def test_a_deploy_as_it_is_typed_works_with_the_token_and_the_second_run_is_silent(site: Site) -> None:
    fleet = fleet_file(
        comms=container_in_file(pool="home", tags=["mqtt"]),
        database=machine_in_file(startup={"order": 2}, pool="home"),
    )
    site.declare(fleet)
    site.bootstrap().went_well()
    site.home.env.pop("PROXMOX_VE_API_TOKEN", None)  # the token comes from the secrets
    site.home.deploy().went_well()
    assert site.home.status(135) == site.home.status(136) == "running"
    assert site.home.deploy().went_well().writes == []
    users = {asked.user for asked in site.pve.log.requests if "/nodes/" in asked.path}
    assert users == {rights.TOKEN}


def test_a_deploy_without_a_privilege_says_what_to_do_and_bootstrap_mends_it(site: Site) -> None:
    site.declare(fleet_file(comms=container_in_file()))
    site.bootstrap().went_well()
    site.pve.access.custom["HearthVms"] -= {"VM.Config.Network"}
    site.home.deploy().refused("VM.Config.Network", "hearth doctor")
    said = site.hearth("doctor").out
    assert "lacks on /vms: VM.Config.Network (to set bridges and addresses)" in said
    assert "change role HearthVms: +VM.Config.Network" in site.bootstrap().went_well().out
    site.home.deploy().went_well()


# ------------------------------------------------------------------ the firewall's part


def keep_the_firewall(api: Api) -> None:
    """Every kind of call to the datacenter's, the node's and a guest's firewall, reading and writing."""
    for place in ("/cluster/firewall", "/nodes/pve/firewall", "/nodes/pve/lxc/135/firewall"):
        api.put(f"{place}/options", enable=0)
        assert api.get(f"{place}/options")
        api.post(f"{place}/rules", type="in", action="ACCEPT", enable=1)
        assert api.get(f"{place}/rules")
        api.delete(f"{place}/rules/0")
    for place in ("/cluster/firewall", "/nodes/pve/lxc/135/firewall"):
        api.post(f"{place}/ipset", name="management")
        api.post(f"{place}/ipset/management", cidr="192.168.1.0/24")
        assert api.get(f"{place}/ipset/management")
        api.delete(f"{place}/ipset/management/{quote('192.168.1.0/24', safe='')}")
        api.delete(f"{place}/ipset/management")
    api.post("/cluster/firewall/groups", group="hearth-mqtt")
    assert api.get("/cluster/firewall/groups/hearth-mqtt") == []
    api.delete("/cluster/firewall/groups/hearth-mqtt")


FIREWALL = [
    ("/", "Sys.Audit"),
    ("/", "Sys.Modify"),
    ("/nodes/pve", "Sys.Audit"),
    ("/nodes/pve", "Sys.Modify"),
    ("/vms", "VM.Audit"),
    ("/vms", "VM.Config.Network"),
]


@pytest.mark.firewall
@pytest.mark.parametrize((), VERSIONS)
def test_with_the_firewalls_privileges_every_call_to_it_works_and_guests_live_too(given: Given) -> None:
    api = api_for(given.env)
    given.live()
    converge(api, given.plan(api, container()), None)
    keep_the_firewall(api)
    assert not [asked for asked in given.pve.log.requests if asked.status == 403]


@pytest.mark.firewall
@pytest.mark.parametrize(("path", "name"), FIREWALL)
def test_without_any_of_the_firewalls_privileges_a_call_to_it_is_refused(
    given: Given, path: str, name: str
) -> None:
    api = api_for(given.env)
    converge(api, given.plan(api, container()), None)
    given.take(path, name)
    shown = path.replace("/vms", "/vms/135")
    with pytest.raises(HearthError, match=f"Permission check failed .{shown}, {name}"):
        keep_the_firewall(api)


# ------------------------------------------------------------------ the backups' part


@pytest.fixture
def backed(site: Site) -> Site:
    """A home with a backup job, bootstrapped; the token comes from the secrets."""
    fleet = fleet_file(comms=container_in_file())
    fleet["backup"] = {"storage": "local", "jobs": {"daily": {"schedule": "02:00", "keep": {"daily": 7}}}}
    site.declare(fleet)
    site.bootstrap().went_well()
    site.home.env.pop("PROXMOX_VE_API_TOKEN", None)
    return site


def test_with_the_tokens_rights_jobs_are_kept_and_a_guest_comes_from_its_backup(backed: Site) -> None:
    backed.home.deploy().went_well()
    assert set(backed.pve.backup_jobs) == {"hearth-daily"}
    backed.pve.add_archive(135, "2026_11_30-02_00_00", 1_796_000_000)
    backed.home.pyinfra("inventory", "teardown.py", "-y", "--data", "destroy=comms").went_well()
    done = backed.home.pyinfra("inventory", "restore.py", "-y").went_well()
    assert "comms from Proxmox's backup of" in done.text
    assert backed.home.status(135) == "running"
    said = backed.hearth("doctor").out
    assert "may do what the fleet needs, and nothing else" in said
    assert not [asked for asked in backed.pve.log.requests if asked.status == 403]


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("HearthRoot", "Sys.Audit"),
        ("HearthRoot", "Sys.Modify"),
        ("HearthStorage-local", "Datastore.Allocate"),
    ],
)
@pytest.mark.slow
def test_without_any_of_the_backups_privileges_it_is_refused_and_doctor_names_it(
    backed: Site, role: str, name: str
) -> None:
    backed.pve.access.custom[role] -= {name}
    backed.home.deploy().refused("Permission check failed", name)
    assert f"{name} (to " in backed.hearth("doctor").out
    assert backed.pve.backup_jobs == {}
