"""Users, roles, tokens and ACLs of the fake take effect as Proxmox's do."""

from __future__ import annotations

import pytest

from tests.api.fake.conftest import Call, client
from twin.pve import Pve, Server
from twin.pve.access import Access, Entry, Token, User
from twin.pve.furnish import DEBIAN_TEMPLATE
from twin.pve.roles import built_in_roles, privileges


def access() -> Access:
    found = Access(9)
    found.users["ann@pve"] = User(groups={"staff"}, tokens={"t": Token(), "full": Token(privsep=False)})
    found.groups["staff"] = None
    return found


def give(found: Access, path: str, ugid: str, role: str, *, spread: bool = True) -> None:
    kind = "token" if "!" in ugid else "user" if "@" in ugid else "group"
    found.acl[Entry(path, kind, ugid, role)] = spread


def test_a_deeper_entry_replaces_a_shallower_one() -> None:
    found = access()
    give(found, "/", "ann@pve", "PVEAdmin")
    give(found, "/vms/100", "ann@pve", "PVEAuditor")
    assert "VM.Allocate" in found.permissions("ann@pve", "/vms/101")
    assert "VM.Allocate" not in found.permissions("ann@pve", "/vms/100")
    assert "VM.Audit" in found.permissions("ann@pve", "/vms/100")


def test_an_entry_without_propagation_ends_at_its_path() -> None:
    found = access()
    give(found, "/vms", "ann@pve", "PVEAuditor", spread=False)
    assert found.permissions("ann@pve", "/vms") == dict.fromkeys(built_in_roles(9)["PVEAuditor"], False)
    assert found.permissions("ann@pve", "/vms/100") == {}


def test_a_users_own_entry_wins_over_the_groups_on_the_same_path() -> None:
    found = access()
    give(found, "/vms", "staff", "PVEVMAdmin")
    assert "VM.Allocate" in found.permissions("ann@pve", "/vms/100")
    give(found, "/vms", "ann@pve", "PVEAuditor")
    assert "VM.Allocate" not in found.permissions("ann@pve", "/vms/100")


def test_no_access_takes_everything() -> None:
    found = access()
    give(found, "/", "ann@pve", "Administrator")
    give(found, "/vms/100", "ann@pve", "NoAccess")
    assert found.permissions("ann@pve", "/vms/100") == {}


def test_a_pool_gives_its_members_and_never_trumps_no_access() -> None:
    found = access()
    give(found, "/pool/home", "ann@pve", "PVEVMAdmin")
    assert "VM.Allocate" in found.permissions("ann@pve", "/vms/100", ["home"])
    assert found.permissions("ann@pve", "/vms/100", []) == {}
    give(found, "/vms/100", "ann@pve", "NoAccess")
    assert found.permissions("ann@pve", "/vms/100", ["home"]) == {}


def test_a_separated_token_holds_what_both_it_and_its_user_hold() -> None:
    found = access()
    give(found, "/", "ann@pve", "PVEAuditor")
    assert found.permissions("ann@pve!t", "/vms/100") == {}
    give(found, "/", "ann@pve!t", "Administrator")
    assert set(found.permissions("ann@pve!t", "/vms/100")) == built_in_roles(9)["PVEAuditor"]
    assert found.permissions("ann@pve!full", "/vms/100") == found.permissions("ann@pve", "/vms/100")


def test_a_separated_token_of_root_holds_only_its_own() -> None:
    found = access()
    found.users["root@pam"].tokens["t"] = Token()
    assert found.permissions("root@pam!t", "/") == {}
    give(found, "/", "root@pam!t", "PVEAuditor")
    assert set(found.permissions("root@pam!t", "/")) == built_in_roles(9)["PVEAuditor"]
    assert set(found.permissions("root@pam", "/")) == privileges(9)


def test_a_grant_reaches_tokens_only_without_separation(pve: Pve) -> None:
    pve.add_token("ann@pve!apart")
    pve.add_token("ann@pve!same", privsep=False)
    pve.grant("ann@pve", "/vms", "VM.Audit")
    held = [pve.allowed(who, "/vms/100", "VM.Audit") for who in ("ann@pve", "ann@pve!same", "ann@pve!apart")]
    assert held == [True, True, False]


@pytest.mark.pve(version="8.4.21")
def test_roles_are_those_of_the_version(root: Call) -> None:
    roles = {item["roleid"]: item for item in root("GET", "/access/roles").json()["data"]}
    assert "VM.Monitor" in roles["PVEVMAdmin"]["privs"]
    assert "VM.GuestAgent" not in roles["PVEVMAdmin"]["privs"]


def test_what_is_written_takes_effect_at_once(root: Call, pve_server: Server) -> None:
    assert root("POST", "/access/users", userid="bob@pve").status_code == 200
    made = root("POST", "/access/users/bob@pve/token/t", privsep=0).json()["data"]
    bob = client(pve_server, f"{made['full-tokenid']}={made['value']}")
    assert bob("GET", "/nodes/pve/status").status_code == 403
    root("PUT", "/access/acl", path="/nodes", roles="PVEAuditor", users="bob@pve")
    assert bob("GET", "/nodes/pve/status").status_code == 200
    assert bob("GET", "/access/permissions").json()["data"]["/nodes"]["Sys.Audit"] == 1
    root("PUT", "/access/users/bob@pve", enable=0)
    assert (bob("GET", "/version").status_code, bob("GET", "/version").text) == (401, "")
    root("PUT", "/access/users/bob@pve", enable=1)
    root("DELETE", "/access/users/bob@pve/token/t")
    assert bob("GET", "/version").status_code == 401


def test_nobody_gives_what_they_do_not_hold(hearth: Call) -> None:
    answer = hearth("PUT", "/access/acl", path="/", roles="Administrator", users="hearth@pve")
    assert (answer.status_code, answer.reason) == (403, "Permission check failed (/, Permissions.Modify)")


ROOT_ONLY = [
    ({"dev0": "/dev/net/tun"}, "configuring device passthrough is only allowed for root@pam"),
    (
        {"features": "nesting=1,fuse=1"},
        "changing feature flags (except nesting) is only allowed for root@pam",
    ),
    ({"mp0": "/srv,mp=/srv"}, "mount point type bind is only allowed for root@pam"),
    ({"hookscript": "local:snippets/x.sh"}, "changing the hookscript is only allowed for root@pam"),
]


@pytest.mark.parametrize(("keys", "why"), ROOT_ONLY, ids=[next(iter(keys)) for keys, _ in ROOT_ONLY])
def test_no_token_sets_what_is_for_root(
    root: Call, hearth: Call, pve: Pve, keys: dict[str, str], why: str
) -> None:
    pve.add_ct(100, node="pve")
    for call in (root, hearth):
        answer = call("PUT", "/nodes/pve/lxc/100/config", **keys)
        assert (answer.status_code, answer.reason) == (403, f"Permission check failed ({why})")
        created = call(
            "POST", "/nodes/pve/lxc", vmid=101, ostemplate=DEBIAN_TEMPLATE, rootfs="local-lvm:1", **keys
        )
        assert created.status_code in (403, 500)
        assert pve.ct(101) is None


@pytest.mark.pve(version="8.4.21")
def test_no_feature_of_a_privileged_container_on_8(root: Call, pve: Pve) -> None:
    pve.add_ct(100, node="pve", config={"unprivileged": 0})
    answer = root("PUT", "/nodes/pve/lxc/100/config", features="nesting=1")
    assert answer.status_code == 403
    assert "privileged container is only allowed for root@pam" in answer.reason


def test_nesting_of_a_privileged_container_needs_sys_modify_on_9(hearth: Call, pve: Pve) -> None:
    pve.add_ct(100, node="pve", config={"unprivileged": 0})
    assert hearth("PUT", "/nodes/pve/lxc/100/config", features="nesting=1").status_code == 200
    pve.access.custom["Hearth"] -= {"Sys.Modify"}
    answer = hearth("PUT", "/nodes/pve/lxc/100/config", features="nesting=0")
    assert (answer.status_code, answer.reason) == (403, "Permission check failed (/, Sys.Modify)")


@pytest.mark.parametrize(
    "keys",
    [{"args": "-no-reboot"}, {"usb0": "host=1234:5678"}, {"hostpci0": "01:00.0"}, {"serial0": "/dev/ttyS0"}],
)
def test_no_token_gives_a_vm_a_real_device(root: Call, pve: Pve, keys: dict[str, str]) -> None:
    pve.add_vm(100, "v", node="pve")
    answer = root("PUT", "/nodes/pve/qemu/100/config", **keys)
    assert answer.status_code == 500
    assert "only root can set" in answer.reason


def test_hearths_own_role_is_enough_to_make_and_run_a_container(hearth: Call, pve: Pve) -> None:
    pve.pools["home"] = set()
    answer = hearth(
        "POST",
        "/nodes/pve/lxc",
        vmid=135,
        ostemplate=DEBIAN_TEMPLATE,
        rootfs="local-lvm:2",
        net0="name=eth0,bridge=vmbr0",
        unprivileged=1,
        features="nesting=1",
        startup="order=1",
        pool="home",
        start=1,
    )
    assert answer.status_code == 200, answer.reason
    assert pve.ct(135).status == "running"


VLAN = "/sdn/zones/localnetwork/vmbr0/20"


@pytest.mark.parametrize("kind", ["lxc", "qemu"])
def test_a_bridge_or_a_vlan_of_it_may_be_used_only_by_who_has_it(
    pve: Pve, pve_server: Server, kind: str
) -> None:
    """check_vnet_access in PVE/GuestHelpers.pm: with a VLAN that is asked for, without one the bridge."""
    token = pve.add_token("ann@pve!t", privsep=False)
    pve.give("/vms", "PVEVMAdmin", "ann@pve")
    pve.access.custom["Attach"] = frozenset({"SDN.Use"})
    pve.give(VLAN, "Attach", "ann@pve")
    pve.add_ct(100, node="pve") if kind == "lxc" else pve.add_vm(100, "v", node="pve")
    ann, config = client(pve_server, token), f"/nodes/pve/{kind}/100/config"
    card = "name=eth0,bridge=vmbr0" if kind == "lxc" else "virtio,bridge=vmbr0"
    plain = ann("PUT", config, net0=card)
    assert (plain.status_code, plain.reason) == (
        403,
        "Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)",
    )
    assert ann("PUT", config, net0=f"{card},tag=20").status_code == 200
    other = ann("PUT", config, net0=f"{card},tag=30")
    assert other.reason == "Permission check failed (/sdn/zones/localnetwork/vmbr0/30, SDN.Use)"
    seen = ann("GET", "/nodes/pve/network", type="any_bridge").json()["data"]
    assert [row["iface"] for row in seen] == ["vmbr0"]
    pve.access.forget_path(VLAN)
    pve.give("/sdn/zones/localnetwork/vmbr0", "Attach", "ann@pve", propagate=False)
    leaving = ann("PUT", config, net0=card)
    assert leaving.status_code == 403, "the VLAN that is left counts too"


@pytest.mark.parametrize("privilege", ["VM.Config.Network", "VM.Config.Cloudinit", "VM.Config.Options"])
def test_cloud_inits_settings_need_either_of_two_privileges(
    pve: Pve, pve_server: Server, privilege: str
) -> None:
    """check_vm_modify_config_perm in PVE/API2/Qemu.pm."""
    token = pve.add_token("ann@pve!t", privsep=False)
    pve.access.custom["Some"] = frozenset({privilege})
    pve.give("/vms", "Some", "ann@pve")
    pve.add_vm(100, "v", node="pve")
    answer = client(pve_server, token)(
        "PUT", "/nodes/pve/qemu/100/config", ciuser="root", ipconfig0="ip=dhcp"
    )
    assert answer.status_code == (403 if privilege == "VM.Config.Options" else 200)
