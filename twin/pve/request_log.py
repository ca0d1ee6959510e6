"""A log of every request: method, path, status, user. Never a body, so never a secret."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fakepve import FakePve
from fakepve.server import FORMATS, USER


@dataclass(frozen=True)
class Request:
    """One answered request.

    Attributes:
        method: GET, POST, PUT or DELETE.
        path: without `/api2/json` and without the query string.
        status: the HTTP status; 0 where the connection was dropped.
        user: who was logged in, or "".
        at: Unix time of the answer.
    """

    method: str
    path: str
    status: int
    user: str
    at: float


class Log:
    """The requests of one fake, in order of their answers.

    Args:
        file: where each is also written as one JSON object a line; None for nowhere.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.requests: list[Request] = []

    def add(self, request: Any, status: int) -> None:
        """Note an aiohttp request that was answered."""
        path = str(request.path)
        for prefix in FORMATS:
            path = path.removeprefix(prefix)
        entry = Request(request.method, path, status, request.get(USER) or "", time.time())
        self.requests.append(entry)
        if self.file is not None:
            with self.file.open("a") as out:
                out.write(json.dumps(asdict(entry)) + "\n")

    def clear(self) -> None:
        """Forget what was noted; the file is left as it is."""
        self.requests = []

    def writes(self) -> list[Request]:
        """The requests that may have changed something: all but GET."""
        return [entry for entry in self.requests if entry.method != "GET"]

    def of(self, method: str, part: str = "") -> list[Request]:
        """The requests of one method whose path contains `part`."""
        return [entry for entry in self.requests if entry.method == method and part in entry.path]


class RequestLog(FakePve):
    """Gives a fake its `log`. Set `log.file` to keep it in a file too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.log = Log()
