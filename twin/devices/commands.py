"""`twin device ...`: the simulated devices, by hand."""

from __future__ import annotations

import json

import click

from hearth.errors import HearthError
from twin import packages
from twin.devices.control import Devices
from twin.state import Twin

_NAMES = click.Choice(["sensor", "light"])


@click.group()
@click.pass_context
def device(ctx: click.Context) -> None:
    """The simulated Zigbee devices: what they are, and what happens to them."""
    packages.need_root()
    twin = ctx.obj
    assert isinstance(twin, Twin)
    ctx.obj = Devices.of(twin)


@device.command(name="list")
@click.pass_obj
def show(devices: Devices) -> None:
    """Print adapter and devices as they are: JSON."""
    click.echo(json.dumps(devices.state(), indent=1))


@device.command()
@click.argument("celsius", type=float)
@click.pass_obj
def temperature(devices: Devices, celsius: float) -> None:
    """Let the sensor measure CELSIUS and report it."""
    _heard(devices.measure(temperature=celsius), "sensor")


@device.command()
@click.argument("percent", type=float)
@click.pass_obj
def humidity(devices: Devices, percent: float) -> None:
    """Let the sensor measure PERCENT and report it."""
    _heard(devices.measure(humidity=percent), "sensor")


@device.command()
@click.argument("to", required=False, type=click.Choice(["on", "off"]))
@click.option("--level", type=click.IntRange(1, 254), help="Brightness.")
@click.pass_obj
def light(devices: Devices, to: str | None, level: int | None) -> None:
    """Print the light's state: JSON; or switch it by hand."""
    how = {**({"level": level} if level else {}), **({"on": to == "on"} if to else {})}
    if how:
        _heard(devices.switch(**how), "light")
    else:
        click.echo(json.dumps(devices.light()))


@device.command()
@click.argument("name", type=_NAMES)
@click.pass_obj
def join(devices: Devices, name: str) -> None:
    """Reset a device: it joins as soon as the network is open."""
    devices.act(name, "join")


@device.command()
@click.argument("name", type=_NAMES)
@click.pass_obj
def leave(devices: Devices, name: str) -> None:
    """Take a device out of the network."""
    devices.act(name, "leave")


@device.command()
@click.argument("name", type=_NAMES)
@click.pass_obj
def silence(devices: Devices, name: str) -> None:
    """A flat battery: a device hears and says nothing."""
    devices.act(name, "silence")


@device.command()
@click.argument("name", type=_NAMES)
@click.pass_obj
def wake(devices: Devices, name: str) -> None:
    """A silent device is back."""
    devices.act(name, "wake")


@device.command()
@click.pass_obj
def unplug(devices: Devices) -> None:
    """Pull the Zigbee adapter out: it listens no more, its connections end."""
    devices.plug(False)


@device.command()
@click.pass_obj
def plug(devices: Devices) -> None:
    """Plug the Zigbee adapter in again."""
    devices.plug(True)


@device.command()
@click.pass_obj
def log(devices: Devices) -> None:
    """Print what happened: one JSON object a line."""
    for event in devices.events():
        click.echo(json.dumps(event))


def _heard(heard: bool, name: str) -> None:
    if not heard:
        raise HearthError(
            f"report from the {name}",
            "nobody hears it: it has not joined, is silent, or nobody holds the adapter",
            "see `python -m twin device list`",
        )
