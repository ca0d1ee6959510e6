"""Z-Stack's Monitor and Test commands: from a frame to the function that answers it.

Commands and their fields: zigpy-znp, which has them from TI's "Z-Stack Monitor and Test API" (SWRA198).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zigpy_znp.commands as c
import zigpy_znp.types as t
from zigpy_znp.frames import GeneralFrame

from twin.devices.zigbee.radio import Radio

Handler = Callable[[Radio, Any], Any]
_HANDLERS: dict[int, tuple[Any, Handler]] = {}


def on(command: Any) -> Callable[[Handler], Handler]:
    """The function answers this request: it returns the response, or None where there is none."""

    def register(handler: Handler) -> Handler:
        _HANDLERS[int(command.header)] = (command, handler)
        return handler

    return register


def answer(radio: Radio, frame: Any) -> list[Any]:
    """The radio's response to a frame: none or one. What it says beyond that goes to `radio.emit`.

    Args:
        radio: who answers; it changes.
        frame: zigpy-znp's GeneralFrame.
    """
    known = _HANDLERS.get(int(frame.header))
    if known is None:
        return [_not_recognized(frame.header, c.rpc_error.ErrorCode.InvalidCommandId)]
    command, handler = known
    try:
        request = read(command, frame.data)
    except ValueError:
        return [_not_recognized(frame.header, c.rpc_error.ErrorCode.InvalidLength)]
    response = handler(radio, request)
    if response is None:
        return []
    return [response if isinstance(response, GeneralFrame) else response.to_frame()]


def read(command: Any, data: bytes) -> Any:
    """A request's fields; bytes beyond the last are ignored, as the firmware does.

    Raises:
        ValueError: it is too short.
    """
    fields = {}
    for field in command.schema:
        fields[field.name], data = field.type.deserialize(data)
    return command(**fields)


def response_to(command: Any, data: bytes) -> Any:
    """A response whose fields differ from what zigpy-znp believes."""
    return GeneralFrame(t.CommandHeader(0x0040 + int(command.header)), data)


def _not_recognized(header: Any, code: Any) -> Any:
    return c.RPCError.CommandNotRecognized.Rsp(ErrorCode=code, RequestHeader=header).to_frame()
