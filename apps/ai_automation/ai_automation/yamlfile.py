"""From a YAML file to plain data, with the line of every key.

Values are read by YAML 1.2's core rules (yaml.org/spec/1.2.2, section 10.3): `on`, `no` and `17:30` are
texts, as people mean them, where YAML 1.1 makes booleans and 1050 of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ai_automation.mistakes import InvalidError, Mistake, Place, dotted, shown

MAX_BYTES = 512 * 1024
MAX_DEPTH = 32
_KINDS = {"str", "int", "float", "bool", "null", "map", "seq"}
_PREFIX = "tag:yaml.org,2002:"


@dataclass
class Document:
    """A file that was read.

    Args:
        file: the path as it was given.
        data: dict, list, str, int, float, bool, None.
        lines: the line of every place.
    """

    file: str
    data: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def mistake(self, place: Place, wrong: str, right: str) -> Mistake:
        """A mistake at a place, with the line of the nearest key that is in the file."""
        known = place
        while known and known not in self.lines:
            known = known[:-1]
        return Mistake(self.file, self.lines.get(known, 1), dotted(place), wrong, right)


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as PyYAML has it


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]{0,17})$", list("-+0123456789")),
    (
        "float",
        r"^[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,2})?$",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_PREFIX + _tag, re.compile(_pattern), _first)


def read(path: Path) -> Document:
    """Read a YAML file.

    Args:
        path: UTF-8, at most 512 KiB, no aliases, no tags, no key twice.

    Raises:
        InvalidError: with every mistake of YAML's own; what the values mean is not looked at.
    """
    text = _text(path)
    document = Document(str(path), None)
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = error.problem or error.context or "unreadable"
        wrong = f"is not YAML: {problem}"
        raise InvalidError(
            [Mistake(str(path), line, "", wrong, "mend it there or on the line before")]
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _whole(path, f"is not YAML: {str(error).splitlines()[0]}", "mend it") from None
    if node is None:
        raise _whole(path, "is empty", "README.md shows what belongs there")
    mistakes: list[Mistake] = []
    document.data = _plain(node, (), document, mistakes)
    if mistakes:
        raise InvalidError(mistakes)
    return document


def _whole(path: Path, wrong: str, right: str) -> InvalidError:
    return InvalidError([Mistake(str(path), 0, "", wrong, right)])


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _whole(path, f"cannot be read: {error.strerror}", "check the path and its rights") from None
    if len(raw) > MAX_BYTES:
        raise _whole(path, "is larger than 512 KiB", "split it")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _whole(path, "is not UTF-8 text", "save it as UTF-8") from None


def _plain(node: Node, place: Place, document: Document, mistakes: list[Mistake]) -> Any:
    """The node's data; its mistakes are added to `mistakes`."""
    document.lines.setdefault(place, node.start_mark.line + 1)
    if len(place) > MAX_DEPTH:
        mistakes.append(document.mistake(place, f"is nested deeper than {MAX_DEPTH} levels", "flatten it"))
        return None
    if node.tag.removeprefix(_PREFIX) not in _KINDS:
        mistakes.append(document.mistake(place, f"has the YAML tag {node.tag}", "leave the tag out"))
        return None
    if isinstance(node, MappingNode):
        return _mapping(node, place, document, mistakes)
    if isinstance(node, SequenceNode):
        return [_plain(item, (*place, i), document, mistakes) for i, item in enumerate(node.value)]
    assert isinstance(node, ScalarNode)
    try:
        return _scalar(node.tag.removeprefix(_PREFIX), node.value)
    except ValueError:
        mistakes.append(
            document.mistake(place, f"{shown(node.value)} is not what its tag says", "leave it out")
        )
        return None


def _mapping(node: MappingNode, place: Place, document: Document, mistakes: list[Mistake]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            mistakes.append(
                Mistake(document.file, line, dotted(place), "has a key that is no text", "write a name")
            )
            continue
        key = str(key_node.value)
        here = (*place, key)
        if key in found:
            first = document.lines[here]
            wrong = f"stands twice, first on line {first}"
            mistakes.append(Mistake(document.file, line, dotted(here), wrong, "keep one"))
            continue
        document.lines[here] = line
        found[key] = _plain(value_node, here, document, mistakes)
    return found


def _scalar(tag: str, text: str) -> Any:
    match tag:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text)
        case "float":
            return float(text)
        case _:
            return text
