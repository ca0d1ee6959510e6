"""A Zigbee device: what it remembers, and how it answers the cluster library's general commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import zigpy.types as zt
from zigpy.zcl import foundation

from twin.devices.zigbee.kinds import CLUSTERS, Kind

General = foundation.GeneralCommand
Status = foundation.Status


@dataclass(frozen=True)
class Said:
    """A frame that a device sends.

    Args:
        cluster: its cluster id.
        data: the ZCL frame.
    """

    cluster: int
    data: bytes


@dataclass
class Device:
    """One device.

    Args:
        kind: its model.
        values: (cluster id, attribute id) -> value.
        network: the network whose key it has (`memory.network_id`), None: none.
        pairing: whether it joins the next network that lets it.
        silent: whether its radio is dead.
        bound: clusters bound to the coordinator.
        reporting: attributes that it reports when they change.
        groups: the groups that it is in.
        tsn: its last transaction number.
    """

    kind: Kind
    values: dict[tuple[int, int], Any]
    network: str | None = None
    pairing: bool = True
    silent: bool = False
    bound: set[int] = field(default_factory=set)
    reporting: set[tuple[int, int]] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)
    tsn: int = 0

    @classmethod
    def new(cls, kind: Kind) -> Device:
        """The device as it leaves the factory."""
        return cls(kind, {key_of(*name): value for name, value in kind.attributes.items()})

    def reset(self) -> None:
        """Forget the network, what was set up in it, and look for another."""
        self.network, self.pairing = None, True
        self.bound, self.reporting, self.groups = set(), set(), set()

    def get(self, cluster: Any, name: str) -> Any:
        """The value of an attribute, by its name."""
        return self.values[key_of(cluster, name)]

    def put(self, cluster: Any, name: str, value: Any) -> list[Said]:
        """Change an attribute; returns the report of it, where it is one to report."""
        key = key_of(cluster, name)
        old, self.values[key] = self.values[key], value
        return self.report({key}) if old != value and self._reports(key) else []

    def report(self, keys: set[tuple[int, int]]) -> list[Said]:
        """Report these attributes, a frame for each cluster."""
        said = []
        for cluster in sorted({cluster for cluster, _ in keys}):
            records = [
                foundation.Attribute(attrid=zt.uint16_t(attribute), value=typed(cluster, attribute, value))
                for (owner, attribute), value in sorted(self.values.items())
                if (owner, attribute) in keys and owner == cluster
            ]
            said.append(self._said(cluster, General.Report_Attributes, records))
        return said

    def dump(self) -> dict[str, Any]:
        """What it remembers, as JSON keeps it."""
        return {
            "values": {f"{cluster}/{attribute}": v for (cluster, attribute), v in self.values.items()},
            **{"network": self.network, "pairing": self.pairing, "silent": self.silent},
            "bound": sorted(self.bound),
            "reporting": sorted(map(list, self.reporting)),
            "groups": sorted(self.groups),
        }

    def load(self, data: dict[str, Any]) -> None:
        """Remember what `dump` described."""
        for key, value in data["values"].items():
            cluster, _, attribute = key.partition("/")
            self.values[int(cluster), int(attribute)] = value
        self.network, self.pairing, self.silent = data["network"], data["pairing"], data["silent"]
        self.bound, self.groups = set(data["bound"]), set(data["groups"])
        self.reporting = {(cluster, attribute) for cluster, attribute in data["reporting"]}

    def _reports(self, key: tuple[int, int]) -> bool:
        return key in self.reporting and key[0] in self.bound

    def _said(self, cluster: int, command: Any, records: list[Any]) -> Said:
        self.tsn = (self.tsn + 1) % 256
        header = foundation.ZCLHeader.general(
            self.tsn, command, direction=foundation.Direction.Server_to_Client
        )
        return Said(cluster, header.serialize() + b"".join(record.serialize() for record in records))


def key_of(cluster: Any, name: str) -> tuple[int, int]:
    """(cluster id, attribute id) of an attribute's name."""
    return int(cluster.cluster_id), int(getattr(cluster.AttributeDefs, name).id)


def definition(cluster: int, attribute: int) -> Any:
    """What the cluster library says of an attribute; None where it has none of this id."""
    known = CLUSTERS.get(cluster)
    return next((d for d in known.AttributeDefs if d.id == attribute), None) if known else None


def typed(cluster: int, attribute: int, value: Any) -> Any:
    """A value with its type, as it goes over the air."""
    what = definition(cluster, attribute)
    return foundation.TypeValue(type=what.zcl_type, value=what.type(value))


def plain(value: Any) -> Any:
    """A value from the air, as JSON keeps it."""
    if isinstance(value, str):
        return str(value)
    return bool(value) if isinstance(value, zt.Bool) else int(value)
