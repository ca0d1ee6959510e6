"""Data between the coordinator's endpoints and the devices' (the application framework)."""

from __future__ import annotations

from typing import Any

import zigpy_znp.commands as c
import zigpy_znp.types as t

from twin.devices.zigbee.monitor import on
from twin.devices.zigbee.radio import Radio
from twin.devices.zigbee.zcl import hear

OK = t.Status.SUCCESS
_BROADCAST = 0xFFF8  # from here on an address means many


@on(c.AF.Register.Req)
def register(radio: Radio, request: Any) -> Any:
    """Give the coordinator an endpoint."""
    if int(request.Endpoint) in radio.endpoints:
        return request.Rsp(Status=t.Status.APS_DUPLICATE_ENTRY)
    radio.endpoints[int(request.Endpoint)] = request
    return request.Rsp(Status=OK)


@on(c.AF.DataRequest.Req)
def send(radio: Radio, request: Any) -> Any:
    """Send a frame to one device; it is confirmed when the device's radio took it."""
    device = radio.by_nwk(request.DstAddr)
    status = OK if device else t.Status.NWK_NO_ROUTE
    radio.emit(c.AF.DataConfirm.Callback(Status=status, Endpoint=request.SrcEndpoint, TSN=request.TSN))
    if device is not None:
        _note(radio, device.kind.name, request)
        radio.say(device, hear(device, int(request.ClusterId), bytes(request.Data)), request.SrcEndpoint)
    return request.Rsp(Status=OK)


@on(c.AF.DataRequestExt.Req)
def send_to_many(radio: Radio, request: Any) -> Any:
    """Send a frame to a group or to all."""
    radio.emit(c.AF.DataConfirm.Callback(Status=OK, Endpoint=request.SrcEndpoint, TSN=request.TSN))
    to = request.DstAddrModeAddress
    for device in filter(radio.reaches, radio.devices.values()):
        in_group = to.mode == t.AddrMode.Group and int(to.address) in device.groups
        if in_group or (to.mode != t.AddrMode.Group and int(to.address) >= _BROADCAST):
            _note(radio, device.kind.name, request)
            heard = hear(device, int(request.ClusterId), bytes(request.Data), unicast=False)
            radio.say(device, heard, request.SrcEndpoint)
    return request.Rsp(Status=OK)


def _note(radio: Radio, who: str, request: Any) -> None:
    radio.note(who, "heard", cluster=int(request.ClusterId), frame=bytes(request.Data).hex())
