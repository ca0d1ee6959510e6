"""`python -m twin.devices.phone_app`: the phone by hand."""

from __future__ import annotations

import json
import os
import sys
import time

import click

from hearth.errors import HearthError
from twin.devices.phone import Phone

TOKEN = "HEARTH_PHONE_TOKEN"


@click.group()
@click.option("--url", required=True, help="Home Assistant, e.g. https://192.168.1.134:8123")
@click.option("--ca", required=True, type=click.Path(exists=True), help="The fleet's CA, PEM.")
@click.option("--name", default="phone", show_default=True, help="The phone's name.")
@click.option("--encrypted", is_flag=True, help="Seal what goes to the webhook.")
@click.pass_context
def main(ctx: click.Context, url: str, ca: str, name: str, encrypted: bool) -> None:
    """A phone with the app. The user's token stands in HEARTH_PHONE_TOKEN, never on the command line."""
    token = os.environ.get(TOKEN, "")
    if not token:
        raise HearthError("be a phone", f"{TOKEN} is not set", "put an access token there")
    ctx.obj = ctx.with_resource(Phone(url, ca, token, name, encrypted=encrypted))


@main.command()
@click.option("--seconds", default=0.0, help="How long; 0: until interrupted.")
@click.pass_obj
def listen(phone: Phone, seconds: float) -> None:
    """Register, and print notifications as they come: one JSON object a line."""
    phone.register()
    click.echo("registered", err=True)
    end = time.monotonic() + seconds
    shown = 0
    while not seconds or time.monotonic() < end:
        for notification in phone.notifications[shown:]:
            click.echo(json.dumps(notification))
            shown += 1
        time.sleep(0.1)


@main.command()
@click.argument("service")
@click.argument("values", nargs=-1)
@click.pass_obj
def call(phone: Phone, service: str, values: tuple[str, ...]) -> None:
    """Call a SERVICE (light.turn_on) with VALUES (entity_id=light.lamp brightness=100)."""
    data = {key: _plain(text) for key, _, text in (value.partition("=") for value in values)}
    click.echo(json.dumps(phone.call_service(service, **data)))


@main.command()
@click.argument("entity_id")
@click.pass_obj
def state(phone: Phone, entity_id: str) -> None:
    """Print an entity's state: JSON."""
    click.echo(json.dumps(phone.state(entity_id)))


def _plain(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    try:
        main()
    except HearthError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
