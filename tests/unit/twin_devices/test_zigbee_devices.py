"""The devices behind the radio: what they answer to the cluster library's commands, byte by byte."""

from __future__ import annotations

from typing import Any

import pytest
import zigpy_znp.commands as c
import zigpy_znp.types as t
from radio_kit import LEVEL, LIGHT, ON_OFF, SENSOR, TEMPERATURE, Spoken, joined
from zigpy.zcl.clusters.general import LevelControl, OnOff

from twin.devices.zigbee import lamp
from twin.devices.zigbee import memory as nv
from twin.devices.zigbee.device import Device

OK, UNSUPPORTED_ATTRIBUTE, READ_ONLY, WRONG_TYPE = "00", "86", "88", "8d"
CONFIGURE_ON_OFF = "0005 06 00 0000 10 0000 100e"
CONFIGURE_LEVEL = "0006 06 00 0000 20 0000 100e 01"


@pytest.fixture
def spoken() -> Spoken:
    """A radio with both devices."""
    return joined()


def light_of(spoken: Spoken) -> tuple[bool, int]:
    """The lamp itself: on, level."""
    light = spoken.radio.devices["light"]
    return light.get(OnOff, "on_off"), light.get(LevelControl, "current_level")


def bind(spoken: Spoken, nwk: int, cluster: int, unbind: bool = False) -> None:
    """Bind a device's cluster to the coordinator, padded as zigbee-herdsman does."""
    from zigpy_znp.frames import GeneralFrame

    from twin.devices.zigbee import monitor

    data = nwk.to_bytes(2, "little") + bytes(8) + b"\1" + cluster.to_bytes(2, "little") + b"\3"
    data += nv.ieee(spoken.radio.memory).serialize() + b"\1"
    kind = c.ZDO.UnBindReq.Req if unbind else c.ZDO.BindReq.Req
    monitor.answer(spoken.radio, GeneralFrame(kind.header, data + bytes(3)))


@pytest.mark.parametrize(
    ("cluster", "asked", "answer"),
    [
        (0, "0001 00 0500", "180101 0500 00 42 04 54483031"),  # model TH01
        (TEMPERATURE, "0002 00 0000", "180201 0000 00 29 6608"),  # 21.50 degrees
        (TEMPERATURE, "0003 00 7700", f"180301 7700 {UNSUPPORTED_ATTRIBUTE}"),
        (TEMPERATURE, "0004 02 0000 29 0000", f"180404 {READ_ONLY} 0000"),
        (ON_OFF, "0105 02", "18050b 02 c3"),  # a sensor has no such cluster
        (TEMPERATURE, "0006 42", "18060b 42 82"),  # nor knows this general command
        (0, "0007 0c 0400 02", "18070d 00 0400 42 0500 42"),  # its attributes, two at a time
    ],
)
def test_a_sensor_answers(spoken: Spoken, cluster: int, asked: str, answer: str) -> None:
    assert spoken.zcl(SENSOR, cluster, asked.replace(" ", "")) == [answer.replace(" ", "")]


def test_what_may_be_written_is_and_the_rest_is_not(spoken: Spoken) -> None:
    assert spoken.zcl(LIGHT, ON_OFF, "0001020340 30 01".replace(" ", "")) == [f"180104{OK}"]
    assert spoken.radio.devices["light"].get(OnOff, "start_up_on_off") == 1
    wrong = spoken.zcl(LIGHT, ON_OFF, "000202" + "034020ff")
    assert wrong == [f"180204{WRONG_TYPE}0340"]
    # Undivided: all or none.
    both = spoken.zcl(LIGHT, ON_OFF, "000303" + "03403000" + "00001001")
    assert both == [f"180304{READ_ONLY}0000"]
    assert spoken.radio.devices["light"].get(OnOff, "start_up_on_off") == 1
    assert spoken.zcl(LIGHT, ON_OFF, "000405" + "03403000") == [], "no response was wanted"
    assert spoken.radio.devices["light"].get(OnOff, "start_up_on_off") == 0


@pytest.mark.parametrize(
    ("before", "cluster", "command", "after"),
    [
        ((False, 254), ON_OFF, "01", (True, 254)),
        ((True, 254), ON_OFF, "00", (False, 254)),
        ((True, 80), ON_OFF, "02", (False, 80)),
        ((True, 80), ON_OFF, "400000", (False, 80)),
        ((False, 254), LEVEL, "04640000", (True, 100)),
        ((True, 254), LEVEL, "0464 0000", (True, 100)),
        ((True, 100), LEVEL, "04000000", (False, 100)),
        ((False, 254), LEVEL, "0064000000", (False, 254)),  # without On/Off a lamp that is off stays as it is
        ((True, 254), LEVEL, "0064000000", (True, 100)),
        ((True, 254), LEVEL, "00ff000000", (True, 254)),
        ((True, 100), LEVEL, "0600 0a 0000", (True, 110)),
        ((True, 100), LEVEL, "0601 ff 0000", (False, 100)),
        ((True, 100), LEVEL, "0500 10", (True, 254)),
        ((True, 100), LEVEL, "0101 10 0000", (True, 1)),
        ((True, 100), LEVEL, "07", (True, 100)),
    ],
)
def test_a_lamp_does_what_it_is_told(
    spoken: Spoken, before: tuple[bool, int], cluster: int, command: str, after: tuple[bool, int]
) -> None:
    light = spoken.radio.devices["light"]
    light.put(OnOff, "on_off", before[0])
    light.put(LevelControl, "current_level", before[1])
    command = command.replace(" ", "")
    assert spoken.zcl(LIGHT, cluster, f"0109{command}") == [f"18090b{command[:2]}{OK}"]
    assert light_of(spoken) == after


@pytest.mark.parametrize(("command", "status"), [("99", "81"), ("04", "80")], ids=["unknown", "too short"])
def test_a_lamp_refuses_what_it_does_not_understand(spoken: Spoken, command: str, status: str) -> None:
    assert spoken.zcl(LIGHT, LEVEL, f"0109{command}") == [f"18090b{command}{status}"]
    assert light_of(spoken) == (False, 254)


def test_no_default_response_where_none_is_wanted(spoken: Spoken) -> None:
    assert spoken.zcl(LIGHT, ON_OFF, "110901") == []
    assert light_of(spoken) == (True, 254)


def test_a_change_is_reported_once_it_was_asked_for_and_bound(spoken: Spoken) -> None:
    assert len(spoken.zcl(LIGHT, ON_OFF, "010101")) == 1, "no report yet"
    assert spoken.zcl(LIGHT, ON_OFF, CONFIGURE_ON_OFF.replace(" ", "")) == [f"180507{OK}"]
    assert len(spoken.zcl(LIGHT, ON_OFF, "010200")) == 1, "not bound yet"
    bind(spoken, LIGHT, ON_OFF)
    response, report = spoken.zcl(LIGHT, ON_OFF, "010301")
    assert response == f"18030b01{OK}"
    assert report[:2] + report[4:] == "180a" + "0000" + "10" + "01"
    assert len(spoken.zcl(LIGHT, ON_OFF, "010401")) == 1, "nothing changed"
    bind(spoken, LIGHT, ON_OFF, unbind=True)
    assert len(spoken.zcl(LIGHT, ON_OFF, "010500")) == 1


def test_reports_are_refused_and_turned_off(spoken: Spoken) -> None:
    bind(spoken, LIGHT, LEVEL)
    assert spoken.zcl(LIGHT, LEVEL, "0001060000 77 20 0000 100e 01".replace(" ", "")) != [f"180107{OK}"]
    assert spoken.zcl(LIGHT, LEVEL, CONFIGURE_LEVEL.replace(" ", "")) == [f"180607{OK}"]
    assert len(spoken.zcl(LIGHT, LEVEL, "010204640000")) == 2
    spoken.zcl(LIGHT, LEVEL, CONFIGURE_LEVEL.replace("100e", "ffff").replace(" ", ""))
    assert len(spoken.zcl(LIGHT, LEVEL, "010304320000")) == 1


def test_a_hand_at_the_lamp_is_reported_too(spoken: Spoken) -> None:
    bind(spoken, LIGHT, ON_OFF)
    spoken.zcl(LIGHT, ON_OFF, CONFIGURE_ON_OFF.replace(" ", ""))
    light: Device = spoken.radio.devices["light"]
    spoken.radio.say(light, lamp.switch(light, True))
    (report,) = spoken.heard(c.AF.IncomingMsg.Callback)
    assert (int(report.SrcAddr), int(report.ClusterId)) == (LIGHT, ON_OFF)


def test_groups_are_added_listed_and_left(spoken: Spoken) -> None:
    ask: Any = lambda frame: spoken.zcl(LIGHT, 4, frame)  # noqa: E731
    assert ask("0101000a0000") == ["190100000a00"]
    assert ask("010200140000") == ["190200001400"]
    assert ask("01030200") == ["190302ff020a001400"]
    assert ask("010403 0a00".replace(" ", "")) == ["190403000a00"]
    assert ask("0105030a00") == ["1905038b0a00"], "not in it"
    assert ask("010604") == ["18060b0400"]
    assert ask("01070200") == ["190702ff00"]


def test_a_lamp_told_of_new_firmware_asks_for_it_and_takes_no_for_an_answer(spoken: Spoken) -> None:
    (query,) = spoken.zcl(LIGHT, 0x19, "0901000064")
    assert query.startswith("010101"), "query next image, client to server"
    assert spoken.zcl(LIGHT, 0x19, "19010298") == []


def test_the_network_map_names_them(spoken: Spoken) -> None:
    spoken.said.clear()
    spoken.ask(c.ZDO.MgmtLqiReq.Req(Dst=t.NWK(0), StartIndex=0))
    (table,) = spoken.heard(c.ZDO.MgmtLqiRsp.Callback)
    assert {int(n.nwk) for n in table.Neighbors.NeighborTableList} == {LIGHT, SENSOR}
