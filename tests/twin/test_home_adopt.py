"""A running guest that somebody made by hand is taken over, with the admin's own key, and nothing breaks."""

from __future__ import annotations

from tests.twin.annex_kit import Annex


def test_a_stranger_is_refused_before_anything_is_touched(annex: Annex) -> None:
    done = annex.unasked.refused("VMID 152", "ct152", "--data adopt=ct152")
    assert done.writes == []


def test_it_keeps_all_that_the_fleet_file_does_not_name(annex: Annex) -> None:
    before, now = annex.made_by_hand, annex.home.config("ct152")
    declared = {"tags", "onboot", "swap", "nameserver", "searchdomain", "net0"}
    assert {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)} <= declared
    assert set(now["tags"].split(";")) == {"by-hand", "hearth"}
    assert now["description"].strip() == "made by hand"


def test_it_was_not_made_anew(annex: Annex) -> None:
    gone = [row for row in annex.first.asked if row.startswith("DELETE")]
    assert gone == []
    assert annex.home.volumes(152) == {"local-lvm:vm-152-disk-0"}


def test_its_roles_were_applied_with_the_admins_key_and_need_it_no_longer(annex: Annex) -> None:
    assert annex.first.code == 0, annex.first.text
    keys = annex.home.said("ct152", "cat /root/.ssh/authorized_keys")
    assert annex.home.twin.public in keys
    assert "hearth-deploy" in keys
    # `rotated` ran without the admin's key.
    assert annex.rotated.code == 0, annex.rotated.text
    assert (
        annex.home.said("ct152", "sshd -T | grep -i ^passwordauthentication") == "passwordauthentication no"
    )


def test_the_next_plan_is_empty(annex: Annex) -> None:
    annex.home.deploy().silent()
