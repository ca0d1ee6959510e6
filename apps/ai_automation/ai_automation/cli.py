"""The command `ai-automation`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from ai_automation import __version__
from ai_automation.config import Config, Secrets, load_config, load_secrets
from ai_automation.mistakes import InvalidError, Mistake
from ai_automation.rulebook import load_rules
from ai_automation.rules import Automation


@click.command()
@click.option(
    "--config", "path", required=True, type=click.Path(path_type=Path), help="the configuration file"
)
@click.option(
    "--check", is_flag=True, help="only validate config, rules and, where it is there, the secrets file"
)
@click.version_option(__version__)
def main(path: Path, check: bool) -> None:
    """Serve a home's automations, or check their files."""
    try:
        config, secrets, rules = _load(path, check)
    except InvalidError as error:
        for mistake in error.mistakes:
            click.echo(str(mistake), err=True)
        count = len(error.mistakes)
        click.echo(f"{count} mistake{'s' if count != 1 else ''}; nothing was started", err=True)
        sys.exit(1)
    if check:
        click.echo(f"{path}: fine, {len(rules)} automations")
        return
    _serve(config, secrets, rules)


def _load(path: Path, check: bool) -> tuple[Config, Secrets, dict[str, Automation]]:
    """The files; the mistakes of secrets and rules together."""
    config = load_config(path)
    mistakes: list[Mistake] = []
    secrets, rules = Secrets(), dict[str, Automation]()
    try:
        secrets = load_secrets(config, must_exist=not check)
    except InvalidError as error:
        mistakes += error.mistakes
    try:
        rules = load_rules(config)
    except InvalidError as error:
        mistakes += error.mistakes
    if mistakes:
        raise InvalidError(mistakes)
    return config, secrets, rules


def _serve(config: Config, secrets: Secrets, rules: dict[str, Automation]) -> None:
    from ai_automation.server import lock, serve  # a check needs neither Flask nor gunicorn

    _log_to_stderr(config, secrets)
    try:
        held = lock(config)
    except BlockingIOError:
        sys.exit(f"cannot serve: another ai-automation works in {config.state} (stop it first)")
    except OSError as error:
        sys.exit(f"cannot use the state folder {config.state}: {error.strerror} (give it to this user)")
    with held:
        serve(config, secrets, rules)


class _Redact(logging.Formatter):
    """The last net: whatever is logged, no secret is in it."""

    def __init__(self, secrets: list[str]) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._secrets = [secret for secret in secrets if secret]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _log_to_stderr(config: Config, secrets: Secrets) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Redact(secrets.values()))
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every request
    logging.getLogger("httpcore").setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
