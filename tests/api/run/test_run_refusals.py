"""What a run must not do unasked: refused before anything changed; and what the command line allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.api.run.conftest import Home, container, machine


def shrink(home: Home) -> None:
    home.change("comms", disk="4 GiB")


def shrink_vm(home: Home) -> None:
    home.change("database", disk="8 GiB")


def privileged(home: Home) -> None:
    home.change("comms", unprivileged=False)


def untag(home: Home) -> None:
    home.pve.guest(135).config["tags"] = "mqtt"


def rename(home: Home) -> None:
    home.pve.guest(135).config["hostname"] = "somebody"


def other_kind(home: Home) -> None:
    home.change("database", vmid=135)
    home.change("comms", vmid=1135)
    home.pve.guest(136).config["name"] = "free"


REFUSED: dict[str, tuple[Callable[[Home], None], tuple[str, ...]]] = {
    "a disk would shrink": (shrink, ("comms", "disk")),
    "a VM's disk would shrink": (shrink_vm, ("database", "disk")),
    "a replacement was not asked for": (privileged, ("unprivileged", "--data replace=comms")),
    "the VMID is a guest without our tag": (untag, ("135", "--data adopt=comms")),
    "the VMID is a guest of another name": (rename, ("135", "somebody")),
    "the VMID is a container, not a VM": (other_kind, ("135", "database")),
}


@pytest.mark.parametrize("how", ["-y", "--dry"])
@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_before_anything_changed(deployed: Home, case: str, how: str) -> None:
    """Even the harmless change of another guest is not made."""
    spoil, words = REFUSED[case]
    spoil(deployed)
    deployed.change("comms", onboot=True)
    deployed.change("database", description="changed")
    before = deployed.state()
    done = deployed.pyinfra("inventory", "deploy.py", how).refused(*words)
    assert done.writes == []
    assert deployed.state() == before


def test_all_refusals_are_told_at_once(deployed: Home) -> None:
    shrink(deployed)
    shrink_vm(deployed)
    deployed.dry().refused("2 things are refused", "guest comms", "guest database")


def test_a_limited_run_is_not_refused_for_a_guest_it_leaves_out(deployed: Home) -> None:
    shrink(deployed)
    deployed.change("database", description="changed")
    deployed.deploy("--limit", "database").went_well()
    assert deployed.config(136)["description"] == "changed"


# ------------------------------------------------------------------ named on the command line


def test_a_named_guest_is_adopted_and_only_its_tag_changes(deployed: Home) -> None:
    deployed.pve.guest(135).config["tags"] = "mqtt"
    before = deployed.config(135)
    plan = deployed.plan("--data", "adopt=comms")["comms"]
    assert plan["action"] == "adopt"
    assert [change["field"] for change in plan["changes"]] == ["tags"]
    deployed.deploy("--data", "adopt=comms").went_well()
    assert deployed.config(135) == {**before, "tags": "hearth;mqtt"}
    assert deployed.plan()["comms"]["changes"] == []


def test_adopting_one_guest_does_not_adopt_another(deployed: Home) -> None:
    deployed.pve.guest(135).config["tags"] = "mqtt"
    deployed.pve.guest(136).config["tags"] = "sql"
    done = deployed.deploy("--data", "adopt=comms").refused("136", "--data adopt=database")
    assert done.writes == []


def test_a_named_guest_is_replaced_and_the_others_stay(deployed: Home) -> None:
    shrink(deployed)
    born = deployed.pve.guest(136)
    old = deployed.pve.guest(135)
    assert deployed.plan("--data", "replace=comms")["comms"]["action"] == "replace"
    deployed.deploy("--data", "replace=comms").went_well()
    assert deployed.pve.guest(136) is born
    assert deployed.pve.guest(135) is not old
    assert "size=4G" in deployed.config(135)["rootfs"]
    assert deployed.status(135) == "running"
    assert len([volume for volume in deployed.volumes() if "-135-" in volume]) == 1
    assert deployed.plan()["comms"]["action"] == "none"


def test_a_protected_guest_is_not_replaced(deployed: Home) -> None:
    deployed.change("comms", protection=True)
    deployed.deploy().went_well()
    done = deployed.deploy("--data", "replace=comms").refused("replace guest comms", "protect")
    assert done.writes == []


@pytest.mark.parametrize("word", ["adopt", "replace"])
def test_an_unknown_name_is_refused(deployed: Home, word: str) -> None:
    done = deployed.deploy("--data", f"{word}=coms").refused("coms", "database")
    assert done.writes == []


def test_a_downgrade_of_what_is_no_role_is_refused(deployed: Home) -> None:
    done = deployed.deploy("--data", "downgrade=vaultwardn").refused("vaultwardn", "no role")
    assert done.writes == []
    for named in ("home-assistant", "home_assistant,vaultwarden"):
        deployed.deploy("--data", f"downgrade={named}").went_well()


# ------------------------------------------------------------------ teardown


def teardown(home: Home, *named: str) -> list[str]:
    """`pyinfra inventory teardown.py -y --data destroy=NAMES`."""
    return ["inventory", "teardown.py", "-y", *(("--data", f"destroy={','.join(named)}") if named else ())]


def test_teardown_destroys_the_named_guest_and_nothing_else(deployed: Home) -> None:
    deployed.pyinfra(*teardown(deployed, "comms")).went_well()
    assert deployed.status(135) == "absent"
    assert deployed.status(136) == "running"
    assert not [volume for volume in deployed.volumes() if "-135-" in volume]
    done = deployed.pyinfra(*teardown(deployed, "comms")).went_well()
    assert done.writes == []
    deployed.deploy().went_well()
    assert deployed.status(135) == "running"


def test_teardown_destroys_several_and_shows_it_first(deployed: Home) -> None:
    command = [part for part in teardown(deployed, "comms", "database") if part != "-y"]
    dry = deployed.pyinfra(*command, "--dry").went_well()
    assert dry.writes == [] and dry.text.count("destroy: this guest") == 2
    deployed.pyinfra(*teardown(deployed, "comms", "database")).went_well()
    assert deployed.volumes() == set()


@pytest.mark.parametrize("where", ["Proxmox", "the fleet file"])
def test_teardown_spares_a_protected_guest(deployed: Home, where: str) -> None:
    if where == "Proxmox":
        deployed.pve.guest(135).config["protection"] = 1
    else:
        deployed.change("comms", protection=True)
    done = deployed.pyinfra(*teardown(deployed, "comms", "database")).refused("comms", "protected")
    assert done.writes == []
    assert deployed.status(135) == deployed.status(136) == "running"


def test_teardown_needs_names(deployed: Home) -> None:
    done = deployed.pyinfra(*teardown(deployed)).refused("no guest is named", "destroy=")
    assert done.writes == []


def test_teardown_refuses_unknown_names(deployed: Home) -> None:
    done = deployed.pyinfra(*teardown(deployed, "comms", "datbase")).refused("datbase")
    assert done.writes == []


def test_teardown_spares_what_is_not_ours(deployed: Home) -> None:
    untag(deployed)
    done = deployed.pyinfra(*teardown(deployed, "comms")).refused("135", "not ours")
    assert done.writes == []


def test_naming_a_guest_for_destruction_does_nothing_in_a_deploy(deployed: Home) -> None:
    """Only teardown.py destroys; a mixed up command line must not half do it."""
    done = deployed.deploy("--data", "destroy=comms").refused("destroy", "teardown.py")
    assert done.writes == []


def test_an_absent_appliance_without_an_image_is_named(home: Home) -> None:
    home.declare(comms=container(), nas=machine(image=None, disk=None))
    done = home.deploy().refused("nas", "image")
    assert done.writes == []


# ------------------------------------------------------------------ the run's own path


def through(number: int) -> dict[str, str]:
    """The environment of an SSH session that came in through a guest."""
    return {"SSH_CONNECTION": f"192.168.1.{number} 50000 192.168.1.2 22"}


def test_a_restart_of_a_guest_on_the_path_is_said_and_done_last(deployed: Home) -> None:
    for name in ("comms", "database"):
        deployed.change(name, restart="allowed")
    deployed.change("comms", features={"nesting": False})
    deployed.change("database", cores=4)
    plan = deployed.dry(env=through(136)).went_well()
    assert plan.text.count("at the very end: this run passes through it") == 1
    done = deployed.deploy(env=through(136)).went_well()
    assert "this run passes through the guest" in done.text
    reboots = [path for path in done.writes if path.endswith(("/reboot", "/shutdown"))]
    assert [path.split("/")[4] for path in reboots] == ["135", "136"]
    assert done.writes[-1] == reboots[-1] or done.writes[-1].endswith("/136/status/start")
    assert deployed.config(136)["cores"] == 4
    assert deployed.plan()["database"]["changes"] == []


@pytest.mark.parametrize("word", ["replace", "destroy"])
def test_a_guest_on_the_path_is_neither_replaced_nor_destroyed(deployed: Home, word: str) -> None:
    file = "teardown.py" if word == "destroy" else "deploy.py"
    command = ["inventory", file, "-y", "--data", f"{word}=database"]
    done = deployed.pyinfra(*command, env=through(136)).refused(f"{word} guest database", "passes through")
    assert done.writes == []
    deployed.pyinfra(*command, env=through(135)).went_well()
