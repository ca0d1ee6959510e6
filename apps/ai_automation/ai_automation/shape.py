"""What a file must look like: pydantic's models, and its complaints in plain words."""

from __future__ import annotations

import difflib
import types
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ai_automation.mistakes import InvalidError, Mistake, Place, shown
from ai_automation.yamlfile import Document

Model = TypeVar("Model", bound=BaseModel)


class Shape(BaseModel):
    """A mapping of the file: unknown keys and wrong types are mistakes, and nothing is guessed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def build(model: type[Model], document: Document, place: Place = (), *, secret: bool = False) -> Model:
    """The model from a part of a document.

    Args:
        model: what the part must be.
        document: the file.
        place: where the part stands in it.
        secret: whether wrong values must not be shown.

    Raises:
        InvalidError: with every mistake of this part.
    """
    data = document.data
    for step in place:
        data = data[step]
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidError(
            _explain(model, document, place, item, secret) for item in error.errors()
        ) from None


def _explain(
    model: type[BaseModel], document: Document, place: Place, item: ErrorDetails, secret: bool
) -> Mistake:
    inside = tuple(
        step for step in item["loc"] if isinstance(step, int) or not step.startswith(("[", "function"))
    )
    inside = _real(inside, document, place)
    where = (*place, *inside)
    kind = item["type"]
    right = _right(model, inside)
    if kind == "extra_forbidden":
        return document.mistake(where, "is not a field here", _known(model, inside))
    if kind == "missing":
        return document.mistake(where, "is missing", right or "write it")
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind == "value_error":
        return document.mistake(
            where, message.partition(" | ")[0], message.partition(" | ")[2] or right or "mend it"
        )
    value = "its value" if secret or isinstance(item["input"], dict | list) else shown(item["input"])
    return document.mistake(where, f"{value} is wrong", right or message)


def _real(inside: Place, document: Document, place: Place) -> Place:
    """pydantic adds the names of a union's members to a place; only what stands in the file counts."""
    kept: Place = ()
    for number, step in enumerate(inside):
        last = number == len(inside) - 1
        if (*place, *kept, step) in document.lines or (last and step not in _TYPES):
            kept = (*kept, step)
    return kept


_TYPES = {"str", "int", "float", "bool"}


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models among what an annotation allows, looking through Optional, list and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, Annotated, list, tuple):
        return [found for part in get_args(annotation) for found in _models(part)]
    return []


def _field(model: type[BaseModel], inside: Place) -> tuple[FieldInfo | None, type[BaseModel] | None]:
    """The field at a place, and the model it belongs to."""
    owner: type[BaseModel] | None = model
    info: FieldInfo | None = None
    for step in inside:
        if isinstance(step, int):
            continue
        if owner is None:
            return None, None
        here = owner
        info = here.model_fields.get(step)
        if info is None:
            return None, here
        owner = next(iter(_models(info.annotation)), None)
    return info, owner


def _right(model: type[BaseModel], inside: Place) -> str:
    info, _ = _field(model, inside)
    return (info.description or "") if info else ""


def _known(model: type[BaseModel], inside: Place) -> str:
    _, owner = _field(model, inside)
    names = list(owner.model_fields) if owner else []
    near = difflib.get_close_matches(str(inside[-1]), names, 1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
