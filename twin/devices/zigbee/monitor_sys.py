"""The radio's own commands: reset, version, non-volatile memory, commissioning, facts about itself."""

from __future__ import annotations

import struct
from typing import Any

import zigpy_znp.commands as c
import zigpy_znp.types as t
from zigpy_znp.types.nvids import OsalNvIds

from twin.devices.zigbee import memory as nv
from twin.devices.zigbee.monitor import on, response_to
from twin.devices.zigbee.radio import COORDINATOR, Radio

OK = t.Status.SUCCESS
TRANSPORT, PRODUCT, MAJOR, MINOR, MAINTENANCE = 2, 1, 2, 7, 1  # product 1: Z-Stack 3.x.0
REVISION = 20240710
_PIECE = 240  # bytes that one answer carries
_NOBODY = 0xFFFE


@on(c.SYS.ResetReq.Req)
def reset(radio: Radio, _request: Any) -> None:
    """Restart; the answer is that it came up again."""
    radio.restart()
    radio.emit(
        c.SYS.ResetInd.Callback(
            **{"Reason": t.ResetReason.External, "TransportRev": TRANSPORT, "ProductId": PRODUCT},
            **{"MajorRel": MAJOR, "MinorRel": MINOR, "MaintRel": MAINTENANCE},
        )
    )


@on(c.SYS.Ping.Req)
def ping(_radio: Radio, request: Any) -> Any:
    """The subsystems there are."""
    can = t.MTCapabilities
    return request.Rsp(Capabilities=can.SYS | can.AF | can.ZDO | can.UTIL | can.APP_CNF | can.GP)


@on(c.SYS.Version.Req)
def version(_radio: Radio, request: Any) -> Any:
    """Which firmware it claims to be."""
    return request.Rsp(
        **{"TransportRev": TRANSPORT, "ProductId": PRODUCT, "MajorRel": MAJOR, "MinorRel": MINOR},
        **{"MaintRel": MAINTENANCE, "CodeRevision": REVISION},
    )


@on(c.SYS.GetExtAddr.Req)
def address(radio: Radio, request: Any) -> Any:
    """Its own address."""
    return request.Rsp(ExtAddr=nv.ieee(radio.memory))


@on(c.SYS.OSALNVLength.Req)
def length(radio: Radio, request: Any) -> Any:
    """An item's length; 0: there is none."""
    return request.Rsp(ItemLen=len(radio.memory.items.get(int(request.Id), b"")))


@on(c.SYS.OSALNVRead.Req)
@on(c.SYS.OSALNVReadExt.Req)
def read_item(radio: Radio, request: Any) -> Any:
    """A piece of an item."""
    item = radio.memory.items.get(int(request.Id))
    if item is None:
        return request.Rsp(Status=t.Status.INVALID_PARAMETER, Value=t.ShortBytes(b""))
    return request.Rsp(Status=OK, Value=t.ShortBytes(item[request.Offset : request.Offset + _PIECE]))


@on(c.SYS.OSALNVItemInit.Req)
def make_item(radio: Radio, request: Any) -> Any:
    """Make an item; one that is there stays as it is."""
    if int(request.Id) in radio.memory.items:
        return request.Rsp(Status=OK)
    radio.memory.items[int(request.Id)] = bytes(request.Value).ljust(request.ItemLen, b"\0")
    return request.Rsp(Status=t.Status.NV_ITEM_UNINIT)


@on(c.SYS.OSALNVWrite.Req)
@on(c.SYS.OSALNVWriteExt.Req)
def write_item(radio: Radio, request: Any) -> Any:
    """Write into an item that is there, and not beyond its end."""
    item = radio.memory.items.get(int(request.Id))
    if item is None:
        return request.Rsp(Status=t.Status.NV_ITEM_UNINIT)
    if request.Offset + len(request.Value) > len(item):
        return request.Rsp(Status=t.Status.NV_BAD_ITEM_LEN)
    radio.memory.write(int(request.Id), request.Offset, bytes(request.Value))
    return request.Rsp(Status=OK)


@on(c.SYS.OSALNVDelete.Req)
def delete_item(radio: Radio, request: Any) -> Any:
    """Remove an item whose length the caller knows."""
    item = radio.memory.items.get(int(request.Id))
    if item is None:
        return request.Rsp(Status=t.Status.NV_ITEM_UNINIT)
    if len(item) != request.ItemLen:
        return request.Rsp(Status=t.Status.NV_BAD_ITEM_LEN)
    del radio.memory.items[int(request.Id)]
    return request.Rsp(Status=OK)


@on(c.SYS.NVLength.Req)
def row_length(radio: Radio, request: Any) -> Any:
    """The length of a table's row; 0: there is none."""
    return request.Rsp(Length=len(radio.memory.tables.get(_row(request), b"")))


@on(c.SYS.NVRead.Req)
def read_row(radio: Radio, request: Any) -> Any:
    """A piece of a table's row."""
    row = radio.memory.tables.get(_row(request))
    if row is None:
        return request.Rsp(Status=t.Status.NV_OPER_FAILED, Value=t.ShortBytes(b""))
    return request.Rsp(Status=OK, Value=t.ShortBytes(row[request.Offset :][: request.Length]))


@on(c.SYS.NVCreate.Req)
def make_row(radio: Radio, request: Any) -> Any:
    """Make a row of a table."""
    radio.memory.tables.setdefault(_row(request), bytes(request.Length))
    return request.Rsp(Status=OK)


@on(c.SYS.NVWrite.Req)
def write_row(radio: Radio, request: Any) -> Any:
    """Write into a row of a table."""
    if _row(request) not in radio.memory.tables:
        return request.Rsp(Status=t.Status.NV_ITEM_UNINIT)
    radio.memory.write_row(_row(request), request.Offset, bytes(request.Value))
    return request.Rsp(Status=OK)


@on(c.SYS.StackTune.Req)
def tune(_radio: Radio, request: Any) -> Any:
    """Power and the like: nothing to set here, the value is taken."""
    return request.Rsp(Value=request.Value)


@on(c.UTIL.LEDControl.Req)
def led(_radio: Radio, request: Any) -> Any:
    """There is no lamp on it."""
    return request.Rsp(Status=OK)


@on(c.UTIL.GetDeviceInfo.Req)
def device_info(radio: Radio, request: Any) -> Any:
    """What it is, and who is near."""
    near = [t.NWK(device.kind.nwk) for device in radio.devices.values() if radio.reaches(device)]
    return request.Rsp(
        **{"Status": OK, "IEEE": nv.ieee(radio.memory), "DeviceType": t.DeviceTypeCapabilities(7)},
        **{"NWK": t.NWK(COORDINATOR if radio.started else _NOBODY), "DeviceState": radio.state},
        AssociatedDevices=t.NWKList(near),
    )


@on(c.UTIL.AssocGetWithAddress.Req)
def associated(radio: Radio, request: Any) -> Any:
    """How a device hangs on the radio; the fields beyond these three nobody reads."""
    found = radio.by_ieee(request.IEEE)
    relation = (c.util.NodeRelation.CHILD_FFD_RX_IDLE, c.util.NodeRelation.CHILD_RFD)
    nwk, kind = (found.kind.nwk, relation[not found.kind.router]) if found else (_NOBODY, 0xFF)
    return response_to(request.Req, struct.pack("<HHB", nwk, 0, kind).ljust(31, b"\0"))


@on(c.UTIL.AssocRemove.Req)
@on(c.UTIL.AssocAdd.Req)
def associate(_radio: Radio, request: Any) -> Any:
    """The table of associations is what the devices are: nothing to change."""
    return request.Rsp(Status=OK)


@on(c.AppConfig.BDBSetChannel.Req)
def set_channel(radio: Radio, request: Any) -> Any:
    """The channels for the next network; secondary ones are not used."""
    if request.IsPrimary:
        radio.memory.items[int(OsalNvIds.CHANLIST)] = request.Channel.serialize()
    return request.Rsp(Status=OK)


@on(c.AppConfig.BDBStartCommissioning.Req)
def commission(radio: Radio, request: Any) -> Any:
    """Form or restore the network."""
    radio.start()
    return request.Rsp(Status=OK)


@on(c.ZDO.StartupFromApp.Req)
def startup(radio: Radio, request: Any) -> Any:
    """Start the network in the memory, a new one where there is none."""
    restored = nv.formed(radio.memory)
    radio.start()
    states = c.zdo.StartupState
    return request.Rsp(State=states.RestoredNetworkState if restored else states.NewNetworkState)


@on(c.ZDO.ExtNwkInfo.Req)
def network_info(radio: Radio, request: Any) -> Any:
    """The network's facts, as zigbee-herdsman reads them (zigpy-znp leaves the state out)."""
    if not nv.formed(radio.memory):
        return response_to(request.Req, struct.pack("<HBHH", _NOBODY, radio.state, 0xFFFF, 0) + bytes(17))
    nib = nv.nib_of(radio.memory)
    head = struct.pack("<HBHH", COORDINATOR, radio.state, nib.nwkPanId, COORDINATOR)
    tail = nib.extendedPANID.serialize() + bytes(8) + bytes([nib.nwkLogicalChannel])
    return response_to(request.Req, head + tail)


def _row(request: Any) -> tuple[int, int]:
    return int(request.ItemId), int(request.SubId)
