"""Joining, as the role calls it: against the stand-in, where devices come, go and go offline."""

from __future__ import annotations

from typing import Any

import pytest
from tailnet_stand_in import Naps, Tailscale

from hearth.tailnet import Api, Device, TailnetError, joining


@pytest.fixture
def waiting(naps: Naps) -> joining.Waiting:
    """A minute that sleeping makes pass."""
    return joining.Waiting(within=60, every=2, sleep=naps.sleep, clock=naps.clock)


class Later:
    """An `Api` whose devices change with every question."""

    def __init__(self, api: Api, change: Any) -> None:
        self._api = api
        self._change = change
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def devices(self) -> list[Device]:
        """What there is after the change of this question."""
        self.asked += 1
        self._change(self.asked)
        return self._api.devices()


def test_a_key_for_a_guest(api: Api, tailscale: Tailscale) -> None:
    key = joining.join_key(api, "comms")
    sent = tailscale.keys[key.id]
    assert sent["capabilities"]["devices"]["create"]["tags"] == ["tag:hearth"]
    assert 60 <= sent["expirySeconds"] <= 900
    assert sent["description"] == "hearth comms"


def test_a_long_name_fits_the_description(api: Api, tailscale: Tailscale) -> None:
    key = joining.join_key(api, "c" * 63)
    assert len(tailscale.keys[key.id]["description"]) == 50


def test_nothing_to_forget(api: Api, tailscale: Tailscale, naps: Naps, waiting: joining.Waiting) -> None:
    tailscale.add("data")
    assert joining.forget_old(api, "comms", waiting=waiting) == ()
    assert (len(tailscale.devices), naps.slept) == (1, [])


def test_the_old_device_is_forgotten_and_no_other(
    api: Api, tailscale: Tailscale, waiting: joining.Waiting
) -> None:
    old = tailscale.add("comms", connectedToControl=False)
    double = tailscale.add("comms", connectedToControl=False)
    kept = {
        tailscale.add("data", connectedToControl=False),
        tailscale.add("comms", connectedToControl=False, tags=[]),
    }
    assert {device.id for device in joining.forget_old(api, "comms", waiting=waiting)} == {old, double}
    assert set(tailscale.devices) == kept


def test_a_machine_that_was_just_destroyed_is_waited_for(
    api: Api, tailscale: Tailscale, waiting: joining.Waiting
) -> None:
    ident = tailscale.add("comms")

    def change(number: int) -> None:
        tailscale.devices[ident]["connectedToControl"] = number < 4

    later = Later(api, change)
    assert [device.id for device in joining.forget_old(later, "comms", waiting=waiting)] == [ident]
    assert (later.asked, tailscale.devices) == (4, {})


def test_a_machine_that_runs_on_is_not_removed(
    api: Api, tailscale: Tailscale, waiting: joining.Waiting
) -> None:
    tailscale.add("comms")
    with pytest.raises(TailnetError, match="online"):
        joining.forget_old(api, "comms", waiting=waiting)
    assert len(tailscale.devices) == 1


def test_a_foreign_device_with_the_name_ends_it_at_once(
    api: Api, tailscale: Tailscale, naps: Naps, waiting: joining.Waiting
) -> None:
    tailscale.add("comms", tags=[], connectedToControl=False)
    with pytest.raises(TailnetError, match=r"not ours: comms, of admin@example\.com"):
        joining.forget_old(api, "comms", waiting=waiting)
    assert (len(tailscale.devices), naps.slept) == (1, [])


def test_the_exact_name_is_awaited(api: Api, tailscale: Tailscale, waiting: joining.Waiting) -> None:
    later = Later(api, lambda number: tailscale.add("comms") if number == 3 else None)
    assert joining.assert_named(later, "comms", waiting=waiting).name == "comms"


@pytest.mark.parametrize(
    "first",
    [{"tags": [], "connectedToControl": False}, {"connectedToControl": False}, {}],
    ids=["foreign", "ours, offline", "ours, still counted as online"],
)
def test_a_number_at_its_name_is_an_error(
    api: Api, tailscale: Tailscale, waiting: joining.Waiting, first: dict[str, Any]
) -> None:
    tailscale.add("comms", **first)
    tailscale.add("comms")
    with pytest.raises(TailnetError, match="is there as comms-1"):
        joining.assert_named(api, "comms", waiting=waiting)


def test_a_device_that_is_offline_has_not_joined(
    api: Api, tailscale: Tailscale, waiting: joining.Waiting
) -> None:
    tailscale.add("comms", connectedToControl=False)
    with pytest.raises(TailnetError, match="not online"):
        joining.assert_named(api, "comms", waiting=waiting)


def test_a_device_of_our_tag_under_another_hostname_is_not_the_guest(
    api: Api, tailscale: Tailscale, waiting: joining.Waiting
) -> None:
    tailscale.add("data")
    with pytest.raises(TailnetError, match="does not appear"):
        joining.assert_named(api, "comms", waiting=waiting)


def test_routes(api: Api, tailscale: Tailscale) -> None:
    ident = tailscale.add("tailnet", enabledRoutes=["10.0.0.0/8"])
    assert joining.approve_routes(api, "tailnet", ["192.168.1.0/24"])
    assert tailscale.devices[ident]["enabledRoutes"] == ["10.0.0.0/8", "192.168.1.0/24"]
    assert not joining.approve_routes(api, "tailnet", ["192.168.1.0/24"])
    with pytest.raises(TailnetError, match="not in the tailnet"):
        joining.approve_routes(api, "comms", ["192.168.1.0/24"])


def test_a_guest_leaves_with_all_its_devices(api: Api, tailscale: Tailscale) -> None:
    tailscale.add("comms")
    tailscale.add("comms", connectedToControl=False)
    foreign = tailscale.add("comms", tags=[])
    assert len(joining.leave(api, "comms")) == 2
    assert list(tailscale.devices) == [foreign]
