"""The user that monitoring reads Proxmox with: where a guest monitors; it reads all, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from bootstrap_kit import Site

from hearth.bootstrap.reader import ROLE, SECRET, TOKEN, USER
from hearth.proxmox.access import Access
from hearth.proxmox.api import Api, ApiError
from tests.api.run.conftest import container, fleet_of


def watched() -> dict[str, Any]:
    """A fleet with a guest that monitors."""
    return fleet_of(
        comms=container(tun=True, appliance=False),
        eye=container(137, appliance=False, roles=["monitoring"]),
    )


def rights(site: Site) -> set[tuple[str, str, bool]]:
    entries = site.pve.access.acl.items()
    return {(entry.path, entry.role, spread) for entry, spread in entries if entry.ugid == USER}


def reading(site: Site) -> Api:
    """The API with the reader's token."""
    name, _, value = site.store.get(SECRET).reveal().partition("=")
    user, _, token = name.partition("!")
    endpoint = site.home.env["PROXMOX_VE_ENDPOINT"]
    return Api(Access(endpoint, user, token, value, site.home.env["PROXMOX_VE_CA_BUNDLE"]))


def test_without_a_guest_that_monitors_there_is_none(site: Site) -> None:
    site.bootstrap().went_well()
    assert USER not in site.pve.access.users


def test_it_reads_everything_and_changes_nothing(site: Site) -> None:
    site.declare(watched())
    done = site.bootstrap().went_well()
    value = site.store.get(SECRET).reveal()
    assert value.startswith(f"{TOKEN}=")
    assert value.partition("=")[2] not in done.text
    assert rights(site) == {("/", ROLE, True)}
    assert USER not in site.pve.users, "it has no password"
    api = reading(site)
    assert api.get("/cluster/resources") is not None
    assert api.get("/nodes/pve/status")
    for path, given in (("/nodes/pve/lxc", {"vmid": 150}), ("/pools", {"poolid": "x"})):
        with pytest.raises(ApiError):
            api.post(path, **given)
    with pytest.raises(ApiError):
        api.put("/access/acl", path="/", roles="PVEAdmin", users=USER)


def test_a_second_run_changes_nothing(site: Site) -> None:
    site.declare(watched())
    site.bootstrap().went_well()
    kept = site.store.get(SECRET).reveal()
    done = site.bootstrap().went_well()
    assert "nothing to do" in done.out
    assert site.store.get(SECRET).reveal() == kept


def test_dry_shows_it_and_makes_nothing(site: Site) -> None:
    site.declare(watched())
    done = site.bootstrap("--dry")
    assert f"make user {USER}" in done.out
    assert f"make token {TOKEN}" in done.out
    assert USER not in site.pve.access.users


def test_more_rights_than_reading_are_taken_away(site: Site) -> None:
    site.declare(watched())
    site.bootstrap().went_well()
    entry = next(entry for entry in site.pve.access.acl if entry.ugid == USER)
    site.pve.access.acl[type(entry)(**{**vars(entry), "path": "/vms", "role": "PVEAdmin"})] = True
    assert "it only reads" in site.bootstrap().went_well().out
    assert rights(site) == {("/", ROLE, True)}


def test_a_token_whose_value_is_lost_is_made_anew(site: Site) -> None:
    site.declare(watched())
    site.bootstrap().went_well()
    store = site.store
    store.put(SECRET, f"{TOKEN}=00000000-0000-0000-0000-000000000000")
    store.save()
    site.bootstrap().went_well()
    assert reading(site).get("/version")


def test_it_goes_with_the_last_guest_that_monitors(site: Site) -> None:
    site.declare(watched())
    site.bootstrap().went_well()
    site.declare(fleet_of(comms=container(tun=True, appliance=False)))
    assert f"remove user {USER}" in site.bootstrap().went_well().out
    assert USER not in site.pve.access.users
    assert "nothing to do" in site.bootstrap().went_well().out
