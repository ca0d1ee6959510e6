"""Where a secret stands while it is being rotated: phases, what is accepted meanwhile, and every kill."""

import itertools
from collections.abc import Iterator

import pytest
from secret_place import Place

from hearth.deploy.rotation import advance, finish, kept
from hearth.errors import HearthError
from hearth.rotation import ALL, Known, Makers, begun, choose, way_of
from hearth.secrets import Secret, SecretStore, mqtt_logins, mqtt_user
from hearth.secrets.rotation import PHASES, Rotation, accepted_beside, decode, encode, entry_of, moved
from hearth.secrets.staged import StagedSecrets

SERVICES = frozenset({"zigbee2mqtt-comms", "mosquitto-second"})
NAMES = (
    "ca/key",
    "home-assistant/backup",
    "home-assistant/token/hearth",
    "mcp-hub/token/tablet",
    "mcp-hub/token/x",
    "mqtt-salt/zigbee2mqtt-comms",
    "mqtt/garden-sensor",
    "mqtt/hearth-verify",
    "mqtt/zigbee2mqtt-comms",
    "postgresql/home-assistant",
    "proxmox/token",
    "restic/password",
    "ssh/deploy",
    "tls/comms/cert",
    "tls/comms/key",
    "zigbee2mqtt/network-key",
)
KNOWN = Known(
    NAMES,
    SERVICES,
    by_hand=frozenset({"mqtt/garden-sensor", "mcp-hub/token/tablet"}),
    elsewhere=frozenset({"proxmox/token"}),
)


def makers() -> Makers:
    numbers: Iterator[int] = itertools.count()
    return Makers(lambda: f"new-{next(numbers)}", lambda guest: (f"cert of {guest}", f"key of {guest}"))


def begin(store: SecretStore, *names: str) -> None:
    make = makers()
    for name in names:
        store.put(entry_of(name), encode(begun(name, KNOWN, store.find, make)))
    store.save()


# ------------------------------------------------------------------- the choice


def test_all_is_what_a_run_can_switch_by_itself() -> None:
    assert choose([ALL], KNOWN) == (
        "home-assistant/token/hearth",
        "mcp-hub/token/x",
        "mqtt/hearth-verify",
        "mqtt/zigbee2mqtt-comms",
        "postgresql/home-assistant",
        "restic/password",
        "tls/comms/cert",
    )


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["mqtt/garden-sensor"], ("mqtt/garden-sensor",)),
        (["mqtt/*"], ("mqtt/garden-sensor", "mqtt/hearth-verify", "mqtt/zigbee2mqtt-comms")),
        (["tls/*"], ("tls/comms/cert",)),
        (["*/token*", "mqtt/hearth-*"], ("home-assistant/token/hearth", *NAMES[3:5], "mqtt/hearth-verify")),
        ([], ()),
    ],
)
def test_names_and_patterns(wanted: list[str], chosen: tuple[str, ...]) -> None:
    assert choose(wanted, KNOWN) == chosen


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mqtt/nobody", "no such secret"),
        ("nothing/*", "no such secret"),
        ("mqtt-salt/zigbee2mqtt-comms", "no such secret"),
        ("ssh/deploy", "no run can switch"),
        ("ca/key", "no run can switch"),
        ("zigbee2mqtt/network-key", "no run can switch"),
        ("home-assistant/backup", "no run can switch"),
        ("proxmox/token", "root"),
    ],
)
def test_what_cannot_be_rotated_is_refused_by_name(name: str, words: str) -> None:
    with pytest.raises(HearthError, match=words):
        choose([name], KNOWN)


def test_services_are_doubled_and_devices_replaced() -> None:
    assert way_of("mqtt/zigbee2mqtt-comms", SERVICES) == "doubled"
    assert way_of("mqtt/garden-sensor", SERVICES) == "replaced"


def test_new_values_are_made_for_each_kind() -> None:
    find = {"mqtt-login/mosquitto-second": Secret("mosquitto-second.b")}.get
    made = {name: dict(begun(name, KNOWN, find, makers()).other) for name in NAMES}
    assert made["home-assistant/token/hearth"] == {"home-assistant/token/hearth": None}
    assert made["mqtt/garden-sensor"] == {"mqtt/garden-sensor": Secret("new-0")}
    assert made["mqtt/zigbee2mqtt-comms"]["mqtt-login/zigbee2mqtt-comms"] == Secret("zigbee2mqtt-comms.b")
    assert made["tls/comms/cert"] == {
        "tls/comms/cert": Secret("cert of comms"),
        "tls/comms/key": Secret("key of comms"),
    }
    back = begun("mqtt/mosquitto-second", KNOWN, find, makers())
    assert back.other["mqtt-login/mosquitto-second"] is None


# ------------------------------------------------------------------- the phases


def test_a_value_moves_from_next_to_current_to_previous() -> None:
    current: dict[str, Secret] = {"a": Secret("old")}
    rotation = Rotation("a", "offered", {"a": Secret("new"), "b": None})
    rotation, values = moved(rotation, "switched", current.get)
    assert values == {"a": Secret("new"), "b": None}
    assert rotation == Rotation("a", "switched", {"a": Secret("old"), "b": None})
    rotation, values = moved(rotation, "withdrawn", {"a": Secret("new")}.get)
    assert (rotation.phase, values) == ("withdrawn", {})
    for phase in PHASES:
        assert moved(rotation, phase, current.get) == (rotation, {}), "it never goes back"


def test_from_offered_to_withdrawn_at_once() -> None:
    rotation = Rotation("a", "offered", {"a": Secret("new")})
    after, values = moved(rotation, "withdrawn", {"a": Secret("old")}.get)
    assert after == Rotation("a", "withdrawn", {"a": Secret("old")})
    assert values == {"a": Secret("new")}


@pytest.mark.parametrize(
    "text", ["", "canary", "[]", '{"phase": "canary", "other": {}}', '{"phase": "offered"}']
)
def test_what_is_damaged_is_told_without_showing_it(text: str) -> None:
    with pytest.raises(HearthError) as caught:
        decode("a", Secret(text))
    assert "canary" not in str(caught.value)


def test_nothing_shows_a_value() -> None:
    assert "canary" not in repr(Rotation("a", "offered", {"a": Secret("canary")}))


# ------------------------------------------------------------------ in the store


@pytest.fixture
def store(place: Place) -> SecretStore:
    store = place.open()
    store.put("mqtt/zigbee2mqtt-comms", "old")
    store.put("mqtt/garden-sensor", "old-garden")
    store.put("postgresql/home-assistant", "old-database")
    mqtt_user(store, "zigbee2mqtt-comms")
    mqtt_user(store, "garden-sensor")
    store.save()
    return store


def logins(store: SecretStore, user: str) -> list[tuple[str, str]]:
    return [(login.name, login.password.reveal()) for login in mqtt_logins(store, user)]


OLD, NEW = ("zigbee2mqtt-comms", "old"), ("zigbee2mqtt-comms.b", "new-0")


def test_the_broker_accepts_both_logins_until_the_old_one_is_withdrawn(store: SecretStore) -> None:
    user = "zigbee2mqtt-comms"
    assert logins(store, user) == [OLD]
    begin(store, f"mqtt/{user}")
    assert logins(store, user) == [OLD, NEW]
    advance(store, "switched")
    assert logins(store, user) == [NEW, OLD]
    advance(store, "withdrawn")
    assert logins(store, user) == [NEW]
    finish(store)
    assert logins(store, user) == [NEW]
    begin(store, f"mqtt/{user}")
    advance(store, "withdrawn")
    finish(store)
    assert logins(store, user) == [("zigbee2mqtt-comms", "new-0")], "the names take turns"
    assert not [name for name in store.names() if name.startswith("rotating/")]


def test_a_devices_password_is_replaced_at_once(store: SecretStore) -> None:
    begin(store, "mqtt/garden-sensor")
    assert logins(store, "garden-sensor") == [("garden-sensor", "old-garden")]
    advance(store, "switched")
    assert logins(store, "garden-sensor") == [("garden-sensor", "new-0")]


def test_each_phase_can_be_planned_before_it_begins(store: SecretStore, place: Place) -> None:
    begin(store, "mqtt/zigbee2mqtt-comms", "postgresql/home-assistant")
    before = place.file.read_bytes()
    views = {phase: StagedSecrets(store, phase) for phase in PHASES}
    seen = {phase: logins(view, "zigbee2mqtt-comms") for phase, view in views.items()}
    assert seen == {"offered": [OLD, NEW], "switched": [NEW, OLD], "withdrawn": [NEW]}
    assert views["offered"].get("postgresql/home-assistant").reveal() == "old-database"
    assert views["switched"].get("postgresql/home-assistant").reveal() == "new-1"
    assert place.file.read_bytes() == before
    advance(store, "switched")
    assert {phase: logins(view, "zigbee2mqtt-comms") for phase, view in views.items()} == {
        **seen,
        "offered": [NEW, OLD],
    }, "what is past is not gone back to"


def test_what_a_view_generates_is_kept_by_the_store(store: SecretStore, place: Place) -> None:
    begin(store, "mqtt/zigbee2mqtt-comms")
    view = StagedSecrets(store, "switched")
    view.ensure("fresh", lambda: "made")
    assert store.get("fresh").reveal() == "made"
    view.save()
    there = place.open()
    assert there.get("fresh").reveal() == "made"
    assert there.get("mqtt/zigbee2mqtt-comms").reveal() == "old", "planning switches nothing"


@pytest.mark.parametrize("killed_after", ["begin", *PHASES[1:]])
def test_another_process_goes_on_where_one_was_killed(
    store: SecretStore, place: Place, killed_after: str
) -> None:
    begin(store, "mqtt/zigbee2mqtt-comms", "postgresql/home-assistant")
    for phase in PHASES[1:]:
        if killed_after in PHASES and PHASES.index(phase) <= PHASES.index(killed_after):  # type: ignore[arg-type]
            advance(store, phase)
    there = place.open()
    assert [rotation.name for rotation in kept(there)] == [
        "mqtt/zigbee2mqtt-comms",
        "postgresql/home-assistant",
    ]
    for phase in PHASES[1:]:
        advance(there, phase)
    finish(there)
    assert logins(there, "zigbee2mqtt-comms") == [NEW]
    assert there.get("postgresql/home-assistant").reveal() == "new-1"
    assert kept(place.open()) == []


def test_ages_begin_anew(store: SecretStore, place: Place) -> None:
    begin(store, "postgresql/home-assistant")
    later = SecretStore(place.file, place.identity, {})
    advance(later, "switched")
    assert later.created("postgresql/home-assistant") != store.created("mqtt/garden-sensor")


def test_a_token_that_its_server_did_not_make_stops_the_rotation(store: SecretStore) -> None:
    store.put("home-assistant/token/hearth", "old")
    begin(store, "home-assistant/token/hearth", "postgresql/home-assistant")
    assert accepted_beside(store.find, "home-assistant/token/hearth") == {}
    with pytest.raises(HearthError, match="home-assistant/token/hearth"):
        advance(store, "switched")
    store = SecretStore(store.path, store.identity_file)
    assert store.get("postgresql/home-assistant").reveal() == "old-database", "nothing is half switched"


def test_the_environments_value_is_not_taken_for_the_old_one(place: Place) -> None:
    store = place.open(PROXMOX_VE_API_TOKEN="root@pam!x=1")
    store.put("proxmox/token", "hearth@pve!deploy=1")
    new = Secret("hearth@pve!deploy-b=2")
    store.put(entry_of("proxmox/token"), encode(Rotation("proxmox/token", "offered", {"proxmox/token": new})))
    advance(store, "switched")
    assert store.stored("proxmox/token") == new
    assert kept(store)[0].other == {"proxmox/token": Secret("hearth@pve!deploy=1")}
