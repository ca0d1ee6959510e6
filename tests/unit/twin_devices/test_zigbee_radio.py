"""The radio, spoken to in Z-Stack's own frames: memory, networks, joining, leaving, what survives."""

from __future__ import annotations

import json
import struct

import pytest
import zigpy.zdo.types as zdo
import zigpy_znp.commands as c
import zigpy_znp.types as t
from radio_kit import KEY, LIGHT, ON_OFF, PAN, SENSOR, Spoken, joined
from zigpy_znp.frames import GeneralFrame
from zigpy_znp.types.nvids import ExNvIds, OsalNvIds

from twin.devices.zigbee import monitor
from twin.devices.zigbee.radio import Radio

COORDINATOR = t.DeviceState.StartedAsCoordinator
TOGGLE = "010702"


def restarted(spoken: Spoken) -> Spoken:
    """The same radio after its program was started again."""
    again = Spoken()
    again.radio.load(json.loads(json.dumps(spoken.radio.dump())))
    return again


def start(spoken: Spoken) -> None:
    """Start the network in the memory."""
    spoken.ask(c.ZDO.StartupFromApp.Req(StartDelay=100))


def test_a_radio_out_of_the_box_has_no_network() -> None:
    spoken = Spoken()
    assert spoken.ask(c.SYS.OSALNVLength.Req(Id=OsalNvIds.NIB)).ItemLen == 0
    assert spoken.ask(c.UTIL.GetDeviceInfo.Req()).DeviceState != COORDINATOR


def test_commissioning_makes_the_network_that_was_asked_for() -> None:
    spoken = Spoken()
    spoken.commission()
    (change,) = spoken.heard(c.ZDO.StateChangeInd.Callback)
    assert change.State == COORDINATOR
    nib = t.NIB.deserialize(
        spoken.ask(c.SYS.OSALNVReadExt.Req(Id=OsalNvIds.NIB, Offset=0)).Value, align=True
    )[0]
    assert nib.nwkPanId == PAN
    active = spoken.ask(c.SYS.OSALNVReadExt.Req(Id=OsalNvIds.NWK_ACTIVE_KEY_INFO, Offset=0)).Value
    assert active[1:] == KEY


@pytest.mark.parametrize("offset", [0, 250])
def test_a_long_item_is_written_and_read_in_pieces(offset: int) -> None:
    spoken, value = Spoken(), bytes(n % 251 for n in range(300))
    spoken.ask(c.SYS.OSALNVItemInit.Req(Id=0x401, ItemLen=300, Value=t.ShortBytes(value[:240])))
    rest = spoken.ask(c.SYS.OSALNVWriteExt.Req(Id=0x401, Offset=240, Value=t.LongBytes(value[240:])))
    assert rest.Status == t.Status.SUCCESS
    read = spoken.ask(c.SYS.OSALNVReadExt.Req(Id=0x401, Offset=offset))
    assert bytes(read.Value) == value[offset : offset + 240]


def test_what_is_not_in_the_memory_is_refused() -> None:
    spoken = Spoken()
    assert spoken.ask(c.SYS.OSALNVReadExt.Req(Id=0x999, Offset=0)).Status != t.Status.SUCCESS
    assert (
        spoken.ask(c.SYS.OSALNVWriteExt.Req(Id=0x999, Offset=0, Value=t.LongBytes(b"x"))).Status
        != t.Status.SUCCESS
    )
    spoken.write(0x999, b"four")
    beyond = c.SYS.OSALNVWriteExt.Req(Id=0x999, Offset=3, Value=t.LongBytes(b"xy"))
    assert spoken.ask(beyond).Status == t.Status.NV_BAD_ITEM_LEN
    assert spoken.ask(c.SYS.OSALNVDelete.Req(Id=0x999, ItemLen=3)).Status == t.Status.NV_BAD_ITEM_LEN
    assert spoken.ask(c.SYS.OSALNVDelete.Req(Id=0x999, ItemLen=4)).Status == t.Status.SUCCESS
    assert spoken.ask(c.SYS.OSALNVLength.Req(Id=0x999)).ItemLen == 0


def test_unknown_and_short_commands_get_an_error_and_no_more() -> None:
    radio = Radio(lambda _: None)
    for header, data in ((c.SYS.SetTime.Req.header, bytes(11)), (c.SYS.OSALNVLength.Req.header, b"\1")):
        (answer,) = monitor.answer(radio, GeneralFrame(header, data))
        assert answer.header == c.RPCError.CommandNotRecognized.Rsp.header


def test_devices_join_only_while_the_network_is_open() -> None:
    spoken = Spoken()
    spoken.commission()
    light = spoken.radio.devices["light"]
    assert not spoken.radio.reaches(light)
    spoken.permit(60)
    announced = {int(m.NWK) for m in spoken.heard(c.ZDO.EndDeviceAnnceInd.Callback)}
    assert announced == {LIGHT, SENSOR}
    light.reset()
    spoken.now = 61
    spoken.radio.try_joining(light)
    assert not spoken.radio.reaches(light), "the network closes by itself"
    spoken.permit(60)
    spoken.permit(0)
    light.reset()
    spoken.radio.try_joining(light)
    assert not spoken.radio.reaches(light), "it closes when told"


def test_a_device_tells_what_it_is() -> None:
    spoken = joined()
    asked = {"DstAddr": t.NWK(LIGHT), "NWKAddrOfInterest": t.NWK(LIGHT)}
    spoken.ask(c.ZDO.NodeDescReq.Req(**asked))
    spoken.ask(c.ZDO.SimpleDescReq.Req(**asked, Endpoint=1))
    spoken.ask(c.ZDO.SimpleDescReq.Req(**asked, Endpoint=7))
    node, simple, wrong = spoken.said[-3:]
    assert node.NodeDescriptor.logical_type == zdo.LogicalType.Router
    assert {ON_OFF, 8} <= set(simple.SimpleDescriptor.input_clusters)
    assert wrong.Status != zdo.Status.SUCCESS


def test_what_a_device_is_sent_reaches_it_and_nobody_else() -> None:
    spoken = joined()
    assert spoken.zcl(LIGHT, ON_OFF, TOGGLE) == ["18070b0200"]
    assert spoken.radio.devices["light"].get(_on_off(), "on_off") is True
    spoken.radio.devices["light"].silent = True
    spoken.zcl(LIGHT, ON_OFF, TOGGLE)
    confirm = spoken.ask(_data(LIGHT)), spoken.heard(c.AF.DataConfirm.Callback)[-1]
    assert confirm[1].Status != t.Status.SUCCESS
    assert spoken.radio.devices["light"].get(_on_off(), "on_off") is True


def test_a_group_and_a_broadcast_reach_who_is_meant() -> None:
    spoken = joined()
    light = spoken.radio.devices["light"]
    _many(spoken, t.AddrMode.Group, 5)
    assert light.get(_on_off(), "on_off") is False, "not in the group"
    assert spoken.zcl(LIGHT, 4, "010800050000") == ["190800000500"]
    _many(spoken, t.AddrMode.Group, 5)
    assert light.get(_on_off(), "on_off") is True
    _many(spoken, t.AddrMode.NWK, 0xFFFF)
    assert light.get(_on_off(), "on_off") is False


def test_a_restart_of_the_program_is_no_new_radio() -> None:
    spoken = joined()
    spoken.zcl(LIGHT, ON_OFF, TOGGLE)
    again = restarted(spoken)
    assert not again.radio.reaches(again.radio.devices["light"]), "not before the network is started"
    start(again)
    assert again.ask(c.UTIL.GetDeviceInfo.Req()).DeviceState == COORDINATOR
    assert again.radio.reaches(again.radio.devices["light"])
    assert again.radio.devices["light"].get(_on_off(), "on_off") is True


def test_a_cleared_radio_is_another_network_that_no_device_hears() -> None:
    spoken = joined()
    spoken.write(OsalNvIds.STARTUP_OPTION, b"\3")
    spoken.said.clear()
    assert monitor.answer(spoken.radio, c.SYS.ResetReq.Req(Type=t.ResetType.Soft).to_frame()) == []
    assert spoken.heard(c.SYS.ResetInd.Callback), "it says that it is up again"
    assert spoken.ask(c.SYS.OSALNVLength.Req(Id=OsalNvIds.NIB)).ItemLen == 0
    spoken.commission(key=bytes(16))
    assert not any(spoken.radio.reaches(d) for d in spoken.radio.devices.values())
    spoken.permit(60)
    assert not spoken.radio.reaches(spoken.radio.devices["light"]), "it looks for no network unless reset"


def test_a_plain_reset_keeps_the_network() -> None:
    spoken = joined()
    monitor.answer(spoken.radio, c.SYS.ResetReq.Req(Type=t.ResetType.Soft).to_frame())
    start(spoken)
    assert spoken.radio.reaches(spoken.radio.devices["light"])


def test_a_backup_finds_the_devices_and_not_those_that_left() -> None:
    spoken = joined()
    assert _addresses(spoken) == {LIGHT, SENSOR}
    fields = {"DstAddr": t.NWK(LIGHT), "IEEE": t.EUI64(bytes(8))}
    spoken.said.clear()
    spoken.ask(c.ZDO.MgmtLeaveReq.Req(**fields, RemoveChildren_Rejoin=c.zdo.LeaveOptions.NONE))
    assert [type(m) for m in spoken.said] == [c.ZDO.MgmtLeaveRsp.Callback, c.ZDO.LeaveInd.Callback]
    assert _addresses(spoken) == {SENSOR}
    assert not spoken.radio.reaches(spoken.radio.devices["light"])


def test_the_channel_changes() -> None:
    spoken = joined()
    spoken.ask(
        c.ZDO.MgmtNWKUpdateReq.Req(
            **{"Dst": 0xFFFF, "DstAddrMode": t.AddrMode.Broadcast, "Channels": t.Channels(1 << 25)},
            **{"ScanDuration": 0xFE, "ScanCount": 0, "NwkManagerAddr": 0},
        )
    )
    (answer,) = monitor.answer(spoken.radio, c.ZDO.ExtNwkInfo.Req().to_frame())
    assert answer.data[-1] == 25
    assert struct.unpack_from("<H", answer.data, 3) == (PAN,)
    assert spoken.radio.reaches(spoken.radio.devices["light"])


def _addresses(spoken: Spoken) -> set[int]:
    rows = [v for (table, _), v in spoken.radio.memory.tables.items() if table == ExNvIds.ADDRMGR]
    entries = [t.AddrMgrEntry.deserialize(row, align=True)[0] for row in rows]
    return {int(entry.nwkAddr) for entry in entries if entry.type != t.AddrMgrUserType.Default}


def _on_off() -> object:
    from zigpy.zcl.clusters.general import OnOff

    return OnOff


def _data(nwk: int) -> object:
    fields = {"DstAddr": t.NWK(nwk), "DstEndpoint": 1, "SrcEndpoint": 1, "ClusterId": t.ClusterId(ON_OFF)}
    data = t.ShortBytes(bytes.fromhex(TOGGLE))
    return c.AF.DataRequest.Req(**fields, TSN=9, Options=c.af.TransmitOptions(0), Radius=30, Data=data)


def _many(spoken: Spoken, mode: object, address: int) -> None:
    fields = {"DstEndpoint": 255, "DstPanId": t.PanId(0), "SrcEndpoint": 1, "ClusterId": t.ClusterId(ON_OFF)}
    to = t.AddrModeAddress(mode=mode, address=address)
    data = t.LongBytes(bytes.fromhex(TOGGLE))
    request = c.AF.DataRequestExt.Req(
        DstAddrModeAddress=to, **fields, TSN=1, Options=c.af.TransmitOptions(0), Radius=30, Data=data
    )
    assert spoken.ask(request).Status == t.Status.SUCCESS
