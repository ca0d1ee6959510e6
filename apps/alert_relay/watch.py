"""`python3 -m alert_relay.watch SETTINGS STATE`: the dead man, who tells when monitoring gives no sign of
life.

SETTINGS is JSON: "url", the ntfy topic with the signs of life; "user", "password"; "ca", the file of the
authority that its certificate must be from; "after", seconds without a sign; "every", seconds between two
looks; "again", seconds after which it is said once more; "targets", name -> URL as Apprise has it; "link", a
page that says what to do. STATE is a file for what was said last.
"""

from __future__ import annotations

import base64
import json
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from alert_relay.message import OVER, Message
from alert_relay.send import send

Sign = Literal["alive", "silent", "deaf"]  # deaf: the place where signs are left cannot be asked
TIMEOUT = 10  # seconds


@dataclass(frozen=True)
class Watch:
    """Where the dead man stands.

    Args:
        wrong: what is wrong; empty while all is well.
        since: when that began, or the program did; Unix time.
        told: when it was last said; 0: it was not.
    """

    wrong: str = ""
    since: float = 0.0
    told: float = 0.0


def decide(watch: Watch, sign: Sign, now: float, after: float, again: float) -> tuple[Watch, Message | None]:
    """Where it stands after a look, and what is to be said.

    `silent` counts at once: it is asked for all signs of the last `after` seconds. Who cannot be asked is
    given the same time.
    """
    if sign == "alive":
        back = Message(
            "over: monitoring is back", "it gives signs of life again", "default", "success", (OVER,)
        )
        return Watch(since=now), back if watch.told else None
    if watch.wrong != sign:
        watch = Watch(sign, now, watch.told)
    due = now - watch.since >= (after if sign == "deaf" else 0.0)
    if not due or (watch.told and now - watch.told < again):
        return watch, None
    return replace(watch, told=now), _alarm(sign)


def _alarm(sign: Sign) -> Message:
    if sign == "silent":
        title, body = "Monitoring is dead", "no sign of life: nobody would tell if something broke now"
    else:
        title, body = (
            "ntfy cannot be asked",
            "alerts may not arrive, and nobody knows whether monitoring lives",
        )
    return Message(title, body, "max", "failure", ("skull",))


def look(settings: Mapping[str, Any]) -> Sign:
    """Whether there was a sign of life in the last `after` seconds."""
    login = base64.b64encode(f"{settings['user']}:{settings['password']}".encode()).decode()
    url = f"{settings['url']}/json?poll=1&since={int(settings['after'])}s"
    request = Request(url, headers={"Authorization": f"Basic {login}"})
    context = ssl.create_default_context(cafile=settings["ca"]) if settings.get("ca") else None
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            lines = answer.read().decode().splitlines()
        return (
            "alive" if any(json.loads(line).get("event") == "message" for line in lines if line) else "silent"
        )
    except (URLError, OSError, ValueError, AttributeError):
        return "deaf"


def tell(targets: Mapping[str, str], message: Message, sends: Callable[[str, Message], bool] = send) -> bool:
    """Send a message to all; True where one at least took it."""
    taken = {name: sends(url, message) for name, url in targets.items()}
    for name in (name for name, well in taken.items() if not well):
        print(f"{name} did not take: {message.title}", file=sys.stderr, flush=True)
    return any(taken.values())


def step(watch: Watch, settings: Mapping[str, Any], now: float) -> Watch:
    """One look, and what follows from it. What nobody took is said again at the next look."""
    after, again = float(settings["after"]), float(settings["again"])
    new, message = decide(watch, look(settings), now, after, again)
    if message is None:
        return new
    told = replace(message, link=settings.get("link", ""))
    if tell(settings["targets"], told):
        return new
    return watch if message.kind == "success" else replace(new, told=watch.told)


def main(path: str, state: str) -> None:
    """Look for ever; SIGTERM ends it."""
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    watch = load(Path(state))
    started = time.time()
    # What is silent because everything has just been started (a power cut) is given its time.
    while not ended.wait(float(settings["every"])):
        now = time.time()
        if now - started < float(settings["after"]) and look(settings) != "alive":
            continue
        new = step(watch, settings, now)
        if new != watch:
            save(new, Path(state))
        watch = new


def load(path: Path) -> Watch:
    """What was said last; nothing where that cannot be read."""
    try:
        return Watch(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Watch()


def save(watch: Watch, path: Path) -> None:
    """Write down what was said."""
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(asdict(watch)), encoding="utf-8")
        new.replace(path)
    except OSError as error:  # a full disk must not silence it
        print(f"cannot write {path}: {error.strerror}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
