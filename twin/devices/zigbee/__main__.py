"""`python -m twin.devices.zigbee`: the process of the radio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

import click
from aiohttp import web

from twin.devices.zigbee.door import door, report_all
from twin.devices.zigbee.line import Line
from twin.devices.zigbee.store import Store


@click.command()
@click.option("--listen", required=True, help="ADDRESS:PORT of the radio's line.")
@click.option("--door", "socket", required=True, type=click.Path(path_type=Path), help="Unix socket.")
@click.option("--state", required=True, type=click.Path(path_type=Path), help="File that keeps the radio.")
@click.option("--report-every", default=60.0, help="Seconds between the sensor's reports.")
def main(listen: str, socket: Path, state: Path, report_every: float) -> None:
    """Be a Zigbee coordinator with a sensor and a light behind it."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("twin.devices").setLevel(logging.INFO)
    host, _, port = listen.rpartition(":")
    asyncio.run(_serve(Line(host, int(port), Store(state)), socket, report_every))


async def _serve(line: Line, socket: Path, report_every: float) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await line.plug_in()
    runner = web.AppRunner(door(line), access_log=None)
    await runner.setup()
    socket.unlink(missing_ok=True)
    await web.UnixSite(runner, str(socket)).start()
    socket.chmod(0o600)
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), report_every)
        report_all(line)
    line.saved()
    await runner.cleanup()
    await line.pull_out()


if __name__ == "__main__":
    main()
