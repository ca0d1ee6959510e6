"""All parts together: what the server starts, reloads and stops."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ai_automation import __version__
from ai_automation.actions import Outside
from ai_automation.auth import Doorkeeper
from ai_automation.broker import TRIGGER, Broker, Message
from ai_automation.conditions import fits
from ai_automation.config import Config, Secrets
from ai_automation.engine import Engine, RefusedError
from ai_automation.health import Probe
from ai_automation.history import History
from ai_automation.mistakes import InvalidError
from ai_automation.peer import Peer
from ai_automation.rulebook import load_rules
from ai_automation.rules import Automation
from ai_automation.run import Run, Trigger
from ai_automation.streams import Streams

_log = logging.getLogger(__name__)


class Service:
    """The service without its web server.

    Args:
        config: the configuration.
        secrets: the tokens and passwords it needs.
        rules: the automations by id.
    """

    def __init__(self, config: Config, secrets: Secrets, rules: dict[str, Automation]) -> None:
        self.config = config
        self.history = History(Path(config.state) / "runs.db", config.limits.history_runs)
        self.streams = Streams(config.limits.streams)
        self.door = Doorkeeper(config.clients, config.limits.failed_logins)
        self.interrupted: list[Run] = []  # by the last stop
        self.stopped = threading.Event()
        self._reloading = threading.Lock()
        outside = _outside(config, secrets)
        self.engine = Engine(rules, outside, self.history, ZoneInfo(config.timezone), self._announce)
        self._broker = _broker(config, secrets, self.engine, self._received)
        outside.mqtt = self._broker
        self._probe = Probe(outside, config.limits.probe_seconds)

    def start(self) -> None:
        """Report what the last stop cut off, then begin."""
        self.interrupted = self.history.interrupt()
        for run in self.interrupted:
            _log.warning("run %s of %s was interrupted by a stop", run.id, run.automation)
            self._announce(run)
        self.engine.start()
        self.engine.run_on_loop(self._probe.start())
        if self._broker is not None:
            self._broker.start(_topics(self.engine.rules))

    def reload(self) -> None:
        """Read the rules again; where they are wrong, log it and keep the old ones."""
        with self._reloading:
            try:
                rules = load_rules(self.config)
            except InvalidError as error:
                for mistake in error.mistakes:
                    _log.error("%s", mistake)
                _log.error("the rules were not reloaded: the old ones stay in force")
                return
            self.engine.set_rules(rules)
            if self._broker is not None:
                self._broker.follow(_topics(rules))
            _log.info("%d automations are in force", len(rules))

    def stop(self) -> None:
        """Take no more runs, let the running ones end within the limit, report the rest, part."""
        try:
            _log.info("stopping; %d runs are unfinished", len(self.engine.unfinished()))
            self.engine.stop(self.config.limits.stop_seconds)
            self.streams.close()
            if self._broker is not None:
                self._broker.stop()
            self.engine.run_on_loop(self._probe.stop())
            self.engine.finish()
            self.history.close()
        finally:
            self.stopped.set()

    def health(self) -> tuple[dict[str, Any], bool]:
        """The states of the parts, and whether this service itself works."""
        well = self.engine.alive and not self.history.failing
        status = "ok" if well else "failing"
        return {
            "status": "stopping" if self.engine.stopping else status,
            "version": __version__,
            "automations": len(self.engine.rules),
            "history": "failing" if self.history.failing else "ok",
            "mqtt": self._broker.state if self._broker else "not_configured",
            **self._probe.states,
        }, well

    def _announce(self, run: Run) -> None:
        self.streams.tell({"type": "run", "run": run.to_json()})
        if self._broker is not None and run.moved():
            self._broker.report(run)

    def _received(self, message: Message) -> None:
        data = _payload(message.payload)
        trigger = Trigger("mqtt", data, topic=message.topic)
        if message.filter == f"{TRIGGER}+":
            self._called(message.topic.removeprefix(TRIGGER), trigger)
            return
        for automation in self.engine.rules.values():
            wanted = [t.mqtt for t in automation.triggers if t.mqtt and t.mqtt.topic == message.filter]
            if automation.enabled and any(fits(one, data) for one in wanted):
                self.engine.fire(automation, trigger)

    def _called(self, automation_id: str, trigger: Trigger) -> None:
        try:
            self.engine.call(automation_id, trigger)
        except RefusedError as error:
            _log.warning("mqtt: %s refused: %s", trigger.topic, error)


def _topics(rules: dict[str, Automation]) -> list[str]:
    return [
        t.mqtt.topic for rule in rules.values() if rule.enabled for t in rule.triggers if t.mqtt is not None
    ]


def _payload(raw: bytes) -> Any:
    text = raw.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _secret(secrets: Secrets, name: str) -> str:
    value = getattr(secrets, name)
    return value.get_secret_value() if value is not None else ""


def _outside(config: Config, secrets: Secrets) -> Outside:
    outside = Outside()
    for name in ("home_assistant", "mcp_hub"):
        part = getattr(config, name)
        if part is not None:
            token = _secret(secrets, f"{name}_token")
            setattr(outside, name, Peer(name, part.url, token, part.ca_file, part.timeout))
    model = config.model
    if model is not None and model.enabled:
        key = _secret(secrets, "model_key")
        outside.model = Peer("model", model.url, key, model.ca_file, model.timeout)
        outside.model_name = model.model
    return outside


def _broker(config: Config, secrets: Secrets, engine: Engine, received: Any) -> Broker | None:
    if config.mqtt is None:
        return None
    password = _secret(secrets, "mqtt_password")
    return Broker(config.mqtt, password, engine.loop, received, config.limits.body_bytes)
