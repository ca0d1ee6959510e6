"""How a device answers ZCL frames: general commands here, those of its clusters in `lamp`.

Source: Zigbee Cluster Library, revision 8, 2.4 and 2.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zigpy.zcl import foundation

from twin.devices.zigbee import lamp
from twin.devices.zigbee.device import Device, Said, definition, plain, typed

General = foundation.GeneralCommand
Status = foundation.Status
_NEVER = 0xFFFF  # this maximum interval turns reports off (2.5.7.1.6)
_ANSWERED = {General.Write_Attributes_No_Response, General.Report_Attributes, General.Default_Response}


def hear(device: Device, cluster: int, frame: bytes, unicast: bool = True) -> list[Said]:
    """What a device does with a frame.

    Args:
        device: who hears it; it changes.
        cluster: the frame's cluster id.
        frame: the ZCL frame.
        unicast: False: it went to many, and nobody answers with a default response.

    Returns:
        The answer, then the reports of what it changed.
    """
    header, payload = foundation.ZCLHeader.deserialize(frame)
    serves = cluster in {c.cluster_id for c in (*device.kind.inputs, *device.kind.outputs)}
    reply = Reply(device, cluster, header, unicast)
    if not serves or header.manufacturer is not None:
        return reply.default(Status.UNSUP_MANUF_CLUSTER_COMMAND if serves else Status.UNSUPPORTED_CLUSTER)
    if header.frame_control.is_cluster:
        status, answer, reports = lamp.command(device, cluster, header, payload)
        return [*(reply.cluster(answer) if answer else reply.default(status)), *reports]
    answering = _GENERAL.get(header.command_id)
    if answering:
        return answering(reply, payload)
    return [] if header.command_id in _ANSWERED else reply.default(Status.UNSUP_GENERAL_COMMAND)


class Reply:
    """Builds the answers to one frame."""

    def __init__(self, device: Device, cluster: int, header: Any, unicast: bool) -> None:
        self.device, self.on, self.header, self.unicast = device, cluster, header, unicast

    def general(self, command: Any, data: bytes) -> list[Said]:
        """A general command with the request's number."""
        header = foundation.ZCLHeader.general(self.header.tsn, command, direction=self._direction())
        return [Said(self.on, header.serialize() + data)]

    def cluster(self, answer: lamp.Answer) -> list[Said]:
        """A command of the cluster with the request's number."""
        header = foundation.ZCLHeader.cluster(self.header.tsn, answer.command, direction=self._direction())
        return [Said(self.on, header.serialize() + answer.data)] if self.unicast else []

    def default(self, status: Any) -> list[Said]:
        """A default response, unless nobody wants one."""
        quiet = self.header.frame_control.disable_default_response and status == Status.SUCCESS
        if not self.unicast or quiet:
            return []
        data = bytes([self.header.command_id, status])
        return self.general(General.Default_Response, data)

    def _direction(self) -> Any:
        return self.header.direction.flip()


def _read(reply: Reply, payload: bytes) -> list[Said]:
    asked = foundation.GENERAL_COMMANDS[General.Read_Attributes].schema.deserialize(payload)[0]
    data = b""
    for attribute in asked.attribute_ids:
        key = (reply.on, int(attribute))
        if key in reply.device.values:
            value = typed(*key, reply.device.values[key])
            record = foundation.ReadAttributeRecord(attribute, Status.SUCCESS, value)
        else:
            record = foundation.ReadAttributeRecord(attribute, Status.UNSUPPORTED_ATTRIBUTE)
        data += record.serialize()
    return reply.general(General.Read_Attributes_rsp, data)


def _write(reply: Reply, payload: bytes) -> list[Said]:
    given = foundation.GENERAL_COMMANDS[General.Write_Attributes].schema.deserialize(payload)[0].attributes
    statuses = [(_writable(reply, record), record) for record in given]
    undivided = reply.header.command_id == General.Write_Attributes_Undivided
    if not undivided or all(status == Status.SUCCESS for status, _ in statuses):
        for status, record in statuses:
            if status == Status.SUCCESS:
                reply.device.values[reply.on, int(record.attrid)] = plain(record.value.value)
    if reply.header.command_id == General.Write_Attributes_No_Response:
        return []
    records = [
        foundation.WriteAttributesStatusRecord(status=status, attrid=record.attrid)
        for status, record in statuses
    ]
    return reply.general(
        General.Write_Attributes_rsp, foundation.WriteAttributesResponse(records).serialize()
    )


def _writable(reply: Reply, record: Any) -> Any:
    what = definition(reply.on, int(record.attrid))
    if what is None or (reply.on, int(record.attrid)) not in reply.device.values:
        return Status.UNSUPPORTED_ATTRIBUTE
    if not what.access & (foundation.ZCLAttributeAccess.Write | foundation.ZCLAttributeAccess.Write_Optional):
        return Status.READ_ONLY
    return Status.SUCCESS if record.value.type == what.zcl_type else Status.INVALID_DATA_TYPE


def _configure(reply: Reply, payload: bytes) -> list[Said]:
    asked = foundation.GENERAL_COMMANDS[General.Configure_Reporting].schema.deserialize(payload)[0]
    records = []
    for config in asked.config_records:
        key = (reply.on, int(config.attrid))
        known = key in reply.device.values
        if known and config.direction == foundation.ReportingDirection.SendReports:
            reporting = reply.device.reporting
            (reporting.discard if config.max_interval == _NEVER else reporting.add)(key)
        record = foundation.ConfigureReportingResponseRecord()
        record.status = Status.SUCCESS if known else Status.UNSUPPORTED_ATTRIBUTE
        record.direction, record.attrid = config.direction, config.attrid
        records.append(record)
    answer = foundation.ConfigureReportingResponse(records)
    return reply.general(General.Configure_Reporting_rsp, answer.serialize())


def _discover(reply: Reply, payload: bytes) -> list[Said]:
    asked = foundation.GENERAL_COMMANDS[General.Discover_Attributes].schema.deserialize(payload)[0]
    all_ids = sorted(attribute for cluster, attribute in reply.device.values if cluster == reply.on)
    ids = [attribute for attribute in all_ids if attribute >= asked.start_attribute_id]
    shown = ids[: asked.max_attribute_ids]
    data = bytes([shown == ids])
    for attribute in shown:
        data += attribute.to_bytes(2, "little") + bytes([definition(reply.on, attribute).zcl_type])
    return reply.general(General.Discover_Attributes_rsp, data)


_GENERAL: dict[Any, Callable[[Reply, bytes], list[Said]]] = {
    General.Read_Attributes: _read,
    General.Write_Attributes: _write,
    General.Write_Attributes_Undivided: _write,
    General.Write_Attributes_No_Response: _write,
    General.Configure_Reporting: _configure,
    General.Discover_Attributes: _discover,
}
