"""The fake's firewall where no recording tells: the dead-man switch, references, permissions, files.

Source: PVE/Firewall.pm and PVE/API2/Firewall/*.pm of pve-firewall 6.0.
"""

from __future__ import annotations

from typing import Any

import pytest
from fakepve.firewall import MACROS as KNOWN_MACROS

from tests.api.fake.conftest import Call, client
from twin.pve import Pve, Server
from twin.pve.macros import MACROS, MACROS6, macro_rules

CLUSTER = "/cluster/firewall"
GUEST = "/nodes/pve/lxc/100/firewall"
STALE = "0" * 40
ACCEPT = {"type": "in", "action": "ACCEPT"}


def data(call: Call, path: str) -> Any:
    answer = call("GET", path)
    assert answer.ok, answer.text
    return answer.json()["data"]


def done(call: Call, method: str, path: str, /, **params: Any) -> None:
    answer = call(method, path, **params)
    assert answer.ok, answer.text


def refused(call: Call, method: str, path: str, /, **params: Any) -> Any:
    """The errors of a refusal by field, or its reason."""
    answer = call(method, path, **params)
    assert not answer.ok
    return answer.json().get("errors") or f"{answer.status_code} {answer.reason}"


# ------------------------------------------------------------------- the dead man


def test_enable_above_one_is_the_time_and_reads_as_off_a_minute_later(root: Call, pve: Pve) -> None:
    done(root, "PUT", f"{CLUSTER}/options", enable=2)
    stored = data(root, f"{CLUSTER}/options")["enable"]
    assert abs(stored - pve.now()) < 30
    pve.clock_ahead = stored + 59 - pve.now()
    assert data(root, f"{CLUSTER}/options")["enable"] == stored, "still within the minute"
    pve.clock_ahead += 2
    assert data(root, f"{CLUSTER}/options")["enable"] == 0


def test_an_expired_enable_changes_the_digest_and_is_written_as_off(root: Call, pve: Pve) -> None:
    done(root, "PUT", f"{CLUSTER}/options", enable=7, policy_in="DROP")
    before = data(root, f"{CLUSTER}/options")["digest"]
    pve.clock_ahead = 100
    assert refused(root, "PUT", f"{CLUSTER}/options", digest=before, policy_in="ACCEPT").startswith(
        "500 detected"
    )
    done(root, "PUT", f"{CLUSTER}/options", policy_in="ACCEPT")
    pve.clock_ahead = 0
    assert data(root, f"{CLUSTER}/options")["enable"] == 0, "what was written stays off"


def test_a_second_two_starts_the_minute_again_and_one_ends_it(root: Call, pve: Pve) -> None:
    done(root, "PUT", f"{CLUSTER}/options", enable=2)
    pve.clock_ahead = 50
    done(root, "PUT", f"{CLUSTER}/options", enable=2)
    pve.clock_ahead = 100
    assert data(root, f"{CLUSTER}/options")["enable"] > 1
    done(root, "PUT", f"{CLUSTER}/options", enable=1)
    pve.clock_ahead = 10_000
    assert data(root, f"{CLUSTER}/options")["enable"] == 1


# ------------------------------------------------------------ what a file holds


def test_only_what_is_set_is_shown(root: Call) -> None:
    for path in (CLUSTER, "/nodes/pve/firewall", GUEST):
        assert set(data(root, f"{path}/options")) == {"digest"}
    done(root, "PUT", f"{GUEST}/options", enable=1)
    done(root, "PUT", f"{GUEST}/options", delete="enable")
    assert set(data(root, f"{GUEST}/options")) == {"digest"}


def test_names_of_groups_and_sets_come_back_in_lower_case(root: Call) -> None:
    done(root, "POST", f"{CLUSTER}/groups", group="WebSrv")
    done(root, "POST", f"{CLUSTER}/ipset", name="Admins")
    assert [row["group"] for row in data(root, f"{CLUSTER}/groups")] == ["websrv"]
    assert [row["name"] for row in data(root, f"{CLUSTER}/ipset")] == ["admins"]
    assert "no such security group" in refused(root, "POST", f"{CLUSTER}/groups/WebSrv", **ACCEPT)


def test_a_rule_that_names_a_group_keeps_nothing_of_a_match(root: Call) -> None:
    done(
        root,
        "POST",
        f"{GUEST}/rules",
        type="group",
        action="web",
        iface="net0",
        source="10.0.0.1",
        log="info",
    )
    assert set(data(root, f"{GUEST}/rules")[0]) == {"type", "action", "iface", "enable", "pos", "digest"}


def test_entries_of_a_set_are_sorted_and_single_addresses_lose_their_length(root: Call) -> None:
    done(root, "POST", f"{CLUSTER}/ipset", name="hosts")
    for cidr in ("10.9.0.1/32", "10.0.0.0/8", "fd00::1/128"):
        done(root, "POST", f"{CLUSTER}/ipset/hosts", cidr=cidr)
    done(root, "POST", f"{CLUSTER}/aliases", name="One", cidr="10.1.1.1/32")
    assert [row["cidr"] for row in data(root, f"{CLUSTER}/ipset/hosts")] == [
        "10.0.0.0/8",
        "10.9.0.1",
        "fd00::1",
    ]
    assert data(root, f"{CLUSTER}/aliases/one")["cidr"] == "10.1.1.1"


def test_an_entry_updated_without_nomatch_loses_it(root: Call) -> None:
    done(root, "POST", f"{CLUSTER}/ipset", name="hosts")
    done(root, "POST", f"{CLUSTER}/ipset/hosts", cidr="10.0.0.0/8", nomatch=1)
    done(root, "PUT", f"{CLUSTER}/ipset/hosts/10.0.0.0/8", nomatch=0, comment=" why ")
    assert data(root, f"{CLUSTER}/ipset/hosts/10.0.0.0/8").keys() == {"cidr", "comment", "digest"}
    assert data(root, f"{CLUSTER}/ipset/hosts/10.0.0.0/8")["comment"] == "why"


def test_a_clone_takes_the_firewall_along(root: Call, pve: Pve) -> None:
    pve.add_ct(100, "first", node="pve")
    done(root, "PUT", f"{GUEST}/options", enable=1)
    done(root, "POST", f"{GUEST}/rules", **ACCEPT)
    done(root, "POST", "/nodes/pve/lxc/100/clone", newid=101, full=1)
    for _ in range(200):
        if data(root, "/nodes/pve/lxc/101/firewall/rules"):
            break
    assert data(root, "/nodes/pve/lxc/101/firewall/options")["enable"] == 1
    done(root, "DELETE", "/nodes/pve/lxc/101/firewall/rules/0")
    assert len(data(root, f"{GUEST}/rules")) == 1, "the two have files of their own"


# ----------------------------------------------------------------- rules' places


def test_a_new_rule_is_first_and_moves_in_front_of_another(root: Call) -> None:
    for name in "abc":
        done(root, "POST", f"{CLUSTER}/rules", **ACCEPT, comment=name, pos=2)
    assert comments(root) == "cba"
    done(root, "PUT", f"{CLUSTER}/rules/0", moveto=3)
    assert comments(root) == "bac"
    done(root, "PUT", f"{CLUSTER}/rules/2", moveto=1)
    assert comments(root) == "bca"
    done(root, "PUT", f"{CLUSTER}/rules/0", moveto=2, comment="lost")
    assert comments(root) == "cba", "a move changes nothing else"


def test_a_stale_digest_is_refused_wherever_one_is_taken(root: Call) -> None:
    done(root, "POST", f"{CLUSTER}/rules", **ACCEPT)
    done(root, "POST", f"{CLUSTER}/aliases", name="lan", cidr="10.0.0.0/8")
    done(root, "POST", f"{CLUSTER}/ipset", name="hosts")
    done(root, "POST", f"{CLUSTER}/ipset/hosts", cidr="10.0.0.0/8")
    done(root, "POST", f"{CLUSTER}/groups", group="web")
    for path in ("rules/0", "aliases/lan", "ipset/hosts/10.0.0.0/8"):
        more = {"cidr": "10.0.0.0/9"} if path == "aliases/lan" else {}
        assert "detected modified" in refused(root, "PUT", f"{CLUSTER}/{path}", digest=STALE, **more)
        assert "detected modified" in refused(root, "DELETE", f"{CLUSTER}/{path}", digest=STALE)
    for path, name in (
        ("groups", {"group": "web", "rename": "web"}),
        ("ipset", {"name": "bb", "rename": "hosts"}),
    ):
        assert "detected modified" in refused(root, "POST", f"{CLUSTER}/{path}", digest=STALE, **name)
    for path in (CLUSTER, "/nodes/pve/firewall", GUEST):
        done(root, "PUT", f"{path}/options", enable=1)
        assert "detected modified" in refused(root, "PUT", f"{path}/options", enable=0, digest=STALE)


def test_the_right_digest_is_accepted_and_is_another_afterwards(root: Call) -> None:
    done(root, "POST", f"{CLUSTER}/rules", **ACCEPT)
    digest = data(root, f"{CLUSTER}/rules")[0]["digest"]
    done(root, "PUT", f"{CLUSTER}/rules/0", digest=digest, enable=1)
    assert data(root, f"{CLUSTER}/rules/0")["digest"] != digest


# --------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("groups", {"group": "a-name-of-19-letters"}, "group"),
        ("groups", {"group": "1st"}, "group"),
        ("groups", {"group": "x"}, "group"),
        ("ipset", {"name": "no space"}, "name"),
        ("aliases", {"name": "lan", "cidr": "10.0.0.0/33"}, "cidr"),
        ("aliases", {"name": "lan", "cidr": "nonsense"}, "cidr"),
        ("rules", {**ACCEPT, "source": "+nosuch"}, "source"),
        ("rules", {**ACCEPT, "source": "dc/nosuch"}, "source"),
        ("rules", {**ACCEPT, "dest": "10.0.0.1,fd00::1"}, "dest"),
        ("rules", {**ACCEPT, "macro": "nosuch"}, "macro"),
        ("rules", {**ACCEPT, "macro": "SSH", "proto": "tcp", "dport": "2222"}, "dport"),
        ("rules", {**ACCEPT, "macro": "SSH", "proto": "udp"}, "proto"),
        ("rules", {**ACCEPT, "proto": "tcp", "dport": "70000"}, "dport"),
        ("rules", {**ACCEPT, "proto": "tcp", "dport": "90:80"}, "dport"),
        ("rules", {**ACCEPT, "proto": "icmp", "dport": "80"}, None),
        ("rules", {**ACCEPT, "log": "loud"}, "log"),
        ("rules", {"type": "in", "action": "ALLOW"}, "action"),
        ("rules", {"type": "forward", "action": "REJECT"}, "action"),
        ("options", {"policy_in": "MAYBE"}, "policy_in"),
    ],
)
def test_what_proxmox_refuses_is_refused_by_field(
    root: Call, path: str, params: dict[str, str], field: str | None
) -> None:
    answer = root("PUT" if path == "options" else "POST", f"{CLUSTER}/{path}", **params)
    if field is None:
        assert answer.ok, "an icmp type may be a number"
        return
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {field}
    assert len(data(root, f"{CLUSTER}/{path}")) <= 1, "nothing was stored"


def test_what_would_widen_a_set_to_everything_is_refused(root: Call) -> None:
    done(root, "POST", f"{CLUSTER}/ipset", name="all")
    done(root, "POST", f"{CLUSTER}/aliases", name="world", cidr="0.0.0.0/0")
    assert "cidr" in refused(root, "POST", f"{CLUSTER}/ipset/all", cidr="0.0.0.0/0")
    assert "cidr" in refused(root, "POST", f"{CLUSTER}/ipset/all", cidr="dc/world")


def test_a_reference_that_goes_leaves_a_rule_with_an_error(root: Call) -> None:
    """Proxmox lets it go, and does not apply the rule."""
    done(root, "POST", f"{CLUSTER}/ipset", name="hosts")
    done(root, "POST", f"{CLUSTER}/aliases", name="lan", cidr="10.0.0.0/8")
    done(root, "POST", f"{CLUSTER}/ipset/hosts", cidr="dc/lan")
    done(root, "POST", f"{GUEST}/rules", **ACCEPT, source="+dc/hosts", enable=1)
    assert "errors" not in data(root, f"{GUEST}/rules")[0]
    done(root, "DELETE", f"{CLUSTER}/aliases/lan")
    assert "cidr" in data(root, f"{CLUSTER}/ipset/hosts")[0]["errors"]
    done(root, "DELETE", f"{CLUSTER}/ipset/hosts", force=1)
    assert data(root, f"{GUEST}/rules")[0]["errors"] == {"source": "no such ipset 'hosts'"}
    assert "source" in data(root, f"{GUEST}/rules/0")["errors"]


def test_a_guests_own_set_serves_its_own_rules_only(root: Call) -> None:
    done(root, "POST", f"{GUEST}/ipset", name="mine")
    done(root, "POST", f"{GUEST}/rules", **ACCEPT, source="+guest/mine")
    assert refused(root, "POST", "/nodes/pve/lxc/101/firewall/rules", **ACCEPT, source="+mine") == {
        "source": "no such ipset 'mine'"
    }


def test_every_macro_is_known_with_what_it_stands_for() -> None:
    assert {*MACROS, *MACROS6} == {*KNOWN_MACROS}
    assert macro_rules("DNS", None) == [{"proto": "udp", "dport": "53"}, {"proto": "tcp", "dport": "53"}]
    assert macro_rules("Ping", 6) == [{"proto": "icmpv6", "dport": "echo-request"}]
    assert macro_rules("GRE", 4) == [{"proto": "47"}]
    assert macro_rules("DHCPv6", 4) == []


# ------------------------------------------------------------------- permissions


@pytest.mark.parametrize(
    ("privilege", "where", "opens"),
    [
        ("Sys.Audit", "/", ("GET", CLUSTER)),
        ("Sys.Modify", "/", ("CHANGE", CLUSTER)),
        ("Sys.Audit", "/nodes/pve", ("GET", "/nodes/pve/firewall")),
        ("Sys.Modify", "/nodes/pve", ("CHANGE", "/nodes/pve/firewall")),
        ("VM.Audit", "/vms/100", ("GET", GUEST)),
        ("VM.Config.Network", "/vms/100", ("CHANGE", GUEST)),
    ],
)
def test_each_call_needs_its_own_privilege(
    pve_server: Server, root: Call, privilege: str, where: str, opens: tuple[str, str]
) -> None:
    done(root, "POST", "/access/users", userid="guard@pve")
    done(root, "POST", "/access/roles", roleid="Guard", privs=privilege)
    done(root, "PUT", "/access/acl", path=where, roles="Guard", users="guard@pve", propagate=0)
    token = root("POST", "/access/users/guard@pve/token/t", privsep=0).json()["data"]
    guard = client(pve_server, f"{token['full-tokenid']}={token['value']}")
    for path in (CLUSTER, "/nodes/pve/firewall", GUEST):
        assert guard("GET", f"{path}/rules").ok is (opens == ("GET", path))
        assert guard("GET", f"{path}/options").ok is (opens == ("GET", path))
        assert guard("POST", f"{path}/rules", **ACCEPT).ok is (opens == ("CHANGE", path))
        assert guard("PUT", f"{path}/options", enable=1).ok is (opens == ("CHANGE", path))
    assert guard("GET", f"{CLUSTER}/macros").ok, "macros are for everybody"


def comments(root: Call) -> str:
    return "".join(rule["comment"] for rule in data(root, f"{CLUSTER}/rules"))
