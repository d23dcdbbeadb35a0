"""A verb's options: what was typed goes before what its recipe says, and that before the defaults.

An option is written in two places: in a section, with its type, default and meaning, and in the signature of the verb's
function in `dyn2trt.cli`, with its help. `typed` picks the section's fields out of what the function was called with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe.sections import Section

Options = TypeVar("Options", bound=Section)


def typed(options: type[Section], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Of a command's arguments, those that are options of that section and were given; None was not."""
    return {name: value for name in options.model_fields if (value := arguments.get(name)) is not None}


def merged(options: type[Options], *sources: Section | Mapping[str, Any] | None, section: str = "") -> Options:
    """Make options of what the sources set, a later source over an earlier one; a value of None sets nothing.

    Args:
        section: names the options' section in the message of an error.

    Raises:
        Dyn2trtError: a value that the options refuse.
    """
    values: dict[str, Any] = {}
    for source in sources:
        if isinstance(source, Section):
            source = {name: getattr(source, name) for name in source.model_fields_set}
        known = {name: value for name, value in (source or {}).items() if name in options.model_fields}
        values |= {name: value for name, value in known.items() if value is not None}
    try:
        return options.model_validate(values)
    except ValidationError as error:
        raise Dyn2trtError(explain(error, section=section)) from error


def explain(error: ValidationError, unknown: Callable[[list[str]], str] | None = None, section: str = "") -> str:
    """Pydantic's problems in our words: key, what is wrong, what came.

    Args:
        unknown: says it for a key that does not exist.
        section: what stands before every key.
    """
    return "; ".join(dict.fromkeys(_explain(problem, unknown, section) for problem in error.errors()))


def _explain(problem: Any, unknown: Callable[[list[str]], str] | None, section: str) -> str:
    location = [str(part) for part in (*filter(None, [section]), *problem["loc"])]
    key = ".".join(location)
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden" and unknown is not None:
        return unknown(location)
    value = problem["input"]
    own = problem["type"] == "value_error"  # Our own checks say in their words what came.
    shown = f", not {value!r}" if isinstance(value, (str, int, float, list)) and not own else ""
    message = problem["msg"].removeprefix("Value error, ")
    said = f"{message[0].lower()}{message[1:]}{shown}"
    return f"{key}: {said}" if key else said
