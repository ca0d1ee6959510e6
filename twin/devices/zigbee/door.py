"""The door through which tests and `twin device` reach into the radio: HTTP on a root-only Unix socket."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from zigpy.zcl.clusters.general import LevelControl, OnOff
from zigpy.zcl.clusters.measurement import RelativeHumidity, TemperatureMeasurement

from twin.devices.zigbee import lamp
from twin.devices.zigbee.device import Device, key_of
from twin.devices.zigbee.kinds import LIGHT, SENSOR
from twin.devices.zigbee.line import Line

_MEASURED = {"temperature": TemperatureMeasurement, "humidity": RelativeHumidity}
_HUNDREDTHS = 100
_COLDEST, _HOTTEST = -40.0, 125.0


def door(line: Line) -> web.Application:
    """The routes.

    Args:
        line: the radio's line.
    """
    app = web.Application()
    routes = Routes(line)
    app.router.add_get("/state", routes.state)
    app.router.add_get("/events", routes.events)
    app.router.add_post("/sensor", routes.measure)
    app.router.add_post("/light", routes.switch)
    app.router.add_post("/adapter", routes.adapter)
    app.router.add_post("/device/{name}/{action}", routes.act)
    return app


class Routes:
    """What each request does; every change is written down before it is answered."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._radio = line.radio

    async def state(self, _request: web.Request) -> web.Response:
        """Radio and devices as they are, whatever anybody believes of them."""
        line, radio = self._line, self._radio
        adapter = {
            "listening": line.listening,
            "connected": line.connected,
            "started": radio.started,
            "open": radio.open,
            "address": f"tcp://{line.host}:{line.port}",
        }
        devices = {name: self._shown(device) for name, device in radio.devices.items()}
        return web.json_response({"adapter": adapter, "devices": devices})

    async def events(self, _request: web.Request) -> web.Response:
        """What happened, oldest first."""
        return web.json_response(list(self._radio.events))

    async def measure(self, request: web.Request) -> web.Response:
        """Set what the sensor measures (degrees Celsius, percent): it reports."""
        sensor = self._radio.devices[SENSOR.name]
        given: dict[str, float] = await request.json()
        for name, value in given.items():
            if name not in _MEASURED or not _COLDEST <= value <= _HOTTEST:
                return web.Response(status=400, text=f"the sensor does not measure {name} {value}")
            sensor.values[key_of(_MEASURED[name], "measured_value")] = round(value * _HUNDREDTHS)
        keys = {key_of(_MEASURED[name], "measured_value") for name in given}
        self._radio.note(SENSOR.name, "measured", **given)
        self._radio.say(sensor, sensor.report(keys))
        return self._done(sensor)

    async def switch(self, request: web.Request) -> web.Response:
        """Switch the lamp by hand ({"on": bool} or {"level": 1-254}): it reports."""
        light = self._radio.devices[LIGHT.name]
        given: dict[str, int] = await request.json()
        reports = [report for level in _given(given, "level") for report in lamp.dim(light, level, True)]
        reports += [report for on in _given(given, "on") for report in lamp.switch(light, bool(on))]
        self._radio.note(LIGHT.name, "switched by hand", **given)
        self._radio.say(light, reports)
        return self._done(light)

    async def adapter(self, request: web.Request) -> web.Response:
        """Pull the radio out ({"plugged": false}) or plug it in."""
        wanted: bool = (await request.json())["plugged"]
        await (self._line.plug_in() if wanted else self._line.pull_out())
        self._line.saved()
        return web.json_response({"heard": True})

    async def act(self, request: web.Request) -> web.Response:
        """Make a device join, leave, fall silent, or wake."""
        device = self._radio.devices.get(request.match_info["name"])
        action = _ACTIONS.get(request.match_info["action"])
        if device is None or action is None:
            return web.Response(status=404, text="no such device or action")
        action(self._radio, device)
        return self._done(device)

    def _done(self, device: Device) -> web.Response:
        self._line.saved()
        return web.json_response({"heard": self._line.connected and self._radio.reaches(device)})

    def _shown(self, device: Device) -> dict[str, Any]:
        kind = device.kind
        facts: dict[str, Any] = {
            "ieee": "0x" + kind.ieee.replace(":", ""),
            "model": next(v for (c, name), v in kind.attributes.items() if name == "model"),
            **{"joined": self._radio.reaches(device), "pairing": device.pairing, "silent": device.silent},
        }
        if kind is LIGHT:
            on, level = device.get(OnOff, "on_off"), device.get(LevelControl, "current_level")
            return {**facts, "on": on, "level": level}
        measured = {n: device.get(c, "measured_value") / _HUNDREDTHS for n, c in _MEASURED.items()}
        return {**facts, **measured}


def report_all(line: Line) -> None:
    """Every device that measures says what it measures, as its maximum interval makes it."""
    sensor = line.radio.devices[SENSOR.name]
    line.radio.say(
        sensor, sensor.report({key_of(cluster, "measured_value") for cluster in _MEASURED.values()})
    )


def _join(radio: Any, device: Device) -> None:
    device.reset()
    radio.try_joining(device)


def _silence(radio: Any, device: Device) -> None:
    device.silent = True
    radio.note(device.kind.name, "fell silent")


def _wake(radio: Any, device: Device) -> None:
    device.silent = False
    radio.note(device.kind.name, "woke")
    if radio.reaches(device):
        radio.announce(device)
    radio.try_joining(device)


def _leave(radio: Any, device: Device) -> None:
    radio.leave(device)


_ACTIONS = {"join": _join, "leave": _leave, "silence": _silence, "wake": _wake}


def _given(values: dict[str, int], name: str) -> list[int]:
    return [values[name]] if name in values else []
