"""Gunicorn around the application: one process that serves, in threads, WebSockets too.

One, because the runs, their queues and the MQTT connection live in it. Gunicorn's master restarts it
when it dies; the runs it had are then reported interrupted.
"""

from __future__ import annotations

import fcntl
import logging
import selectors
import signal
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import ThreadWorker

from ai_automation.api import make_app
from ai_automation.config import Config, Secrets
from ai_automation.mistakes import InvalidError
from ai_automation.rulebook import load_rules
from ai_automation.rules import Automation
from ai_automation.service import Service

_log = logging.getLogger(__name__)

_SPARE = 12  # threads for requests that are answered at once
_LOCK = 5  # seconds for the worker of a master that was killed to go
_PART = 10  # seconds, beyond the runs' own limit, for saying good-bye
_HEAD_SECONDS = 10  # for a request's head to come, as HAProxy allows
_FIELDS, _FIELD = 50, 2048  # header fields at most, and bytes of one: more is refused
_HEAD = _FIELDS * _FIELD + 8192  # bytes; Gunicorn refuses what is longer without reading on


class _Worker(ThreadWorker):
    """The process that serves. A thread gets a request whose head is whole: a slow sender holds none."""

    def enqueue_req(self, conn: Any) -> None:
        if self.alive and not _head_came(conn):
            self._wait_for_more(conn)
        else:
            conn.data_ready, conn.head_until = True, None
            super().enqueue_req(conn)

    def _wait_for_more(self, conn: Any) -> None:
        conn.head_until = getattr(conn, "head_until", None) or time.monotonic() + _HEAD_SECONDS
        conn.timeout = conn.head_until
        conn.sock.setblocking(False)
        self.pending_conns.append(conn)
        again = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, again)

    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(signal.SIGHUP, self._on_hup)

    def _on_hup(self, number: int, frame: object) -> None:
        service = getattr(self.app, "service", None)
        if service is not None:
            threading.Thread(target=service.reload, name="reload").start()

    def handle_exit(self, sig: int, frame: object) -> None:
        """SIGTERM: the runs are brought to an end while answers under way are still given."""
        first = self.alive
        super().handle_exit(sig, frame)
        service = getattr(self.app, "service", None)
        if first and service is not None:
            threading.Thread(target=service.stop, name="stop").start()

    def is_parent_alive(self) -> bool:
        """An orphan (the master was killed) ends in order as well."""
        alive = bool(super().is_parent_alive())
        if not alive:
            self.handle_exit(signal.SIGTERM, None)
        return alive


def _head_came(conn: Any) -> bool:
    """Whether a thread would not have to wait for the head of the next request, or for its refusal."""
    if conn.parser is not None and conn.parser.unreader.buf.getvalue():
        return True  # read together with the request before
    try:
        seen = conn.sock.recv(_HEAD, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True  # the thread finds it broken
    came = not seen or b"\r\n\r\n" in seen or len(seen) >= _HEAD
    # The socket is readable again when there is more than was seen (socket(7), SO_RCVLOWAT).
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 if came else len(seen) + 1)
    return came


class _Master(Arbiter):
    """Gunicorn's master, whose SIGHUP reloads our rules instead of replacing the worker."""

    def handle_hup(self) -> None:
        self.kill_workers(signal.SIGHUP)

    def handle_int(self) -> None:
        self.handle_term()

    def handle_ttin(self) -> None:
        _log.warning("SIGTTIN ignored: there is one worker, always")

    def handle_ttou(self) -> None:
        _log.warning("SIGTTOU ignored: there is one worker, always")

    def handle_usr2(self) -> None:
        _log.warning("SIGUSR2 ignored: two of us would run every automation twice")


class _Application(BaseApplication):
    def __init__(self, config: Config, secrets: Secrets, rules: dict[str, Automation]) -> None:
        self._config = config
        self._secrets = secrets
        self._rules = rules
        self.service: Service | None = None
        super().__init__()

    def load_config(self) -> None:
        for name, value in _settings(self._config).items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called in the worker, after the fork: threads and connections do not survive one."""
        self.service = Service(self._config, self._secrets, self._newest_rules())
        self.service.start()
        return make_app(self.service)

    def _newest_rules(self) -> dict[str, Automation]:
        """A worker that replaces a dead one reads them again: they may have been reloaded meanwhile."""
        try:
            self._rules = load_rules(self._config)
        except InvalidError as error:
            _log.error("%s", error)
        return self._rules

    def run(self) -> None:
        _Master(self).run()


def _settings(config: Config) -> dict[str, Any]:
    limits = config.limits
    host = f"[{config.listen.host}]" if ":" in config.listen.host else config.listen.host
    return {
        "bind": f"{host}:{config.listen.port}",
        "workers": 1,
        "worker_class": _Worker,
        "threads": limits.streams + limits.waiting + _SPARE,
        "graceful_timeout": int(limits.stop_seconds) + 2 * _PART,
        "timeout": 60,
        "limit_request_fields": _FIELDS,
        "limit_request_field_size": _FIELD,
        "keepalive": 30,  # HAProxy keeps its connections to us
        "loglevel": config.log_level,
        "proc_name": "ai-automation",
        "control_socket_disable": True,
        "worker_exit": _on_exit,
    }


def _on_exit(master: object, worker: Any) -> None:
    """The worker waits for its runs before it goes."""
    service = getattr(worker.app, "service", None)
    if service is not None and not worker.alive:
        service.stopped.wait(worker.cfg.graceful_timeout)


def lock(config: Config) -> TextIO:
    """Make sure that nobody else works on this state folder.

    Returns:
        The lock: it is held until this is closed, or the process and its children have ended.

    Raises:
        OSError: the folder cannot be made or written.
        BlockingIOError: somebody else holds it.
    """
    folder = Path(config.state)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (folder / "lock").open("a")
    deadline = time.monotonic() + _LOCK
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise
            time.sleep(0.1)
        else:
            return file


def serve(config: Config, secrets: Secrets, rules: dict[str, Automation]) -> None:
    """Serve until told to end by SIGTERM or SIGINT. SIGHUP reloads the rules."""
    _Application(config, secrets, rules).run()
