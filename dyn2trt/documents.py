"""JSON documents that one verb writes and another reads: typed, and of a format that is checked."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from dyn2trt.errors import Dyn2trtError

T = TypeVar("T")

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A float that may be NaN or infinite; `finite` writes it as null, and it is read as NaN."""


def finite(value: Any) -> Any:
    """The document with null in place of numbers that are not finite, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_document(path: str | os.PathLike[str], adapter: TypeAdapter[T], *, form: int, verb: str) -> T:
    """Read a document whose ``format`` is ``form``; ``verb`` is the command that writes it.

    Raises:
        Dyn2trtError: absent, unreadable, of another format or damaged; says which field.
    """
    again = f"write it again with dyn2trt {verb}"
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Dyn2trtError(f"cannot read {path}: {error}; {again}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != form:
        raise Dyn2trtError(f"{path} has format {found}, expected {form}; {again}")
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise Dyn2trtError(f"{path} is damaged ({field}: {first['msg']}); {again}") from error
