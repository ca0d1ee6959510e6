"""`python -m twin.devices.house`: the process of the house."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

import click

from hearth.errors import HearthError
from twin.devices.house.client import House, log
from twin.devices.house.login import Login, find
from twin.state import read_json, write_json

PAUSE = 2.0  # seconds between two tries


@click.command()
@click.option(
    "--broker", "brokers", required=True, multiple=True, help="ADDRESS:PORT; the first is preferred."
)
@click.option("--secrets", required=True, type=click.Path(path_type=Path), help="The file of secrets.")
@click.option("--identity", required=True, type=click.Path(path_type=Path), help="What opens it.")
@click.option("--state", required=True, type=click.Path(path_type=Path), help="File that keeps the states.")
@click.option("--source", default="", help="The house's own address; empty: whatever the system takes.")
@click.option("--every", default=30.0, help="Seconds between two new measurements.")
def main(
    brokers: tuple[str, ...], secrets: Path, identity: Path, *, state: Path, source: str, every: float
) -> None:
    """Be a device of many entities: wait for a login, connect, and come back whatever happens."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    house = House(read_json(state), lambda states: write_json(state, dict(states)), source)
    addresses = [(host, int(port)) for host, _, port in (broker.rpartition(":") for broker in brokers)]
    while not ended.is_set():
        login = _login(secrets, identity)
        if login is not None:
            _visit(house, addresses, login, ended, every)
        ended.wait(PAUSE)


def _visit(
    house: House, brokers: list[tuple[str, int]], login: Login, ended: threading.Event, every: float
) -> None:
    """Stay with the first broker that lets the house in."""
    for broker in brokers:
        try:
            if house.stay(broker, login, ended.is_set, every):
                log.info("left %s", broker[0])
                return
        except OSError as error:
            log.info("%s does not answer: %s", broker[0], error)


def _login(secrets: Path, identity: Path) -> Login | None:
    try:
        return find(secrets, identity)
    except HearthError as error:
        log.warning("%s", error)
        return None


if __name__ == "__main__":
    main()
