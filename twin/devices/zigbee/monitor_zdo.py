"""Zigbee device objects: who is there, what can it do, joining, binding, leaving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zigpy.zdo.types as zdo
import zigpy_znp.commands as c
import zigpy_znp.types as t

from twin.devices.zigbee import memory as nv
from twin.devices.zigbee.device import Device
from twin.devices.zigbee.kinds import ENDPOINT, HOME_AUTOMATION
from twin.devices.zigbee.monitor import on
from twin.devices.zigbee.radio import COORDINATOR, LINK_QUALITY, Radio

OK = t.Status.SUCCESS
DONE = zdo.Status.SUCCESS
_TEXAS_INSTRUMENTS = 0x0000
_CHANGE_CHANNEL = 0xFE


def answered(callback: Any, answer: Callable[[Radio, Any, Device | None], dict[str, Any]]) -> Any:
    """A handler: the request is taken, and the node that it is for answers, unless it does not hear.

    Args:
        callback: the message with the answer.
        answer: its fields besides Src; asked with the device, None: the coordinator itself.
    """

    def handle(radio: Radio, request: Any) -> Any:
        nwk = request.Dst if hasattr(request, "Dst") else request.DstAddr
        device = radio.by_nwk(nwk)
        if nwk == COORDINATOR or device is not None:
            radio.emit(callback(Src=t.NWK(nwk), **answer(radio, request, device)))
        return request.Rsp(Status=OK)

    return handle


def _endpoints(radio: Radio, _request: Any, device: Device | None) -> dict[str, Any]:
    ids = [ENDPOINT] if device else sorted(radio.endpoints)
    return {**_of(device), "ActiveEndpoints": c.zdo.EndpointList(map(t.uint8_t, ids))}


def _node(_radio: Radio, _request: Any, device: Device | None) -> dict[str, Any]:
    kind = device.kind if device else None
    router = zdo.LogicalType.Router if kind and kind.router else zdo.LogicalType.EndDevice
    node = c.zdo.NullableNodeDescriptor(
        logical_type=router if kind else zdo.LogicalType.Coordinator,
        **{"complex_descriptor_available": 0, "user_descriptor_available": 0, "reserved": 0},
        **{"aps_flags": 0, "frequency_band": zdo.NodeDescriptor.FrequencyBand.Freq2400MHz},
        mac_capability_flags=zdo.NodeDescriptor.MACCapabilityFlags(_mac(kind)),
        manufacturer_code=kind.manufacturer if kind else _TEXAS_INSTRUMENTS,
        **{"maximum_buffer_size": 80, "maximum_incoming_transfer_size": 160},
        **{"server_mask": 0x2C00, "maximum_outgoing_transfer_size": 160},
        descriptor_capability_field=zdo.NodeDescriptor.DescriptorCapability.NONE,
    )
    return {**_of(device), "NodeDescriptor": node}


def _mac(kind: Any) -> int:
    if kind is None:
        return 0x8F
    return 0x8E if kind.router else 0x80


def _simple(radio: Radio, request: Any, device: Device | None) -> dict[str, Any]:
    own = radio.endpoints.get(int(request.Endpoint))
    facts: tuple[Any, ...]
    if device is None and own is not None:
        facts = (own.ProfileId, own.DeviceId, own.DeviceVersion, own.InputClusters, own.OutputClusters)
    elif device is not None and request.Endpoint == ENDPOINT:
        ids = [[cluster.cluster_id for cluster in side] for side in (device.kind.inputs, device.kind.outputs)]
        facts = (HOME_AUTOMATION, device.kind.device_type, 1, *ids)
    else:
        return {**_of(device, zdo.Status.INVALID_EP), "SimpleDescriptor": _described(0, (0, 0, 0, [], []))}
    return {**_of(device), "SimpleDescriptor": _described(request.Endpoint, facts)}


def _described(endpoint: int, facts: tuple[Any, ...]) -> Any:
    names = ("profile", "device_type", "device_version", "input_clusters", "output_clusters")
    return zdo.SizePrefixedSimpleDescriptor(endpoint=endpoint, **dict(zip(names, facts, strict=True)))


def _of(device: Device | None, status: Any = DONE) -> dict[str, Any]:
    return {"Status": status, "NWK": t.NWK(device.kind.nwk if device else COORDINATOR)}


def _bind(radio: Radio, request: Any, device: Device | None) -> dict[str, Any]:
    if device is None or request.Address.ieee != nv.ieee(radio.memory):
        return {"Status": DONE}  # to a group, or between devices: taken, and nothing is sent there
    adds = isinstance(request, c.ZDO.BindReq.Req)
    (device.bound.add if adds else device.bound.discard)(int(request.ClusterId))
    return {"Status": DONE}


def _neighbours(radio: Radio, request: Any, device: Device | None) -> dict[str, Any]:
    near = [] if device else [d for d in radio.devices.values() if radio.reaches(d)]
    rows = [_neighbour(radio, d) for d in near][request.StartIndex :]
    table = zdo.Neighbors(Entries=len(near), StartIndex=request.StartIndex, NeighborTableList=rows)
    return {"Status": DONE, "Neighbors": table}


def _neighbour(radio: Radio, device: Device) -> Any:
    types, idle, permits = zdo.Neighbor.DeviceType, zdo.Neighbor.RxOnWhenIdle, zdo.Neighbor.PermitJoins
    return zdo.Neighbor(
        extended_pan_id=nv.nib_of(radio.memory).extendedPANID,
        ieee=t.EUI64.convert(device.kind.ieee),
        nwk=t.NWK(device.kind.nwk),
        device_type=types.Router if device.kind.router else types.EndDevice,
        rx_on_when_idle=idle.On if device.kind.router else idle.Off,
        relationship=zdo.Neighbor.Relationship.Child,
        **{"reserved1": 0, "permit_joining": permits.NotAccepting, "reserved2": 0, "depth": 1},
        lqi=LINK_QUALITY,
    )


def _routes(_radio: Radio, request: Any, _device: Device | None) -> dict[str, Any]:
    return {
        "Status": DONE,
        "Routes": zdo.Routes(Entries=0, StartIndex=request.StartIndex, RoutingTableList=[]),
    }


on(c.ZDO.ActiveEpReq.Req)(answered(c.ZDO.ActiveEpRsp.Callback, _endpoints))
on(c.ZDO.NodeDescReq.Req)(answered(c.ZDO.NodeDescRsp.Callback, _node))
on(c.ZDO.SimpleDescReq.Req)(answered(c.ZDO.SimpleDescRsp.Callback, _simple))
on(c.ZDO.BindReq.Req)(answered(c.ZDO.BindRsp.Callback, _bind))
on(c.ZDO.UnBindReq.Req)(answered(c.ZDO.UnBindRsp.Callback, _bind))
on(c.ZDO.MgmtLqiReq.Req)(answered(c.ZDO.MgmtLqiRsp.Callback, _neighbours))
on(c.ZDO.MgmtRtgReq.Req)(answered(c.ZDO.MgmtRtgRsp.Callback, _routes))


@on(c.ZDO.MgmtLeaveReq.Req)
def leave(radio: Radio, request: Any) -> Any:
    """Send a device away. Its answer goes out before it is gone."""
    device = radio.by_nwk(request.DstAddr)
    if device is not None:
        radio.emit(c.ZDO.MgmtLeaveRsp.Callback(Src=request.DstAddr, Status=DONE))
        radio.leave(device)
    return request.Rsp(Status=OK)


@on(c.ZDO.MgmtPermitJoinReq.Req)
def permit(radio: Radio, request: Any) -> Any:
    """Open or close the network. A router asked alone opens it too: its joiners come through it."""
    source = request.Dst if radio.by_nwk(request.Dst) else t.NWK(COORDINATOR)
    radio.emit(c.ZDO.MgmtPermitJoinRsp.Callback(Src=source, Status=DONE))
    radio.permit(int(request.Duration))
    return request.Rsp(Status=OK)


@on(c.ZDO.NwkAddrReq.Req)
def short_address(radio: Radio, request: Any) -> Any:
    """The short address of an address."""
    device = radio.by_ieee(request.IEEE)
    if device is not None:
        radio.emit(c.ZDO.NwkAddrRsp.Callback(**_addresses(device)))
    return request.Rsp(Status=OK)


@on(c.ZDO.IEEEAddrReq.Req)
def long_address(radio: Radio, request: Any) -> Any:
    """The address of a short address."""
    device = radio.by_nwk(request.NWK)
    if device is not None:
        radio.emit(c.ZDO.IEEEAddrRsp.Callback(**_addresses(device)))
    return request.Rsp(Status=OK)


def _addresses(device: Device) -> dict[str, Any]:
    nobody = c.zdo.NWKArray([])
    address = t.EUI64.convert(device.kind.ieee)
    return {**_of(device), "IEEE": address, "NumAssoc": 0, "Index": 0, "Devices": nobody}


@on(c.ZDO.MgmtNWKUpdateReq.Req)
def update(radio: Radio, request: Any) -> Any:
    """Change the channel; an energy scan is taken and not answered."""
    if request.ScanDuration == _CHANGE_CHANNEL:
        nv.change_channel(radio.memory, int(request.Channels))
        radio.note("radio", "changed its channel")
    return request.Rsp(Status=OK)


@on(c.ZDO.ExtRouteDisc.Req)
def discover_route(_radio: Radio, request: Any) -> Any:
    """All hang directly on the radio: no routes."""
    return request.Rsp(Status=OK)


@on(c.ZDO.ExtFindGroup.Req)
def find_group(radio: Radio, request: Any) -> Any:
    """Whether an endpoint of the radio is in a group."""
    status = OK if (int(request.Endpoint), int(request.GroupId)) in radio.groups else t.Status.FAILURE
    return request.Rsp(Group=t.Bytes(bytes([status]) + request.GroupId.serialize() + b"\0"))


@on(c.ZDO.ExtAddGroup.Req)
def add_group(radio: Radio, request: Any) -> Any:
    """Put an endpoint of the radio into a group."""
    radio.groups.add((int(request.Endpoint), int(request.GroupId)))
    return request.Rsp(Status=OK)
