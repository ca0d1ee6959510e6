"""The table of flows: from the roles to who may reach what, in IPv4 and IPv6."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from firewall_kit import LAN, NODE, ROLES, a_home, answers, guest, row

from hearth.errors import HearthError
from hearth.firewall.flows import flows, management, pingers
from hearth.firewall.settings import Settings, log_level, read_settings
from hearth.fleet.loader import load_fleet
from hearth.fleet.model import Fleet
from hearth.role.catalogue import load_roles
from hearth.role.declaration import Need, Port, Role
from hearth.values import tuned

HOME = a_home()
SSH = {(each.name, 22) for each in HOME.guests}
LAN_PORTS = {
    ("hall", 3000), ("hall", 8883), ("hall", 1883),
    ("comms", 3000), ("comms", 8883), ("comms", 1883),
    ("spare", 8883), ("spare", 1883),
    ("one", 123),
}  # fmt: skip
BROKERS = {each for each in LAN_PORTS if each[1] in (8883, 1883)}
STORES = {("one", 5432), ("two", 5432)}
DOOR_TLS = {("hall", 3000), ("hall", 8883)}


def settings(fleet: Fleet = HOME, own: str = "192.0.2.9", **values: Any) -> Settings:
    named = {f"firewall_{name}": value for name, value in values.items() if name != "redirect"}
    if "redirect" in values:
        named["front_redirect"] = values["redirect"]
    return read_settings(named, fleet, [ip_address(own)])


@pytest.mark.parametrize(
    "at", [pytest.param("192.0.2.{}", id="IPv4"), pytest.param("2001:db8::{}", id="IPv6")]
)
class TestWhoReachesWhat:
    """Every kind of source, whole: what it reaches, and so what it does not."""

    def table(self, at: str) -> Any:
        found = settings(
            own=at.format(9),
            management=[at.format(10)],
            iot=[at.format(50), at.format(51)],
            outside=[at.format(41)],
        )
        return flows(HOME, ROLES, found)

    def test_the_lan(self, at: str) -> None:
        assert answers(self.table(at), at.format(77)) == LAN_PORTS

    def test_the_admin_and_the_machine_that_deploys(self, at: str) -> None:
        for last in (9, 10):
            assert answers(self.table(at), at.format(last)) == LAN_PORTS | SSH

    def test_iot_devices(self, at: str) -> None:
        for last in (50, 51):
            assert answers(self.table(at), at.format(last)) == BROKERS

    def test_outside(self, at: str) -> None:
        assert answers(self.table(at), at.format(41)) == DOOR_TLS

    def test_a_guest_that_needs_a_store(self, at: str) -> None:
        assert answers(self.table(at), at.format(35)) == LAN_PORTS | STORES

    def test_a_store_that_follows_the_other(self, at: str) -> None:
        assert answers(self.table(at), at.format(39)) == LAN_PORTS | STORES

    def test_a_guest_that_needs_nothing(self, at: str) -> None:
        assert answers(self.table(at), at.format(38)) == LAN_PORTS

    def test_the_door(self, at: str) -> None:
        assert answers(self.table(at), at.format(34)) == LAN_PORTS | {("comms", 23000)}

    def test_the_world(self, at: str) -> None:
        assert not answers(self.table(at), "198.51.100.7")
        assert not answers(self.table(at), "2001:db8:1::7")


def test_what_stays_on_the_host_is_in_no_flow() -> None:
    assert not {flow.port for flow in flows(HOME, ROLES, settings())} & {3001, 13000}


def test_udp_is_not_tcp() -> None:
    (time,) = [flow for flow in flows(HOME, ROLES, settings()) if flow.port == 123]
    assert (time.protocol, time.why) == ("udp", "clock.time")


def test_nobody_named_means_the_lan_but_never_devices_and_outside() -> None:
    found = management(HOME, settings(iot=["192.0.2.50"], outside=["192.0.2.41"]))
    assert ip_address("192.0.2.77") in found
    assert ip_address("192.0.2.50") not in found
    assert ip_address("192.0.2.41") not in found
    assert ip_address("198.51.100.1") not in found


def test_the_machine_that_deploys_is_never_forgotten() -> None:
    found = settings(own="192.0.2.50", iot=["192.0.2.48/28"], management=["192.0.2.10"])
    assert ip_address("192.0.2.50") in management(HOME, found)
    assert ip_address("192.0.2.51") not in management(HOME, found)


def test_a_smaller_network_wins_over_the_larger_around_it() -> None:
    inside = a_home(guest("garden", 55, "bus"), guest("camera", 56, appliance=True))
    table = flows(inside, ROLES, settings(inside, iot=["192.0.2.48/28"]))
    assert answers(table, "192.0.2.55") == LAN_PORTS | {("garden", 8883), ("garden", 1883)}
    assert {port for _, port in answers(table, "192.0.2.56")} == {8883, 1883}
    assert not [flow for flow in table if flow.guest == "camera"]


def test_without_a_door_outside_reaches_the_tls_ports_where_they_are() -> None:
    home = Fleet(nodes=(NODE,), networks=(LAN,), guests=HOME.guests[1:])
    table = flows(home, ROLES, settings(home, outside=["192.0.2.41"]))
    assert answers(table, "192.0.2.41") == {("comms", 3000), ("comms", 8883), ("spare", 8883)}
    assert not [flow for flow in table if flow.who == "door"]


def test_the_door_reaches_what_it_leads_to_where_the_lan_may_not() -> None:
    bus = Role(name="bus", provides=(Port("secure", 8883, tls=True, audience="fleet", door=True),))
    table = flows(HOME, {**ROLES, "bus": bus}, settings())
    assert ("comms", 8883, "door") in map(row, table)
    assert ("comms", 8883) in answers(table, "192.0.2.34")
    assert ("comms", 8883) not in answers(table, "192.0.2.77")
    assert not [
        flow for flow in flows(HOME, ROLES, settings()) if flow.why.startswith("bus") and flow.who == "door"
    ]


def test_port_80_only_where_it_is_redirected() -> None:
    assert not [flow for flow in flows(HOME, ROLES, settings()) if flow.port == 80]
    table = flows(HOME, ROLES, settings(redirect={"comms": "hub.web"}, iot=["192.0.2.50"]))
    assert [row(flow) for flow in table if flow.port == 80] == [("comms", 80, "lan")]


def test_a_subnet_router_is_outside_by_itself() -> None:
    home = a_home(guest("tailnet", 41, "subnet_router"))
    found = settings(home)
    assert answers(flows(home, ROLES, found), "192.0.2.41") == DOOR_TLS
    assert answers(flows(home, ROLES, found), "192.0.2.36") > LAN_PORTS


def test_a_store_that_serves_only_itself_is_open_to_nobody() -> None:
    home = Fleet(nodes=(NODE,), networks=(LAN,), guests=(guest("all", 36, "hub", "store", "bus", "front"),))
    assert not [flow for flow in flows(home, ROLES, settings(home)) if flow.port == 5432]


def test_a_needer_without_a_fixed_address_is_named() -> None:
    home = a_home(guest("guesser", 60, "asker", address="dhcp", address6="auto"))
    roles = {**ROLES, "asker": Role(name="asker", needs=(Need("store", "sql"),))}
    with pytest.raises(HearthError, match=r"store\.sql to guesser.*no fixed address"):
        flows(home, roles, settings(home))


def test_who_may_ping() -> None:
    found = pingers(HOME, settings(management=["198.51.100.4"], iot=["192.0.2.50"]))
    assert all(ip_address(each) in found for each in ("198.51.100.4", "192.0.2.77", "2001:db8::7"))
    assert not any(ip_address(each) in found for each in ("192.0.2.50", "198.51.100.5"))


def test_networks_and_guests_may_be_named() -> None:
    found = settings(management=["home"], outside=["two"], iot=["198.51.100.0/24"], lan=["203.0.113.0/24"])
    assert found.management == (LAN.subnet, LAN.subnet6)
    assert found.outside == (ip_network("192.0.2.39"), ip_network("2001:db8::39"))
    assert answers(flows(HOME, ROLES, found), "203.0.113.7") == LAN_PORTS


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("192.0.2.1", "not a list"),
        (["nobody"], "nobody"),
        (["192.0.2.1/24"], "192.0.2.1/24"),
        (["192.0.2"], "192.0.2"),
    ],
)
def test_a_value_that_means_nothing_is_named(value: Any, wrong: str) -> None:
    with pytest.raises(HearthError, match=f"firewall_iot.*{wrong}"):
        settings(iot=value)


def test_a_guest_without_a_fixed_address_cannot_be_outside() -> None:
    home = a_home(guest("roamer", 60, address="dhcp", address6=None))
    with pytest.raises(HearthError, match="roamer has no fixed address"):
        settings(home, outside=["roamer"])


def test_the_level_is_checked() -> None:
    assert log_level({"firewall_log_level": "info"}) == "info"
    with pytest.raises(HearthError, match="loud"):
        log_level({"firewall_log_level": "loud"})


def test_the_admin_opens_ports_besides_for_a_guest_or_a_role() -> None:
    opened = {"hall": ["21064/tcp from lan", "5353/udp from iot"], "bus": ["9001/tcp from management"]}
    plain = flows(HOME, ROLES, settings(iot=["192.0.2.50"], management=["192.0.2.10"]))
    table = flows(HOME, ROLES, settings(iot=["192.0.2.50"], management=["192.0.2.10"], open=opened))
    brokers = {(guest.name, 9001) for guest in HOME.guests if "bus" in guest.roles}
    assert len(brokers) > 1
    for source, more in {
        "192.0.2.77": {("hall", 21064)},
        "192.0.2.50": {("hall", 5353)},
        "192.0.2.10": {("hall", 21064), *brokers},
    }.items():
        assert answers(table, source) == answers(plain, source) | more


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (["80/tcp from lan"], "not a mapping"),
        ({"hall": "80"}, "'80' for hall"),
        ({"hall": ["80/tcp from fleet"]}, "from fleet"),
        ({"hall": ["0/tcp from lan"]}, "0/tcp"),
        ({"hall": ["65536/tcp from lan"]}, "65536/tcp"),
        ({"hall": ["80/sctp from lan"]}, "80/sctp"),
        ({"attic": ["80/tcp from lan"]}, "'attic' is no guest of the fleet and no role"),
    ],
)
def test_a_port_that_cannot_be_opened_is_named(value: Any, wrong: str) -> None:
    with pytest.raises(HearthError, match=f"firewall_open.*{wrong}"):
        flows(HOME, ROLES, settings(open=value))


def test_home_assistant_hears_what_announces_itself_in_the_lan_alone(project_folder: Any) -> None:
    roles = load_roles(project_folder / "roles")
    fleet = load_fleet(project_folder / "inventory" / "fleet.yaml", roles)
    values = {**tuned(project_folder, {}), "firewall_iot": ["192.168.1.50"]}
    table = flows(fleet, roles, read_settings(values, fleet))
    heard = {("home-assistant", 5353), ("home-assistant", 1900)}
    assert heard <= answers(table, "192.168.1.77")
    assert not heard & (answers(table, "192.168.1.50") | answers(table, "192.168.1.141"))


def test_the_default_fleet_has_a_table(project_folder: Any) -> None:
    roles = load_roles(project_folder / "roles")
    fleet = load_fleet(project_folder / "inventory" / "fleet.yaml", roles)
    values = {"firewall_iot": ["192.168.1.50"]}
    table = flows(fleet, roles, read_settings(values, fleet))
    tailnet = {("tailnet", 443), ("tailnet", 3478), *((guest.name, 41641) for guest in fleet.guests)}
    assert answers(table, "203.0.113.9") == tailnet
    door = {("home-assistant", port) for port in (8123, 3000, 5000, 8883, 2586)}
    journal = {("monitoring", 19532)}  # the tailnet guest's own, to whoever shows a guest's certificate
    assert answers(table, "192.168.1.141") == door | tailnet | journal
    assert {who for guest, port, who in map(row, table) if port == 5432} == {"fleet"}
    assert {port for guest, port, who in map(row, table) if who == "iot"} == {1883, 8883}


# ------------------------------------------------------------------------ who watches

WATCHED = {
    **ROLES,
    "monitoring": Role(name="monitoring"),
    "metrics": Role(name="metrics", provides=(Port("node", 9100, tls=True, audience="monitoring"),)),
}
WATCHER = guest("eye", 60, "monitoring", "metrics")


@pytest.mark.parametrize("at", ["192.0.2.{}", "2001:db8::{}"])
class TestTheGuestThatWatches:
    """It reaches what it watches: every TCP port but loopback's; nobody else reaches more than before."""

    def table(self, at: str) -> Any:
        home = a_home(WATCHER, guest("seen", 61, "metrics"))
        found = settings(home, own=at.format(9), management=[at.format(10)])
        return flows(home, WATCHED, found)

    def test_it_reaches_every_port(self, at: str) -> None:
        table = self.table(at)
        reached = answers(table, at.format(60))
        ssh = {(name, 22) for name in ("hall", "comms", "spare", "one", "two", "seen", "eye")}
        assert ssh | STORES | {("seen", 9100), ("eye", 9100)} <= reached
        assert reached >= LAN_PORTS
        assert not any(port in (3001, 13000) for _, port in reached), "loopback stays loopback"

    def test_what_is_for_it_alone_is_for_nobody_else(self, at: str) -> None:
        table = self.table(at)
        for last in (9, 10, 34, 35, 61, 77):
            assert not [port for _, port in answers(table, at.format(last)) if port == 9100], last

    def test_others_of_the_same_role_reach_each_other_no_more_than_before(self, at: str) -> None:
        table = self.table(at)
        assert ("one", 5432) not in answers(table, at.format(61))
        assert ("seen", 22) not in answers(table, at.format(61))


def test_without_a_watcher_nothing_is_open_for_it() -> None:
    home = a_home(guest("seen", 61, "metrics"))
    table = flows(home, WATCHED, settings(home))
    assert not [flow for flow in table if flow.who == "monitoring" or flow.port == 9100]


def test_a_watcher_without_a_fixed_address_is_refused() -> None:
    home = a_home(guest("eye", 60, "monitoring", address="dhcp", address6=None))
    with pytest.raises(HearthError, match="eye"):
        flows(home, WATCHED, settings(home))


# ------------------------------------------------------- a guest that needs management's port


def a_collector(*needs: Need) -> tuple[Fleet, dict[str, Role]]:
    """A role on guest `spare` that needs SSH of everybody."""
    roles = {**ROLES, "collector": Role(needs=needs or (Need("base", "ssh"),), name="collector")}
    guests = tuple(
        one.model_copy(update={"roles": (*one.roles, "collector")}) if one.name == "spare" else one
        for one in HOME.guests
    )
    return HOME.model_copy(update={"guests": guests}), roles


@pytest.mark.parametrize("at", ["192.0.2.{}", "2001:db8::{}"], ids=["IPv4", "IPv6"])
def test_a_guest_that_needs_ssh_reaches_it_and_no_other_guest_does(at: str) -> None:
    fleet, roles = a_collector()
    table = flows(fleet, roles, settings(fleet, management=[at.format(10)]))
    assert answers(table, at.format(38)) >= SSH
    for last in (34, 35, 36, 77):
        assert not SSH & answers(table, at.format(last)), last


def test_where_it_is_management_anyway_no_flow_is_added() -> None:
    fleet, roles = a_collector()
    assert flows(fleet, roles, settings(fleet)) == flows(HOME, ROLES, settings())
