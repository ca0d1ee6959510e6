"""Jinja in a sandbox (jinja.palletsprojects.com/en/stable/sandbox).

A value that is one expression and nothing else, `"{{ trigger.data.level }}"`, keeps its type: a number
stays a number. Anything else is a text. What comes in with a trigger is data and never read as a template.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

VARIABLES = frozenset({"trigger", "results", "run", "now"})
MOST_TEXT = 65536  # characters that a template may give
_MOST_PLACES = 32  # of a number in a product
_MOST_STEPS = 1000  # of a range
_PADDING = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs", "format", "format_map", "translate"})


class BadTemplateError(Exception):
    """A template that cannot be read, or that failed; the message says why."""


class _Refused(StrictUndefined):
    """Fails whatever is done with it, and counts as true, so that `or` keeps it."""

    def __bool__(self) -> bool:  # type: ignore[override]
        return True


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with bounds on what arithmetic and repetition may cost."""

    intercepted_binops = frozenset(["**", "*", "%"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse what could fill the memory: powers, repeated texts, padded formats."""
        numbers = all(
            isinstance(side, int | float) and abs(side) < 10**_MOST_PLACES for side in (left, right)
        )
        if operator == "**" or not numbers:
            raise SecurityError(f"{operator} is not allowed with these values")
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key wins over a method: `trigger.data.items` is the payload's own."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return self._padding(obj, attribute) or super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Jinja lets `x["name"]` reach methods as well."""
        return self._padding(obj, argument) or super().getitem(obj, argument)

    def _padding(self, obj: Any, name: Any) -> Undefined | None:
        """Refuse the methods of texts that pad without a bound; the sandbox allows them."""
        if isinstance(obj, str) and isinstance(name, str) and name in _PADDING:
            return _Refused(f"{name} is not allowed on texts", exc=SecurityError)
        return None


def _range(*bounds: int) -> range:
    steps = range(*bounds)
    if len(steps) > _MOST_STEPS:
        raise SecurityError(f"a range of more than {_MOST_STEPS} is not allowed")
    return steps


def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, autoescape=False)
    environment.globals = {"range": _range}
    for name in ("center", "indent", "format", "wordwrap", "xmlattr", "urlize", "pprint", "random"):
        del environment.filters[name]  # they pad without a bound, or have no use here
    return environment


_ENVIRONMENT = _environment()


def check(value: Any, variables: frozenset[str] = VARIABLES) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong with the templates inside a value, without running them.

    Args:
        value: a text, list or dict from a rule.
        variables: the names that will be there.

    Yields:
        The place inside the value, and what is wrong there.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (((key, *place), wrong) for place, wrong in check(inner, variables))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from (((number, *place), wrong) for place, wrong in check(inner, variables))
    elif isinstance(value, str):
        yield from (((), wrong) for wrong in _check_text(value, variables))


def _check_text(text: str, variables: frozenset[str]) -> Iterator[str]:
    try:
        tree = _ENVIRONMENT.parse(text)
        _ENVIRONMENT.from_string(text)  # names of filters and tests are looked up here only
    except TemplateError as error:
        yield f"is not a template: {error.message}"
        return
    for name in sorted(find_undeclared_variables(tree) - variables):
        yield f"uses {name}, which is not there"
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Filter)):
        name = _asked(node)
        if name.startswith("_"):
            yield f"asks for {name}, which is not allowed"
    if any(tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))):
        yield "loads another template, which is not allowed"


def _asked(node: nodes.Node) -> str:
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return str(node.arg.value)
    if isinstance(node, nodes.Filter) and node.name in ("attr", "map", "selectattr", "rejectattr"):
        texts = [a.value for a in node.args if isinstance(a, nodes.Const) and isinstance(a.value, str)]
        return next((text for text in texts if text.startswith("_")), "")
    return ""


def render(value: Any, context: dict[str, Any]) -> Any:
    """A value with its templates filled in.

    Args:
        value: a text, list or dict from a rule; texts are templates, keys are not.
        context: the variables.

    Returns:
        Plain data: dict, list, str, int, float, bool, None.

    Raises:
        BadTemplateError: something was not there, not allowed, too large, or not plain data.
    """
    if isinstance(value, dict):
        return {key: render(inner, context) for key, inner in value.items()}
    if isinstance(value, list):
        return [render(inner, context) for inner in value]
    if isinstance(value, str) and ("{{" in value or "{%" in value or "{#" in value):
        return _run(value, context)
    return value


def render_text(value: str, context: dict[str, Any]) -> str:
    """The same for what must be a text: whatever comes out is made one."""
    result = render(value, context)
    return result if isinstance(result, str) else str(result)


def _run(text: str, context: dict[str, Any]) -> Any:
    try:
        expression = _only_expression(text)
        if expression is not None:
            return _plain(_ENVIRONMENT.compile_expression(expression, undefined_to_none=False)(**context))
        parts: list[str] = []
        length = 0
        for part in _ENVIRONMENT.from_string(text).generate(**context):
            length += len(part)
            if length > MOST_TEXT:
                raise BadTemplateError(f"gives more than {MOST_TEXT} characters")
            parts.append(part)
    except TemplateError as error:
        raise BadTemplateError(error.message or type(error).__name__) from None
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadTemplateError(f"{type(error).__name__}: {error}") from None
    return "".join(parts)


def _only_expression(text: str) -> str | None:
    """The expression where the text is one and nothing else."""
    stripped = text.strip()
    body = _ENVIRONMENT.parse(stripped).body
    if len(body) != 1 or not isinstance(body[0], nodes.Output):
        return None
    parts = body[0].nodes
    if len(parts) != 1 or isinstance(parts[0], nodes.TemplateData) or not stripped.startswith("{{"):
        return None
    return stripped[2:-2].strip("-+ \n\t")


def _plain(value: Any) -> Any:
    if isinstance(value, StrictUndefined):
        str(value)  # raises, with the name of what is not there
    if isinstance(value, str) and len(value) > MOST_TEXT:
        raise BadTemplateError(f"gives more than {MOST_TEXT} characters")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    raise BadTemplateError(f"gives {type(value).__name__}, which is no plain data")
