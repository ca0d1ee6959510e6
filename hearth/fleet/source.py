"""From the file to plain data with line numbers.

PyYAML reads the YAML; this file only refuses what a fleet file does not need and what could hurt
(size, depth, tags, anchors, duplicate keys) and remembers on which line everything stands.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hearth.fleet.mistakes import Place, Report, quoted

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 16  # the deepest key of a real file is the sixth level
MAX_NODES = 20_000  # a fleet of a hundred guests has some 3,000; PyYAML takes a second for these
_TAGS = "tag:yaml.org,2002:"  # what !! stands for
_LONGEST_NUMBER = 18  # digits; longer ones are texts (and Python refuses the longest of all)


@dataclass(frozen=True)
class YesNo:
    """A YAML boolean with its spelling, which may have been meant as a text (`no`, `on`)."""

    value: bool
    text: str


class RefusedError(Exception):
    """The file is not read any further; `line` is 0 where the whole file is meant."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


def read(path: Path, report: Report) -> dict[str, object] | None:
    """The file as plain data: dict, list, str, int, float and YesNo.

    Fills `report` with the lines and with the mistakes of YAML. Null values, aliases and values with
    tags are mistakes and left out of the data.

    Returns:
        The top mapping; None where there is nothing that could be looked at further.
    """
    text = _text(path, report)
    node, refused = (None, {}) if text is None else _compose(text, report)
    if node is None:
        return None
    report.lines[()] = 1
    data = _Plain(report, refused).value(node, ())
    if isinstance(data, dict):
        return data
    if not report.mistakes:
        report.add_line(1, (), "is not a mapping of keys to values", "begin with e.g. nodes:, guests:")
    return None


def _text(path: Path, report: Report) -> str | None:
    try:
        raw = _bytes(path)
    except FileNotFoundError:
        report.add_line(0, (), "there is no such file", "write it, or set HEARTH_FLEET to where it is")
    except IsADirectoryError:
        report.add_line(0, (), "is a folder", "name the file in it, e.g. fleet.yaml")
    except PermissionError:
        report.add_line(0, (), "may not be read", "give yourself the right: chmod u+r, or chown")
    except RefusedError as refused:
        report.add_line(0, (), str(refused), "a fleet file is a text of at most 1 MiB")
    except (OSError, ValueError) as failure:
        report.add_line(0, (), f"cannot be read: {failure}", "check the path")
    else:
        return _decoded(raw, report)
    return None


def _bytes(path: Path) -> bytes:
    info = path.stat()
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError
    if not stat.S_ISREG(info.st_mode):  # a pipe would wait for ever, /dev/zero never ends
        raise RefusedError("is not a regular file")
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise RefusedError("is larger than 1 MiB")
    return raw


def _decoded(raw: bytes, report: Report) -> str | None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as failure:
        line = raw.count(b"\n", 0, failure.start) + 1
        report.add_line(line, (), "is not UTF-8 text", "save it as UTF-8")
        return None
    if not text.strip():
        report.add_line(0, (), "is empty", "docs/fleet.md shows what belongs there")
        return None
    return text


class _Loader(yaml.SafeLoader):
    """SafeLoader that never follows an alias, and bounds depth and size."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.nodes = 0
        self.refused: dict[int, str] = {}  # id of a node -> what was used there

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _too_much(event, f"holds more than {MAX_NODES} values")
        if self.depth >= MAX_DEPTH:
            raise _too_much(event, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            alias = ScalarNode("", "", _mark(event), _mark(event))
            self.refused[id(alias)] = f"the YAML alias {event.anchor}"
            return alias
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        for what in ("anchor", "tag"):
            name = getattr(event, what, None)
            if name is not None:
                self.refused[id(node)] = f"the YAML {what} {name.replace(_TAGS, '!!')}"
        return node


def _mark(event: yaml.Event) -> yaml.Mark:
    return cast(yaml.Mark, event.start_mark)  # the stubs allow libyaml's too


def _too_much(event: yaml.Event, problem: str) -> RefusedError:
    return RefusedError(problem, _mark(event).line + 1)


def _compose(text: str, report: Report) -> tuple[Node | None, dict[int, str]]:
    right = "mend it there or on the line before"
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as failure:
        line = text.count("\n", 0, failure.position) + 1
        report.add_line(line, (), "holds a character that no text has", "is this a text file?")
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        where = f", column {mark.column + 1}" if mark else ""
        problem = ": ".join(part for part in (failure.context, failure.problem) if part)
        report.add_line(mark.line + 1 if mark else 1, (), f"is not YAML{where}: {_safe(problem)}", right)
    except RefusedError as refused:
        report.add_line(refused.line, (), str(refused), "no fleet needs that much; look for a slip there")
    except (ValueError, OverflowError) as failure:  # PyYAML on "\UFFFFFFFF" and the like
        report.add_line(1, (), f"is not YAML: {_safe(str(failure))}", "look at the escapes in quotes")
    else:
        if node is None or node.tag.endswith(":null"):
            report.add_line(0, (), "is empty", "docs/fleet.md shows what belongs there")
        else:
            return node, loader.refused
    return None, {}


def _safe(text: str) -> str:
    return quoted(text, 160)[1:-1]


class _Plain:
    """Turns PyYAML's nodes into plain data, noting lines and mistakes."""

    def __init__(self, report: Report, refused: dict[int, str]) -> None:
        self.report = report
        self.refused = refused

    def value(self, node: Node, place: Place) -> object:
        """The node's data; None where it is a mistake, which is then reported."""
        if id(node) in self.refused:
            self._mistake(node, place, f"{_safe(self.refused[id(node)])} is not allowed", "write it out")
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, place)
        if isinstance(node, SequenceNode):
            return self._sequence(node, place)
        data = _scalar(node)
        if data is None:
            self._mistake(node, place, "has no value", "write one, or remove the key")
        return data

    def _mistake(self, node: Node, place: Place, wrong: str, right: str) -> None:
        self.report.add_line(_line(node), place, wrong, right)

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, object]:
        data: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or id(key) in self.refused:
                self._mistake(key, place, "holds a key that is no plain word", "write a plain word")
                continue
            inner = (*place, key.value)
            if inner in self.report.lines:
                first = self.report.lines[inner]
                self._mistake(key, inner, f"stands twice (first on line {first})", "remove one of them")
                continue
            self.report.lines[inner] = _line(value if isinstance(value, ScalarNode) else key)
            plain = self.value(value, inner)
            if plain is not None:
                data[key.value] = plain
        return data

    def _sequence(self, node: SequenceNode, place: Place) -> list[object] | None:
        items = []
        for index, item in enumerate(node.value):
            self.report.lines[(*place, index)] = _line(item)
            items.append(self.value(item, (*place, index)))
        return None if any(item is None for item in items) else items


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _scalar(node: Node) -> object:
    """A scalar by YAML 1.1's rules, save that only plain decimals are numbers (a MAC is not base 60)."""
    text: str = node.value
    kind = node.tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return YesNo(text.lower() in {"yes", "true", "on"}, text)
    if kind == "int" and _is_decimal(text):
        return int(text)
    if kind == "float":
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _is_decimal(text: str) -> bool:
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER
    return plain and (digits == "0" or not digits.startswith("0"))
