"""What a file without mistakes becomes."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pydantic
import pytest
import yaml
from fleet_cases import ROLES, WHOLE, spoiled

import hearth
from hearth.fleet.loader import load_fleet
from hearth.fleet.mac import mac_of
from hearth.fleet.model import Features, Fleet, Mount, Startup
from hearth.role.declaration import Role

Load = Callable[..., Fleet]
PROJECT = Path(hearth.__file__).parent.parent


def test_what_follows_is_filled_in(load: Load) -> None:
    comms = load(WHOLE).guest("comms")
    assert (comms.vmid, comms.mac, comms.node, comms.network) == (135, "02:48:00:00:00:87", "pve", "lan")
    assert (comms.address, comms.address6) == (IPv4Address("192.168.1.135"), IPv6Address("fd00::135"))
    assert (comms.memory, comms.disk, comms.image) == (512, 16384, "debian-12")
    assert (comms.roles, comms.restart, comms.onboot) == (("base", "broker"), "never", None)


def test_node(load: Load) -> None:
    assert load(WHOLE).node("pve").endpoint == "https://192.168.1.185:8006"
    changed = spoiled(
        "    images: local\n", "    images: local\n    endpoint: https://pve.lan/\n    ssh: {port: 2222}\n"
    )
    node = load(changed).node("pve")
    assert (node.endpoint, node.ssh.user, node.ssh.port) == ("https://pve.lan", "root", 2222)


def test_an_appliance_takes_no_defaults_and_no_roles(load: Load) -> None:
    haos = load(WHOLE).guest("haos")
    assert (haos.roles, haos.memory, haos.image, haos.network, haos.address) == ((), None, None, None, None)
    assert (haos.node, haos.vmid, haos.mac) == ("pve", 1000, "02:48:00:00:03:E8")


def test_the_guest_wins_over_its_kind_and_that_over_all(load: Load) -> None:
    fleet = load(spoiled("  lxc:\n", "  cores: 1\n  pool: home\n  lxc:\n    cores: 3\n    memory: 1 GiB\n"))
    comms, database = fleet.guest("comms"), fleet.guest("database")
    assert (comms.cores, comms.memory, comms.pool) == (2, 1024, "home")
    assert (database.cores, database.memory, database.pool) == (1, 2048, "home")


def test_keys_of_one_kind_in_the_common_defaults(load: Load) -> None:
    fleet = load(spoiled("  lxc:\n", "  unprivileged: true\n  disks: {scsi1: {size: 4 GiB}}\n  lxc:\n"))
    assert (fleet.guest("comms").unprivileged, fleet.guest("comms").disks) == (True, ())
    assert fleet.guest("database").unprivileged is None
    assert [disk.size for disk in fleet.guest("database").disks] == [4096]


def test_proxmoxs_firewall_is_kept_only_where_the_file_says_so(load: Load) -> None:
    assert load(WHOLE).firewall is False
    assert load(f"{WHOLE}firewall: true\n").firewall is True


def test_nested_defaults_are_merged_by_key_and_lists_replaced(load: Load) -> None:
    fleet = load(
        spoiled(
            "  lxc:\n",
            "  tags: [a]\n  startup: {order: 1, up: 5}\n  lxc:\n    features: {nesting: true}\n"
            "    mounts: {mp0: {path: /a, size: 1.5 GiB}}\n",
            "    cores: 2\n",
            "    tags: [hearth, b]\n    startup: {up: 9}\n    features: {keyctl: true}\n"
            "    mounts: {mp1: {path: /b, source: /srv, readonly: true}}\n",
        )
    )
    comms = fleet.guest("comms")
    assert comms.tags == ("b",)  # `hearth` is the planner's
    assert comms.startup == Startup(order=1, up=9)
    assert comms.features == Features(nesting=True, keyctl=True)
    assert comms.mounts == (
        Mount(slot="mp0", path="/a", size=1536),
        Mount(slot="mp1", path="/b", source="/srv", readonly=True),
    )


def test_yaml_words_are_what_they_look_like(load: Load) -> None:
    text = spoiled(
        "  comms:", "  on:", "cores: 2", 'onboot: yes\n    mac: "12:34:56:10:20:30"\n    pool: "no"'
    )
    guest = load(text).guest("on")  # YAML 1.1 would read the name as true, and the MAC in base 60
    assert (guest.onboot, guest.mac, guest.pool) == (True, "12:34:56:10:20:30", "no")


def test_mac_is_upper_case_and_unicast(load: Load) -> None:
    text = spoiled("cores: 2", 'mac: "aa:bb:cc:dd:ee:ff"')
    assert load(text).guest("comms").mac == "AA:BB:CC:DD:EE:FF"
    assert mac_of(999_999_999) == "02:48:3B:9A:C9:FF"


def test_several_nodes(load: Load) -> None:
    second = "  pve2: {address: 192.168.1.186, storage: local, images: local}\n"
    text = spoiled("networks:", f"{second}networks:", "defaults:\n", "defaults:\n  node: auto\n")
    assert load(text.replace("cores: 2", "node: pve2")).guest("comms").node == "pve2"
    assert load(text).guest("comms").node == "auto"
    assert load(WHOLE.replace("cores: 2", "node: auto")).guest("comms").node == "pve"


def test_an_optional_need_and_a_need_served_elsewhere(load: Load) -> None:
    assert load(spoiled("[broker]", "[panel]")).guest("comms").roles == ("base", "panel")
    two = load(spoiled("32 GiB\n", "32 GiB\n    roles: [hub]\n"))
    assert [guest.name for guest in two.with_role("hub")] == ["database"]


def test_base_is_first_wherever_it_stands(load: Load) -> None:
    assert load(spoiled("[broker]", "[broker, base]")).guest("comms").roles == ("base", "broker")


def test_no_base_where_there_is_none(file: Path) -> None:
    file.write_text(WHOLE)
    fleet = load_fleet(file, {"broker": ROLES["broker"]})
    assert fleet.guest("comms").roles == ("broker",)
    assert fleet.guest("database").roles == ()


@pytest.mark.parametrize(
    "line",
    [
        "cores: 8192",
        "memory: 16 MiB",
        "swap: 0",
        "vmid: 100",
        "vmid: 999999999",
        "disk: 2 GiB",
        "tags: [a+b, c.d, _e]",
        "mounts: {mp255: {path: /a, size: 1 MiB}}",
        "devices: [/dev/serial/by-id/usb-x, /dev/net/tun]",
        "startup: {order: 0, up: 0, down: 0}",
        "address6: auto",
        'description: "two\\nlines, ä"',
    ],
)
def test_limits_are_allowed(line: str, load: Load) -> None:
    key = line.partition(":")[0]
    body = "".join(part for part in WHOLE.splitlines(True) if not _of_comms(part, key))
    assert load(body.replace("  comms:\n", f"  comms:\n    {line}\n"))


def _of_comms(line: str, key: str) -> bool:
    old = {"cores": "cores: 2", "disk": "disk: 16", "address6": "address6"}
    return key in old and old[key] in line


def test_the_models_do_not_change(load: Load) -> None:
    fleet = load(WHOLE)
    with pytest.raises(pydantic.ValidationError):
        fleet.guest("comms").memory = 1  # type: ignore[misc]
    assert fleet == load(WHOLE)
    assert len({fleet, load(WHOLE)}) == 1
    assert Fleet.model_validate(fleet.model_dump()) == fleet


def test_the_default_home() -> None:
    """The file that ships: 3 VMs and 5 containers, at the addresses of the design."""
    file = PROJECT / "inventory" / "fleet.yaml"
    written = yaml.safe_load(file.read_text())["guests"].values()
    roles = {role: Role(name=role) for guest in written for role in ("base", *guest.get("roles", ()))}
    fleet = load_fleet(file, roles)
    kinds = {(guest.name, guest.kind, str(guest.address)) for guest in fleet.guests}
    assert kinds == {
        ("home-assistant", "vm", "192.168.1.134"),
        ("database", "vm", "192.168.1.136"),
        ("monitoring", "vm", "192.168.1.137"),
        ("comms", "lxc", "192.168.1.135"),
        ("mqtt-standby", "lxc", "192.168.1.138"),
        ("data", "lxc", "192.168.1.139"),
        ("security", "lxc", "192.168.1.140"),
        ("tailnet", "lxc", "192.168.1.141"),
    }
    assert {guest.name for guest in fleet.with_role("mosquitto")} == {"comms", "mqtt-standby"}
    assert str(fleet.node("pve").address) == "192.168.1.185"
    assert all(image.checksum for image in fleet.images)
    assert all(guest.restart == "never" and guest.address6 for guest in fleet.guests)


def test_every_key_is_in_the_reference() -> None:
    """docs/fleet.md names every key there is."""
    from hearth.fleet import entries

    text = (PROJECT / "docs" / "fleet.md").read_text()
    models = [value for value in vars(entries).values() if isinstance(value, type)]
    keys = {
        key
        for model in models
        if issubclass(model, entries.Entry)
        for key in model.model_fields
        if model is not entries.FileEntry
    }
    assert len(keys) > 50
    assert {key for key in keys if f"`{key}`" not in text} == set()


def test_the_examples_of_the_reference_load(load: Load) -> None:
    """Every whole file shown in docs/fleet.md is one that loads."""
    text = (PROJECT / "docs" / "fleet.md").read_text()
    blocks = [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]
    whole = [block for block in blocks if "nodes" in yaml.safe_load(block)]
    assert whole
    for block in whole:
        assert load(block.replace("mosquitto", "broker")).guests
