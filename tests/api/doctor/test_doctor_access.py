"""The way in: API, token, privileges; each broken alone, and mended by the command that is printed."""

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest
from doctor_home import Patient

from hearth.fleet.model import Features, Fleet, Guest, Network, Node, Startup
from hearth.proxmox.privileges import needed

OnServer = Callable[[Callable[[], object]], object]


def lxc(**more: object) -> Guest:
    return Guest(
        **{"name": "a", "kind": "lxc", "node": "pve", "vmid": 100, "network": "lan", "image": "x", **more}
    )


def fleet(*guests: Guest) -> Fleet:
    node = Node(
        name="pve",
        address=IPv4Address("192.0.2.1"),
        endpoint="https://192.0.2.1:8006",
        storage="lvm",
        images="local",
    )
    return Fleet(nodes=(node,), networks=(Network(name="lan", bridge="vmbr0"),), guests=guests)


# ------------------------------------------------------------------ the way in


def test_name_that_is_not_known(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: str, *_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("hearth.doctor.reach.socket.getaddrinfo", unknown)
    patient.environ["PROXMOX_VE_ENDPOINT"] = "https://pve.example.org:8006"
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("api", "fail")
    assert "the name pve.example.org is not known" in finding.text


def test_nobody_listens(patient: Patient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        patient.environ["PROXMOX_VE_ENDPOINT"] = f"https://127.0.0.1:{taken.getsockname()[1]}"
        finding = patient.complaint()
    assert finding.check == "api"
    assert "nobody answers" in finding.text
    assert "pveproxy" in finding.remedy


def test_certificate_that_is_not_trusted(patient: Patient) -> None:
    del patient.environ["PROXMOX_VE_CA_BUNDLE"]
    finding = patient.complaint()
    assert finding.check == "api"
    assert "certificate" in finding.text
    assert "PROXMOX_VE_CA_BUNDLE" in finding.remedy


def test_certificate_of_another_name(patient: Patient) -> None:
    # The same address, so that somebody answers; no name of the certificate's.
    patient.environ["PROXMOX_VE_ENDPOINT"] = patient.environ["PROXMOX_VE_ENDPOINT"].replace(
        "127.0.0.1", "127.1"
    )
    finding = patient.complaint()
    assert finding.check == "api"
    assert "certificate" in finding.text


def test_insecure_is_obeyed(patient: Patient) -> None:
    del patient.environ["PROXMOX_VE_CA_BUNDLE"]
    patient.environ["PROXMOX_VE_INSECURE"] = "1"
    assert patient.complaints() == []


@pytest.fixture
def plain_http() -> Iterator[int]:
    """A server without TLS."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_a_server_without_tls(patient: Patient, plain_http: int) -> None:
    patient.environ["PROXMOX_VE_ENDPOINT"] = f"https://127.0.0.1:{plain_http}"
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("api", "fail")
    assert "wrong version number" in finding.text


def test_ca_file_that_is_not_there(patient: Patient) -> None:
    patient.environ["PROXMOX_VE_CA_BUNDLE"] = "/nonexistent"
    assert "/nonexistent" in patient.complaint().text


# ------------------------------------------------------------------- the token


def test_no_token(patient: Patient) -> None:
    del patient.environ["PROXMOX_VE_API_TOKEN"]
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("token", "fail")
    assert "hearth secrets set proxmox/token" in finding.remedy


def test_token_from_the_secrets(patient: Patient) -> None:
    store = patient.home.secrets
    store.put("proxmox/token", patient.environ.pop("PROXMOX_VE_API_TOKEN"))
    store.save()
    assert patient.complaints() == []


def test_token_of_another_form(patient: Patient) -> None:
    patient.environ["PROXMOX_VE_API_TOKEN"] = "canary"
    finding = patient.complaint()
    assert finding.check == "token"
    assert "canary" not in finding.text + finding.remedy


@pytest.mark.parametrize("name", ["keeper@pve!doctor", "keeper@pve!other", "nobody@pve!x"])
def test_token_that_is_refused(patient: Patient, name: str) -> None:
    patient.environ["PROXMOX_VE_API_TOKEN"] = f"{name}=00000000-dead-beef-0000-000000000000"
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("token", "fail")
    assert name in finding.text
    assert "pveum user token add" in finding.remedy
    assert "dead-beef" not in finding.text + finding.remedy


# ------------------------------------------------------------------ privileges

SMALL = fleet(lxc(), Guest(name="b", kind="vm", node="pve", vmid=101, startup=Startup(order=1)))
EVERY = [(p.path, p.name) for p in needed(SMALL)]


@pytest.mark.parametrize(("path", "name"), EVERY)
def test_each_privilege_missed_is_named_and_the_command_mends_it(
    patient: Patient, on_server: OnServer, path: str, name: str
) -> None:
    path = path.replace("/storage/lvm", "/storage/local-lvm")
    access = patient.pve.access

    def take_away() -> None:
        (entry,) = [e for e in access.acl if (e.path, e.ugid) == (path, "keeper@pve!doctor")]
        access.custom[entry.role] = access.custom[entry.role] - {name}

    on_server(take_away)
    lacking = [finding for finding in patient.complaints() if finding.check == "token"]
    assert len(lacking) == 1
    assert lacking[0].status == "fail"
    assert f"lacks on {path}: {name} (" in lacking[0].text
    patient.type_on_node(lacking[0].remedy)
    assert patient.complaints() == []


def test_a_token_without_any_privilege_is_mended_by_what_is_printed(
    patient: Patient, on_server: OnServer
) -> None:
    on_server(patient.pve.access.acl.clear)
    lacking = [finding for finding in patient.complaints() if finding.check == "token"]
    assert {finding.status for finding in lacking} == {"fail"}
    assert len(lacking) == len({path for path, _ in EVERY})
    for finding in lacking:
        patient.type_on_node(finding.remedy)
    assert patient.complaints() == []


def test_privilege_of_the_user_alone_does_not_count(patient: Patient, on_server: OnServer) -> None:
    """A token with privilege separation has what both have."""
    access = patient.pve.access
    on_server(lambda: access.forget("token", "keeper@pve!doctor"))
    assert {finding.check for finding in patient.complaints()} >= {"token"}


def test_privilege_that_does_not_reach_below(patient: Patient, on_server: OnServer) -> None:
    access = patient.pve.access

    def narrow() -> None:
        for entry in [e for e in access.acl if e.path == "/vms"]:
            access.acl[entry] = False

    on_server(narrow)
    (finding,) = [finding for finding in patient.complaints() if finding.check == "token"]
    assert "/vms" in finding.text
    assert "--propagate 1" in finding.remedy


@pytest.mark.parametrize("role", ["Administrator", "PVEAdmin"])
def test_too_much_is_a_warning(patient: Patient, on_server: OnServer, role: str) -> None:
    for who in ("keeper@pve", "keeper@pve!doctor"):
        on_server(lambda who=who: patient.pve.give("/", role, who))  # type: ignore[misc]
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("token", "warn")
    assert "pveum acl" in finding.remedy
    if role == "Administrator":
        assert "Permissions.Modify" in finding.text


def test_roots_token_is_too_much(patient: Patient, root_token: str) -> None:
    patient.environ["PROXMOX_VE_API_TOKEN"] = root_token
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("token", "warn")
    assert "bootstrap.py" in finding.remedy


def test_least_for_containers_alone() -> None:
    names = {privilege.name for privilege in needed(fleet(lxc()))}
    assert not names & {
        "VM.Config.CDROM",
        "VM.Config.Cloudinit",
        "VM.Config.HWType",
        "Sys.Modify",
        "Pool.Allocate",
    }


@pytest.mark.parametrize(
    ("guest", "path", "name"),
    [
        (lxc(unprivileged=False), "/", "Sys.Modify"),
        (lxc(pool="home"), "/pool/home", "Pool.Allocate"),
        (lxc(storage="fast"), "/storage/fast", "Datastore.AllocateSpace"),
        (Guest(name="a", kind="vm", node="pve", vmid=100), "/vms", "VM.Config.HWType"),
        (Guest(name="a", kind="vm", node="pve", vmid=100, startup=Startup(order=1)), "/", "Sys.Modify"),
    ],
)
def test_more_only_where_the_fleet_needs_it(guest: Guest, path: str, name: str) -> None:
    assert (path, name) in {(p.path, p.name) for p in needed(fleet(guest))}
    assert (path, name) not in {(p.path, p.name) for p in needed(fleet(lxc(features=Features(nesting=True))))}


def test_a_vlan_is_given_alone() -> None:
    """Whoever may use one VLAN may not use the others, nor the bridge without one."""
    lan, iot = Network(name="lan", bridge="vmbr0"), Network(name="iot", bridge="vmbr1", vlan=20)
    two = fleet(lxc(), lxc(name="b", vmid=101, network="iot"))
    given = {p.path: p for p in needed(two.model_copy(update={"networks": (lan, iot)}))}
    assert "/sdn/zones/localnetwork/vmbr1" not in given
    assert not given["/sdn/zones/localnetwork/vmbr0"].below
    assert given["/sdn/zones/localnetwork/vmbr1/20"].name == "SDN.Use"


def test_a_storage_that_guests_are_made_on_is_seen_without_another_privilege() -> None:
    names = {(p.path, p.name) for p in needed(fleet(lxc()))}
    assert ("/storage/local", "Datastore.Audit") in names
    assert ("/storage/lvm", "Datastore.Audit") not in names
    assert ("/storage/local", "Datastore.Audit") not in {
        (p.path, p.name) for p in needed(fleet(lxc(storage="local")))
    }


def test_a_network_that_no_guest_is_on_and_images_that_no_guest_is_made_from_need_nothing() -> None:
    paths = {p.path for p in needed(fleet(lxc(network=None)))}
    assert not any(path.startswith("/sdn") for path in paths)
    adopted = {(p.path, p.name) for p in needed(fleet(lxc(image=None)))}
    assert not any(path == "/storage/local" for path, _ in adopted)
    assert ("/nodes/pve", "Sys.AccessNetwork") not in adopted
    assert ("/nodes/pve", "Sys.Audit") in adopted


def test_the_firewalls_privileges_are_needed_with_a_firewall_only() -> None:
    privileged = fleet(lxc(unprivileged=False))
    without = {(p.path, p.name) for p in needed(privileged)}
    with_it = {p: p.why for p in needed(privileged.model_copy(update={"firewall": True}))}
    more = {(p.path, p.name) for p in with_it} - without
    assert more == {("/", "Sys.Audit"), ("/nodes/pve", "Sys.Modify")}
    assert without - {(p.path, p.name) for p in with_it} == {("/nodes/pve", "Sys.AccessNetwork")}
    (modify,) = [p for p in with_it if (p.path, p.name) == ("/", "Sys.Modify")]
    assert "privileged container" in modify.why and "firewall" in modify.why
    assert not any(p.below for p in with_it if p.path != "/vms")


# ------------------------------------------------------------------ too much

EXTRA = [
    ("/", "Sys.Audit", False),
    ("/", "VM.Audit", True),  # needed on /vms, not for what is beside it
    ("/vms", "VM.Migrate", True),
    ("/vms/135", "VM.Console", False),
    ("/nodes/pve", "Sys.Modify", False),
    ("/storage/local-lvm", "Datastore.Audit", False),
    ("/storage/local", "Datastore.AllocateSpace", False),
    ("/storage/backups", "Datastore.AllocateSpace", False),
    ("/sdn/zones/localnetwork/vmbr9", "SDN.Use", False),
    ("/sdn/zones/localnetwork/vmbr0/20", "SDN.Use", False),
    ("/pool/other", "Pool.Audit", False),
    ("/access", "User.Modify", True),
]


@pytest.mark.parametrize(("path", "name", "spread"), EXTRA)
def test_whatever_is_held_beyond_the_need_is_named_with_its_path(
    patient: Patient, on_server: OnServer, path: str, name: str, spread: bool
) -> None:
    access = patient.pve.access

    def give() -> None:
        own = any((entry.path, entry.ugid) == (path, "keeper@pve!doctor") for entry in access.acl)
        above = {} if own else access.permissions("keeper@pve!doctor", path)
        access.custom["Extra"] = frozenset({name, *above})  # an entry replaces what comes from above
        for who in ("keeper@pve", "keeper@pve!doctor"):
            patient.pve.give(path, "Extra", who, spread or any(above.values()))

    on_server(give)
    finding = patient.complaint()
    assert (finding.check, finding.status) == ("token", "warn")
    assert f" on {path} " in finding.text
    assert name in finding.text
    assert finding.text.count(".") == 1, "nothing else is named"
    assert f"pveum acl delete {path} " in finding.remedy


def test_a_reach_that_is_not_needed_is_named(patient: Patient, on_server: OnServer) -> None:
    access = patient.pve.access

    def widen() -> None:
        for entry in [e for e in access.acl if e.path == "/nodes/pve"]:
            access.acl[entry] = True

    on_server(widen)
    finding = patient.complaint()
    assert finding.status == "warn"
    assert "Sys.Audit on all below it" in finding.text


def test_what_a_pools_role_shows_on_its_members_is_no_extra(patient: Patient, on_server: OnServer) -> None:
    patient.guest("comms")["pool"] = "home"
    on_server(lambda: patient.pve.pools.update(home={135}))
    lacking = patient.complaint()
    assert " on /pool/home" in lacking.text
    patient.type_on_node(lacking.remedy)
    assert patient.complaints() == []
