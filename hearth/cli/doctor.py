"""`hearth doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from hearth.doctor.examine import Home, examine
from hearth.doctor.finding import Finding, all_well

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list of findings.")
@click.pass_obj
def doctor(home: Home, as_json: bool) -> int:
    """Say what is not as the fleet needs it, and what to type. Changes nothing; exits 0 when all is well."""
    findings = examine(home)
    if as_json:
        click.echo(json.dumps([finding.to_json() for finding in findings], indent=2))
    else:
        for line in lines(findings):
            click.echo(line)
    return 0 if all_well(findings) else 1


def lines(findings: Iterable[Finding]) -> Iterable[str]:
    """For people: one line a finding, and below it what to type."""
    findings = list(findings)
    for finding in findings:
        status = click.style(f"{finding.status:4}", fg=COLOURS[finding.status])
        yield f"{status} {finding.check}: {finding.text}"
        if finding.remedy:
            yield f"       -> {finding.remedy}"
    wrong = [finding for finding in findings if finding.status != "ok"]
    yield f"{len(wrong)} to mend" if wrong else "all is well"
