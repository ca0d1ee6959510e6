"""A page with something in every section, and one with nothing known; and Chromium to look at them."""
# ruff: noqa: E501  a page in one place, and what a browser is told

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from hearth.drift.finding import Drift, Finding, Trouble
from hearth.fleet.model import Guest, Node
from hearth.outdated.pins import Pin
from hearth.outdated.sources import PyPI
from hearth.report import alerts, backups, drill, health, topology
from hearth.report.asked import Asked, nothing
from hearth.report.gather import CertificatePart, GuestPart, NodePart, Page

NOW = datetime(2026, 11, 30, 10, 0, tzinfo=UTC)
EVIL = "<script>alert(1)</script>\" onload='x' &amp; {{ 7*7 }}"
GIB = 1024**3
NAMES = ("home-assistant", "database", "monitoring", "comms", "data", "security", "tailnet", "mqtt-standby")


def a_node(name: str = "pve") -> Node:
    return Node(
        name=name, address=IPv4Address("192.168.1.185"), endpoint="https://x:8006", storage="a", images="b"
    )


def a_guest(name: str, place: int, **more: Any) -> Guest:
    return Guest(
        name=name, kind="lxc", node="pve", vmid=100 + place, address=IPv4Address(f"192.168.1.{100 + place}"),
        roles=("base", "tailscale", "wall", "mosquitto"), **more,
    )  # fmt: skip


def full(**parts: Any) -> Page:
    """A page of a home where some is well and some is not."""
    edges = tuple(
        topology.Edge(user, provider, ("mosquitto.mqtts 8883", "front.web 443"), door)
        for user, provider, door in (
            ("home-assistant", "comms", False), ("home-assistant", "database", False), ("data", "database", False),
            ("home-assistant", "security", True), ("comms", "home-assistant", False),
        )
    )  # fmt: skip
    drawing = topology.draw({"pve": NAMES}, dict.fromkeys(NAMES, "running") | {"data": "stopped"}, edges)
    one = health.GuestHealth(health.Part("memory", 300 * 1024**2, 512 * 1024**2), 86400 * 3, 0.1)
    guests = tuple(
        GuestPart(
            a_guest(name, place), "pve", "stopped" if name == "data" else "running", None if name == "data" else one,
            backups.Last(100 + place, "pve", NOW - timedelta(hours=7), "job errors" if name == "comms" else "OK"),
        )
        for place, name in enumerate(NAMES)
    )  # fmt: skip
    node = health.NodeHealth(
        "9.2.11", "6.17.2-1-pve", 86400 * 40, 0.23,
        (health.Part("memory", 11 * GIB, 32 * GIB), health.Part("storage local-lvm", 300 * GIB, 900 * GIB)),
    )  # fmt: skip
    known: dict[str, Any] = {
        "made": NOW,
        "nodes": (NodePart(a_node(), Asked(node)),),
        "guests": guests,
        "drawing": Asked(drawing),
        "drift": Asked(
            Drift(
                (
                    Finding(
                        "comms",
                        "file",
                        "/etc/mosquitto/a-rather-long-name-of-a-file.conf",
                        "mode",
                        "666",
                        "640",
                    ),
                    Finding("comms", "guest", "", "memory", "512 MiB", "2048 MiB", "restart it"),
                ),
                (Finding("pve", "unmanaged", "200 test", "", "a VM that is not in the fleet file, running"),),
                (Trouble("database", "cannot reach database by SSH at 192.168.1.136"),),
            )
        ),
        "versions": Asked([Pin("uv", "0.13.9", "group_data/all.py: runtime_uv", PyPI("uv"))]),
        "jobs": Asked((backups.Job("backup-1", "03:00", "local", "all guests", True),)),
        "drill": Asked(
            drill.Drill(
                NOW - timedelta(days=3),
                (
                    drill.Stage("guests", 0, 95.5, True),
                    drill.Stage("state of database", 95.5, 40, True, "from 2026-11-26 04:00"),
                    drill.Stage("verification", 135.5, 30, False, "home_assistant.web did not answer"),
                ),
                165.5,
            )
        ),
        "certificates": Asked(
            (
                CertificatePart(
                    "comms", ("comms", "comms.home.arpa", "192.168.1.135"), NOW + timedelta(days=12), 12
                ),
                CertificatePart("the home's CA", (), NOW + timedelta(days=3000), 3000),
            )
        ),
        "alerts": Asked(
            (
                alerts.Alert("BackupOld", "warning", "comms", "The newest backup is 30 h old", NOW, False),
                alerts.Alert("GuestDown", "critical", "data", "data does not answer a ping", None, True),
            )
        ),
    }
    return Page(**(known | parts))


def well() -> Page:
    """A page where all is well."""
    good = tuple(
        GuestPart(part.guest, "pve", "running", part.health, backups.Last(1, "pve", NOW, "OK"))
        for part in full().guests
    )
    late = (CertificatePart("comms", ("comms",), NOW + timedelta(days=300), 300),)
    held = drill.Drill(NOW, (drill.Stage("guests", 0, 60, True),), 60)
    return full(
        guests=good, drift=Asked(Drift()), alerts=Asked(()), certificates=Asked(late), drill=Asked(held)
    )


def unknown() -> Page:
    """A page of which nothing could be asked."""
    no: Asked[Any] = Asked(why=f"cannot ask it: {EVIL}")
    return full(
        nodes=(NodePart(a_node(), no),),
        guests=tuple(GuestPart(a_guest(name, place), "pve", "unknown", None, None) for place, name in enumerate(NAMES)),
        drawing=no, drift=no, versions=no, jobs=no, drill=nothing("no drill was held"), certificates=no,
        alerts=nothing("no guest has the role alerts"),
    )  # fmt: skip


# ------------------------------------------------------------------------ browser


@dataclass
class Browser:
    """Chromium without a window, told what to do over its DevTools protocol on loopback."""

    url: str
    problems: list[str] = field(default_factory=list)

    def look(
        self, page: str, width: int, height: int, dark: bool, picture: Path | None = None
    ) -> dict[str, Any]:
        """Open a page at a size, light or dark, and measure it."""
        return asyncio.run(self._look(page, width, height, dark, picture))

    async def _look(
        self, page: str, width: int, height: int, dark: bool, picture: Path | None
    ) -> dict[str, Any]:
        async with connect(self.url, max_size=None, proxy=None) as line:
            talk = Talk(line)
            made = await talk("Target.createTarget", url="about:blank")
            session = (await talk("Target.attachToTarget", targetId=made["targetId"], flatten=True))[
                "sessionId"
            ]
            talk.session = session
            for domain in ("Page", "Runtime", "Log", "Network"):
                await talk(f"{domain}.enable")
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
            await talk("Emulation.setDeviceMetricsOverride", **metrics)
            scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            await talk("Emulation.setEmulatedMedia", features=scheme)
            await talk("Page.navigate", url=page)
            await talk.until("Page.loadEventFired")
            answer = await talk("Runtime.evaluate", expression=MEASURE, returnByValue=True)
            if picture:
                shot = await talk("Page.captureScreenshot", captureBeyondViewport=True)
                picture.write_bytes(base64.b64decode(shot["data"]))
            await talk("Target.closeTarget", targetId=made["targetId"])
            return {**answer["result"]["value"], "asked": talk.asked, "log": talk.log}


class Talk:
    """Requests and their answers; what the page asked for is kept."""

    def __init__(self, line: Any) -> None:
        self.line, self.number, self.session = line, 0, ""
        self.asked: list[str] = []
        self.log: list[str] = []
        self.seen: list[str] = []

    async def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if self.session and not method.startswith("Target."):
            message["sessionId"] = self.session
        await self.line.send(json.dumps(message))
        while True:
            told = await self._hear()
            if told.get("id") == self.number:
                assert "error" not in told, told
                return dict(told["result"])

    async def until(self, event: str) -> None:
        while event not in self.seen:
            await self._hear()

    async def _hear(self) -> dict[str, Any]:
        told = json.loads(await asyncio.wait_for(self.line.recv(), 20))
        self.seen.append(told.get("method", ""))
        if told.get("method") == "Network.requestWillBeSent":
            self.asked.append(told["params"]["request"]["url"])
        if told.get("method") == "Log.entryAdded":
            self.log.append(told["params"]["entry"]["text"])
        return dict(told)


# Sizes, and the contrast of every visible text against what is behind it (WCAG 2.2, relative luminance).
MEASURE = r"""
(() => {
  const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => { const l = [r, g, b].map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
  const behind = node => { for (let at = node; at; at = at.parentElement) { const c = rgb(getComputedStyle(at).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  let worst = 99, where = "";
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) { const at = walk.currentNode.parentElement; if (!walk.currentNode.data.trim()) continue;
    const style = getComputedStyle(at); const ink = at.closest("svg") ? style.fill : style.color;
    if (["title", "desc"].includes(at.tagName.toLowerCase())) continue;
    const [a, b] = [light(rgb(ink)), light(behind(at))]; const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst) { worst = ratio; where = at.outerHTML.slice(0, 120); } }
  const wide = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.tagName + "." + e.className);
  return { scroll: document.documentElement.scrollWidth, inner: innerWidth, worst, where, wide,
    background: getComputedStyle(document.body).backgroundColor, text: document.body.innerText };
})()
"""


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Chromium on loopback, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="hearth-browser-", ignore_cleanup_errors=True) as place:
        process = subprocess.Popen(
            [
                "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--disable-background-networking", "--remote-debugging-port=0",
                f"--user-data-dir={place}", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("DevTools listening on "):
                    yield Browser(line.split()[-1])
                    break
            else:
                raise AssertionError("Chromium did not start")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its helpers too
            process.wait(20)
