"""The page itself: one file of HTML, nothing from elsewhere, no scripts. What is data is escaped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hearth.pki.authority import RENEW
from hearth.report.asked import Asked
from hearth.report.gather import Page
from hearth.report.health import duration

TEMPLATE = "page.html.j2"
State = Literal["good", "bad", "unknown", "none"]
WORDS: dict[State, str] = {"good": "well", "bad": "look here", "unknown": "not known", "none": "none yet"}


@dataclass(frozen=True)
class Tile:
    """A section in a word, at the top of the page.

    Args:
        anchor: the section's id.
        title: its heading.
        state: how it is.
        text: in a few words.
    """

    anchor: str
    title: str
    state: State
    text: str

    @property
    def word(self) -> str:
        """The state in words: colour alone says nothing."""
        return WORDS[self.state]


def html(page: Page) -> str:
    """The page as HTML.

    Args:
        page: all that it shows.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.filters["moment"] = lambda at: f"{at:%Y-%m-%d %H:%M} UTC" if at else "not said"
    return environment.get_template(TEMPLATE).render(
        page=page, tiles={tile.anchor: tile for tile in tiles(page)}, due=RENEW.days
    )


def tiles(page: Page) -> tuple[Tile, ...]:
    """How each section is: pure."""
    return (
        _machines(page),
        _drift(page),
        _alerts(page),
        _backups(page),
        _drill(page),
        _certificates(page),
        _versions(page),
    )


def _unknown(anchor: str, title: str, asked: Asked[Any]) -> Tile:
    return Tile(anchor, title, "none" if asked.absent else "unknown", asked.why)


def _machines(page: Page) -> Tile:
    down = [part.guest.name for part in page.guests if part.state != "running"]
    dumb = [part.node.name for part in page.nodes if not part.health.known]
    if dumb:
        return Tile("machines", "Machines", "unknown", f"{', '.join(dumb)} did not answer")
    if down:
        return Tile("machines", "Machines", "bad", f"not running: {', '.join(down)}")
    return Tile("machines", "Machines", "good", f"{len(page.guests)} guests run")


def _drift(page: Page) -> Tile:
    found = page.drift.value
    if found is None:
        return _unknown("drift", "Drift", page.drift)
    if found.troubles:
        return Tile(
            "drift", "Drift", "unknown", f"{len(found.troubles)} not looked at, {len(found.findings)} found"
        )
    if found.findings:
        return Tile("drift", "Drift", "bad", f"{len(found.findings)} things are otherwise")
    return Tile("drift", "Drift", "good", "all as the project says")


def _alerts(page: Page) -> Tile:
    found = page.alerts.value
    if found is None:
        return _unknown("alerts", "Alerts", page.alerts)
    loud = [alert for alert in found if not alert.silenced]
    if loud:
        return Tile("alerts", "Alerts", "bad", f"{len(loud)} on")
    return Tile("alerts", "Alerts", "good", "none on")


def _backups(page: Page) -> Tile:
    if page.jobs.value is None:
        return _unknown("backups", "Backups", page.jobs)
    failed = [
        part.guest.name for part in page.guests if part.backup and part.backup.ended and not part.backup.good
    ]
    if failed:
        return Tile("backups", "Backups", "bad", f"the last one failed: {', '.join(failed)}")
    done = sum(1 for part in page.guests if part.backup and part.backup.good)
    if not page.jobs.value and not done:
        return Tile("backups", "Backups", "none", "Proxmox has no backup job")
    return Tile("backups", "Backups", "good", f"{done} of {len(page.guests)} guests have one")


def _drill(page: Page) -> Tile:
    found = page.drill.value
    if found is None:
        return _unknown("drill", "Last drill", page.drill)
    if found.good:
        return Tile("drill", "Last drill", "good", f"{found.began:%Y-%m-%d}, took {duration(found.total)}")
    return Tile("drill", "Last drill", "bad", f"{found.began:%Y-%m-%d}: a stage failed")


def _certificates(page: Page) -> Tile:
    found = page.certificates.value
    if found is None:
        return _unknown("certificates", "Certificates", page.certificates)
    if not found:
        return Tile("certificates", "Certificates", "none", "none are made yet")
    if found[0].days < RENEW.days:
        return Tile("certificates", "Certificates", "bad", f"{found[0].name}: {found[0].days} days left")
    return Tile("certificates", "Certificates", "good", f"the first ends in {found[0].days} days")


def _versions(page: Page) -> Tile:
    found = page.versions.value
    if found is None:
        return _unknown("versions", "Versions", page.versions)
    return Tile("versions", "Versions", "good", f"{len(found)} pinned")
