"""Written by Hearth. `python check.py NEW NOW`: may Home Assistant run with NEW in the place of NOW?

Home Assistant's own check_config ends with 0 for much that does not work (seen on 2026.11): so its warnings
and its log are read too. It also never opens the recorder's database. What is wrong with NOW already (an
automation of the web interface whose device is gone) does not count. Values of secrets are not printed.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

WITHIN = 240  # seconds; the first time everything is compiled
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
BAD = re.compile(r"^(?:ERROR|CRITICAL):|contains duplicate key")


def main(new: Path, now: Path) -> int:
    """0 where it may."""
    hidden = secrets_of(new / "hearth/secrets.yaml")
    found = checked(new)
    if found and (now / "configuration.yaml").exists():
        before = set(checked(now))
        found = [line for line in found if line not in before]
    if not found:
        found = database_trouble(hidden.get("hearth_recorder"))
    for line in found:
        print(without(line, hidden), file=sys.stderr)
    return 1 if found else 0


def secrets_of(path: Path) -> dict[str, str]:
    """The secrets' values by name."""
    content = yaml.safe_load(path.read_text()) if path.exists() else None
    return {name: str(value) for name, value in (content or {}).items()}


def checked(folder: Path) -> list[str]:
    """What Home Assistant says against it."""
    argv = [sys.executable, "-m", "homeassistant", "--script", "check_config", "--config", str(folder)]
    # Nothing may be installed here: what is missing is an error, at once.
    env = {**os.environ, "UV_OFFLINE": "1", "HA_DISABLE_LOG_FILE": "1"}
    try:
        done = subprocess.run(
            [*argv, "--json", "--fail-on-warnings"],
            env=env,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"check_config took more than {WITHIN} seconds"]
    return [line.replace(f"{folder}/", "") for line in trouble(done.returncode, done.stdout, done.stderr)]


def trouble(code: int, out: str, err: str) -> list[str]:
    """Everything in check_config's output that speaks against the configuration.

    Args:
        code: its exit code.
        out: its output: log lines, then one JSON object.
        err: its error output.
    """
    out, err = COLOURS.sub("", out), COLOURS.sub("", err)
    log, _, _ = out.partition("\n{\n")
    report = report_in(out)
    if report is None:
        lines = [line for line in f"{err}\n{out}".splitlines() if line.strip()]
        # It says why, and then stumbles over having nothing to report: its own traceback helps nobody.
        return (
            [line for line in lines if line.startswith("Fatal error")] or lines[-20:] or [f"exit code {code}"]
        )
    said = [
        f"{where}: {text}"
        for kind in ("errors", "warnings")
        for where, texts in report[kind].items()
        for text in texts
        if isinstance(text, str)  # else it is the configuration itself, secrets and all
    ]
    said += [line for line in (*log.splitlines(), *err.splitlines()) if BAD.search(line)]
    return said or ([f"check_config ended with {code}"] if code else [])


def report_in(out: str) -> dict | None:
    """The JSON object at the end of the output; None where there is none."""
    start = out.rfind("\n{\n") + 1 if "\n{\n" in out else 0
    try:
        found = json.loads(out[start:])
    except ValueError:
        return None
    return found if isinstance(found, dict) and "errors" in found else None


def database_trouble(url: str | None) -> list[str]:
    """Why the recorder could not write to its database; nothing for SQLite."""
    if not url:
        return []
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(url)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, ImportError, ValueError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()][:4]
        return ["recorder: its database cannot be used:", *lines]
    return []


def without(text: str, hidden: dict[str, str]) -> str:
    """A text with `***` for the values of secrets."""
    for value in sorted(hidden.values(), key=len, reverse=True):
        for form in {value, repr(value)[1:-1], json.dumps(value)[1:-1], value.removeprefix("Bearer ")}:
            text = text.replace(form, "***")
    return text


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
