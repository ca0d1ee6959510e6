"""What the simulated devices are, as they leave the factory.

The models are ones that zigbee-herdsman-converters knows, so that Home Assistant gets their entities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zigpy.zcl.clusters.general import (
    Basic,
    Groups,
    Identify,
    LevelControl,
    OnOff,
    Ota,
    PowerConfiguration,
)
from zigpy.zcl.clusters.measurement import RelativeHumidity, TemperatureMeasurement

ENDPOINT = 1
HOME_AUTOMATION = 0x0104
CLUSTERS = {
    cluster.cluster_id: cluster
    for cluster in (
        *(Basic, PowerConfiguration, Identify, Groups, OnOff, LevelControl, Ota),
        *(TemperatureMeasurement, RelativeHumidity),
    )
}


@dataclass(frozen=True)
class Kind:
    """A model of device.

    Args:
        name: what `twin device` calls it.
        ieee: its address.
        nwk: the short address that it gets.
        manufacturer: its manufacturer code.
        device_type: of the Home Automation profile.
        router: mains powered and always listening; else a sleepy battery device.
        inputs: clusters that it serves.
        outputs: clusters that it uses.
        attributes: cluster class and attribute name -> value out of the factory.
    """

    name: str
    ieee: str
    nwk: int
    manufacturer: int
    device_type: int
    router: bool
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    attributes: dict[tuple[Any, str], Any]


def _basic(manufacturer: str, model: str, source: int) -> dict[tuple[Any, str], Any]:
    return {
        **{(Basic, "zcl_version"): 3, (Basic, "app_version"): 1, (Basic, "stack_version"): 2},
        **{(Basic, "hw_version"): 1, (Basic, "date_code"): "20260101", (Basic, "sw_build_id"): "1.0.0"},
        (Basic, "manufacturer"): manufacturer,
        (Basic, "model"): model,
        (Basic, "power_source"): source,
    }


SENSOR = Kind(
    name="sensor",
    ieee="00:12:4b:00:22:aa:00:01",
    nwk=0x4A21,
    manufacturer=0x1286,
    device_type=0x0302,
    router=False,
    inputs=(Basic, PowerConfiguration, Identify, TemperatureMeasurement, RelativeHumidity),
    outputs=(Identify,),
    attributes={
        **_basic("eWeLink", "TH01", source=3),
        (PowerConfiguration, "battery_voltage"): 30,
        (PowerConfiguration, "battery_percentage_remaining"): 200,
        (Identify, "identify_time"): 0,
        (TemperatureMeasurement, "measured_value"): 2150,
        (RelativeHumidity, "measured_value"): 4520,
    },
)

LIGHT = Kind(
    name="light",
    ieee="00:15:8d:00:bb:cc:00:02",
    nwk=0x5B32,
    manufacturer=0x1168,
    device_type=0x0101,
    router=True,
    inputs=(Basic, Identify, Groups, OnOff, LevelControl),
    outputs=(Ota,),
    attributes={
        **_basic("AIRAM", "ZBT-DimmableLight", source=1),
        (Identify, "identify_time"): 0,
        (Groups, "name_support"): 0,
        (OnOff, "on_off"): False,
        (OnOff, "start_up_on_off"): 0xFF,
        (LevelControl, "current_level"): 254,
        (LevelControl, "min_level"): 1,
        (LevelControl, "max_level"): 254,
        (LevelControl, "options"): 0,
        (LevelControl, "on_level"): 0xFF,
        (LevelControl, "start_up_current_level"): 0xFF,
    },
)

KINDS = {kind.name: kind for kind in (SENSOR, LIGHT)}


def kind_of(ieee: Any) -> Kind | None:
    """The device of an address."""
    return next((kind for kind in KINDS.values() if kind.ieee == str(ieee)), None)
