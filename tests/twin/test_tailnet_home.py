"""A tailnet of one's own, real: headscale, tailscaled in guests and on the node, a phone that is away."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.twin.annex_kit import LOUD
from tests.twin.away_kit import Phone
from tests.twin.handle import until
from tests.twin.tailnet_kit import CLOSED, DOMAIN, GUESTS, HEADSCALE, NODE, OPEN, POLICY, SERVER, Tailnet

pytestmark = pytest.mark.long
INSIDE = ["home-assistant", "quiet", "tailnet"]  # guests
MEMBERS = sorted([*INSIDE, NODE])
ROUTER = "192.168.1.141"
KEY = re.compile(rb"hskey-(auth|api)-[A-Za-z0-9_-]{12}-[A-Za-z0-9_-]{8,}")  # hscontrol/db of headscale
MINUTES = 600  # seconds
BACK = 60  # seconds


def test_the_plan_of_an_empty_home_is_whole(tailnet: Tailnet) -> None:
    tailnet.empty.went_well()
    assert tailnet.empty.writes == []
    for step in ("Run headscale", "Join the tailnet", "Carry the guest's network for the tailnet"):
        assert step in tailnet.empty.text
    assert "how it stands in the tailnet is not known, all of it is planned" in tailnet.empty.text


def test_every_guest_is_there_under_exactly_its_name(tailnet: Tailnet) -> None:
    assert tailnet.nodes() == [(name, True) for name in MEMBERS]
    for name in MEMBERS:
        assert tailnet.status(name)["Self"]["DNSName"] == f"{name}.{DOMAIN}."


def test_a_guest_that_stays_out_has_nothing_of_it(tailnet: Tailnet) -> None:
    assert tailnet.home.ends("outsider", "command -v tailscale || [ -e /var/lib/tailscale ]") != 0


def test_a_guest_without_a_tun_is_in_user_space(tailnet: Tailnet) -> None:
    assert tailnet.status("quiet")["TUN"] is False
    assert tailnet.home.ends("quiet", "ip link show tailscale0") != 0
    assert tailnet.status("home-assistant")["TUN"] is True


@pytest.mark.parametrize(
    ("one", "other"), [("home-assistant", "quiet"), ("quiet", "home-assistant"), ("quiet", NODE)]
)
def test_guests_reach_each_other_through_it(tailnet: Tailnet, one: str, other: str) -> None:
    assert tailnet.home.ends(one, f"tailscale ping --c 3 --until-direct=false {other}") == 0


def test_what_listens_on_a_guest_without_a_tun_is_reached(tailnet: Tailnet) -> None:
    address = tailnet.address("quiet")
    said = tailnet.home.said("home-assistant", f"exec 3<>/dev/tcp/{address}/{OPEN}; cat <&3")
    assert said, "it has answered"


def test_each_key_was_for_one_guest_and_minutes(tailnet: Tailnet) -> None:
    keys = tailnet.headscale("preauthkeys list")
    ours = [key for key in keys if key.get("acl_tags") == ["tag:hearth"]]
    assert len(ours) == len(MEMBERS)
    for key in ours:
        assert key["used"]
        assert not key.get("reusable")
        assert key["expiration"]["seconds"] - key["created_at"]["seconds"] <= MINUTES


def test_no_key_is_in_a_plan_a_log_or_a_list_of_processes(tailnet: Tailnet) -> None:
    watch, logs = tailnet.watch, tailnet.home.twin.twin.logs
    seen = [tailnet.empty.text.encode(), tailnet.first.text.encode()]
    seen += [path.read_bytes() for path in logs.glob("*")]
    seen += [*watch.texts("cmdline", True), *watch.texts("cmdline", False)]
    seen += [*watch.texts("environ", True), *watch.texts("environ", False), *watch.handed_down]
    assert b"--auth-key=file:/dev/stdin" in b"".join(watch.texts("cmdline", True)), "it was watched"
    for text in seen:
        assert KEY.search(text) is None


def test_no_key_stays_on_a_guest(tailnet: Tailnet) -> None:
    places = "/etc /root /home /run /tmp /usr/local /var/lib/tailscale /var/lib/headscale /var/log /var/tmp"
    pattern = "hskey-(auth|api)-[A-Za-z0-9_-]{12}-[A-Za-z0-9_-]{8}"
    for name in INSIDE:
        found = tailnet.home.said(name, f"grep -rlaE -D skip '{pattern}' {places} 2>/dev/null || :")
        assert found == ""
        assert tailnet.home.said(name, f"journalctl --no-pager | grep -cE '{pattern}' || :") == "0"
    own = tailnet.home.twin.twin
    kept = f"{own.dir}/node {own.private}/tailscale {own.logs}"
    assert tailnet.on_node(f"grep -rlaE -D skip '{pattern}' {kept} || :") == ""


def test_a_second_deploy_changes_nothing(tailnet: Tailnet) -> None:
    keys = tailnet.headscale("preauthkeys list")
    tailnet.home.deploy().silent()
    assert tailnet.headscale("preauthkeys list") == keys


def test_the_phone_reaches_a_guest_through_the_router_and_wears_its_address(
    tailnet: Tailnet, phone: Phone
) -> None:
    assert until(lambda: phone.reaches("192.168.1.134", OPEN), BACK).strip() == ROUTER


def test_the_phone_reaches_nothing_else(tailnet: Tailnet, phone: Phone) -> None:
    until(lambda: phone.reaches("192.168.1.134", OPEN), BACK)
    lan = [guest["address"] for guest in GUESTS.values()]
    found = [
        (address, port)
        for address in [*lan, *map(tailnet.address, MEMBERS), "192.168.1.185"]
        for port in (22, 443, OPEN, CLOSED)
        if phone.reaches(address, port, within=1) is not None
    ]
    assert found == [("192.168.1.134", OPEN)]


def test_the_phone_learns_every_guests_name(tailnet: Tailnet, phone: Phone) -> None:
    # Peers that the policy shows it: the router, since it carries what the phone may reach.
    peers = {peer["DNSName"] for peer in phone.status()["Peer"].values()}
    assert f"tailnet.{DOMAIN}." in peers


@pytest.mark.parametrize(
    ("drift", "look", "was"),
    [
        (
            "tailscale set --ssh --accept-routes",
            "tailscale debug prefs | grep -cE 'RunSSH.*true|RouteAll.*true' || :",
            "0",
        ),
        (
            "tailscale set --hostname=other",
            'tailscale debug prefs | grep -c \'"Hostname": "quiet"\' || :',
            "1",
        ),
        ("tailscale down", "tailscale status --json | grep BackendState", '"BackendState": "Running",'),
    ],
    ids=["settings", "name", "down"],
)
def test_what_somebody_changed_on_a_guest_is_mended(
    tailnet: Tailnet, drift: str, look: str, was: str
) -> None:
    tailnet.home.said("quiet", f"{drift} --accept-risk=all 2>/dev/null || {drift}")
    assert tailnet.home.said("quiet", look) != was
    tailnet.home.deploy("--limit", "quiet").went_well()
    assert until(lambda: tailnet.home.said("quiet", look) == was or None, BACK)
    assert until(lambda: ("quiet", True) in tailnet.nodes() or None, BACK)
    tailnet.home.deploy("--limit", "quiet").silent()


def test_the_node_reaches_its_server_by_name_and_trusts_it_alone(tailnet: Tailnet) -> None:
    name, address = SERVER
    assert tailnet.on_node("cat /etc/hosts").splitlines()[-1] == f"{address} {name} # hearth"
    settings = tailnet.on_node("cat /etc/systemd/system/tailscaled.service.d/hearth.conf")
    assert "Environment=SSL_CERT_FILE=/etc/hearth/tailnet-ca.pem" in settings
    assert tailnet.on_node("cat /etc/hearth/tailnet-ca.pem") == tailnet.home.secret("ca/cert").strip()
    line = tailnet.home.secret("ca/cert").strip().splitlines()[-2]
    assert tailnet.on_node(f"grep -rlF {line} /etc/ssl || :") == "", "nothing else there trusts it"


@pytest.mark.parametrize(
    ("drift", "look", "was"),
    [
        (
            "tailscale set --accept-routes --accept-dns",
            "tailscale debug prefs | grep -cE '(RouteAll|CorpDNS).*true' || :",
            "0",
        ),
        ("tailscale set --hostname=other", 'tailscale debug prefs | grep -c \'"Hostname": "pve"\' || :', "1"),
        ("tailscale down", "tailscale status --json | grep BackendState", '"BackendState": "Running",'),
        ("rm /etc/hearth/tailnet-ca.pem", "ls /etc/hearth", "tailnet-ca.pem"),
    ],
    ids=["settings", "name", "down", "authority"],
)
def test_what_somebody_changed_on_the_node_is_mended(
    tailnet: Tailnet, drift: str, look: str, was: str
) -> None:
    tailnet.on_node(drift)
    assert tailnet.on_node(look) != was
    tailnet.home.deploy("--limit", NODE).went_well()
    assert until(lambda: tailnet.on_node(look) == was or None, BACK)
    assert until(lambda: (NODE, True) in tailnet.nodes() or None, BACK)
    tailnet.home.deploy("--limit", NODE).silent()


def test_a_node_that_left_is_planned_to_join_and_joins_under_its_name(tailnet: Tailnet) -> None:
    tailnet.on_node("tailscale logout")
    keys, nodes = tailnet.headscale("preauthkeys list"), len(tailnet.headscale("nodes list"))
    planned = tailnet.home.dry("--limit", NODE, *LOUD)
    assert re.search(r"\+.*Join the tailnet", planned.text)
    assert tailnet.headscale("preauthkeys list") == keys
    assert len(tailnet.headscale("nodes list")) == nodes
    assert tailnet.status(NODE)["BackendState"] == "NeedsLogin"
    tailnet.home.deploy("--limit", NODE).went_well()
    assert tailnet.nodes() == [(name, True) for name in MEMBERS]


def test_a_node_that_asks_no_longer_is_named(tailnet: Tailnet, tmp_path: Path) -> None:
    other = tailnet.home.edited(tmp_path, lambda content: content["nodes"][NODE].update(tailnet=False))
    done = other.run("hearth", "tailnet", "status")
    assert done.code == 1
    assert f"{NODE}: wears our tag" in done.out
    assert "tailnet" not in other.dry("--limit", NODE).text


def test_a_guest_made_anew_keeps_the_one_name(tailnet: Tailnet) -> None:
    before = tailnet.headscale("nodes list")
    tailnet.home.twin.remove("lxc", 139)  # a dead disk, say
    tailnet.home.deploy("--limit", "quiet").went_well()
    assert tailnet.nodes() == [(name, True) for name in MEMBERS]
    old, new = (
        {row["id"] for row in rows if row["given_name"] == "quiet"}
        for rows in (before, tailnet.headscale("nodes list"))
    )
    assert old.isdisjoint(new), "it is another machine"
    assert tailnet.status("quiet")["Self"]["DNSName"] == f"quiet.{DOMAIN}."


def test_a_guest_that_restarts_is_back_and_not_joined_again(tailnet: Tailnet) -> None:
    keys = tailnet.headscale("preauthkeys list")
    tailnet.home.task("POST", "home-assistant", "/status/reboot", timeout=60)
    until(lambda: ("home-assistant", True) in tailnet.nodes() or None, BACK)
    tailnet.home.deploy("--limit", "home-assistant").went_well()
    assert tailnet.headscale("preauthkeys list") == keys


def test_a_dry_run_of_a_guest_that_left_sends_nothing(tailnet: Tailnet) -> None:
    tailnet.home.said("quiet", "tailscale logout")
    keys, nodes = tailnet.headscale("preauthkeys list"), len(tailnet.headscale("nodes list"))
    planned = tailnet.home.dry("--limit", "quiet", *LOUD)
    assert re.search(r"Join the tailnet.*\n", planned.text)
    assert tailnet.headscale("preauthkeys list") == keys
    assert len(tailnet.headscale("nodes list")) == nodes
    tailnet.home.deploy("--limit", "quiet").went_well()
    assert tailnet.nodes() == [(name, True) for name in MEMBERS]


def test_without_the_server_a_guest_does_not_join_and_the_run_says_why(tailnet: Tailnet) -> None:
    tailnet.home.said("quiet", "tailscale logout")
    tailnet.home.said("tailnet", "systemctl stop headscale")
    try:
        tailnet.home.deploy("--limit", "quiet").refused("cannot ", "quiet")
    finally:
        tailnet.home.said("tailnet", "systemctl start headscale")
    tailnet.home.deploy("--limit", "quiet").went_well()
    assert tailnet.nodes() == [(name, True) for name in MEMBERS]


def test_broken_settings_of_headscale_are_refused_in_its_own_words(tailnet: Tailnet, tmp_path: Path) -> None:
    look = "systemctl show -p MainPID headscale; sha256sum /etc/headscale/*"
    before = tailnet.home.said("tailnet", look)
    other = tailnet.home.edited(tmp_path, lambda content: content["tailnet"].update(domain="home.arpa"))
    other.deploy("--limit", "tailnet").refused("server_url cannot be part of base_domain", "kept as it was")
    assert tailnet.home.said("tailnet", look) == before
    assert tailnet.home.said("tailnet", "ls -d /var/lib/headscale.try.* 2>/dev/null || :") == ""
    tailnet.home.deploy("--limit", "tailnet").went_well()  # the certificate was made out for that domain


def test_a_dump_of_headscale_is_whole_and_comes_back(tailnet: Tailnet) -> None:
    program = "sh /usr/local/lib/hearth/headscale"
    tailnet.home.said(
        "tailnet", f"{program}/dump >/root/dump.tar && tar -tf /root/dump.tar ./db.sqlite ./noise_private.key"
    )
    nodes = [row["id"] for row in tailnet.headscale("nodes list")]
    tailnet.home.said("tailnet", f"{HEADSCALE} users create passing")
    tailnet.home.said("tailnet", f"{program}/restore </root/dump.tar")
    assert [row["id"] for row in tailnet.headscale("nodes list")] == nodes
    assert "passing" not in [row["name"] for row in tailnet.headscale("users list") or []]
    until(lambda: tailnet.nodes() == [(name, True) for name in MEMBERS] or None, BACK)


def test_the_tailnets_status_is_well(tailnet: Tailnet) -> None:
    said = tailnet.home.run("hearth", "tailnet", "status").went_well().out
    assert "all is well" in said
    assert "192.168.1.0/24" in said


def test_a_policy_that_was_changed_elsewhere_is_not_overwritten(tailnet: Tailnet) -> None:
    tailnet.home.run("hearth", "tailnet", "policy").went_well()
    elsewhere = {
        **POLICY,
        "acls": [*POLICY["acls"], {"action": "accept", "src": ["anna@"], "dst": ["anna@:*"]}],
    }
    place = "/root/policy.json"
    tailnet.home.said("tailnet", f"cat >{place} <<'END'\n{json.dumps(elsewhere)}\nEND")
    tailnet.home.said("tailnet", f"{HEADSCALE} policy set -f {place}")
    try:
        tailnet.policy({**POLICY, "acls": POLICY["acls"][:1]})
        tailnet.home.run("hearth", "tailnet", "policy", "--apply").refused("changed elsewhere")
        tailnet.home.deploy().silent()
        assert (
            json.loads(tailnet.home.said("tailnet", f"{HEADSCALE} policy get"))["acls"] == elsewhere["acls"]
        )
    finally:
        tailnet.policy(POLICY)
        tailnet.home.said("tailnet", f"cat >{place} <<'END'\n{json.dumps(POLICY)}\nEND")
        tailnet.home.said("tailnet", f"{HEADSCALE} policy set -f {place}; rm {place}")


def test_the_fleets_checks_hold(tailnet: Tailnet) -> None:
    tailnet.home.verify("-k", "tailscale or headscale").went_well()
