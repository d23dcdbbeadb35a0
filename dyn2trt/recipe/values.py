"""The kinds of values that recipes hold, each also as it is typed on a command line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo

from dyn2trt.errors import Dyn2trtError

T = TypeVar("T")

Shape = tuple[
    Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]
]


def parse_shape(text: str) -> tuple[int, int, int, int]:
    """``1x3x256x256`` → (1, 3, 256, 256).

    Raises:
        Dyn2trtError: anything else.
    """
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){3}", text):
        raise Dyn2trtError(f"an input shape is written NxCxHxW, such as 1x3x256x256, not {text!r}")
    n, c, h, w = map(int, text.split("x"))
    return n, c, h, w


def ours(check: Callable[..., T], *values: Any) -> T:
    """Call a check of ours; what it raises becomes what pydantic collects."""
    try:
        return check(*values)
    except Dyn2trtError as error:
        raise ValueError(str(error)) from None


def _typed(parse: Callable[[str, str], Any]) -> BeforeValidator:
    """Parse what comes as text by ``parse(option, text)``; anything else is left to the type."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        return ours(parse, f"--{(info.field_name or '').replace('_', '-')}", value)

    return BeforeValidator(validate)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected {option} with some numbers separated by commas, not {text!r}") from None


def _sizes(option: str, text: str) -> tuple[int, ...]:
    given = _numbers(option, text)
    if broken := [n for n in given if not math.isfinite(n) or n != int(n)]:
        raise ValueError(f"batch sizes are whole numbers, not {', '.join(map(str, broken))}")
    if small := [int(n) for n in given if n < 1]:
        raise ValueError(f"batch sizes are at least 1, not {', '.join(map(str, small))}")
    return tuple(map(int, given))


def _ratios(option: str, text: str) -> tuple[float, ...]:
    given = () if text == "none" else _numbers(option, text)
    if bad := [ratio for ratio in given if not 0 <= ratio <= 1]:
        raise ValueError(f"active ratios lie between 0 and 1, not {', '.join(f'{ratio:g}' for ratio in bad)}")
    return given


def _channels(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"expected {option} R,G,B, such as 0.485,0.456,0.406, or one number for grey, not {text!r}"
        ) from None


def _rates(value: Any) -> Any:
    rates = value if isinstance(value, (list, tuple)) else [value]
    numbers = all(isinstance(rate, (int, float)) and not isinstance(rate, bool) and 0 <= rate <= 1 for rate in rates)
    if not rates or not numbers:
        raise ValueError(f"a rate is a number from 0 to 1; give one for all layers or a list of them, not {value!r}")
    return value


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Rates = Annotated[float | tuple[float, ...], BeforeValidator(_rates)]
FilePath = Annotated[Path, PlainSerializer(str)]

InputShape = Annotated[Shape, _typed(lambda _, text: parse_shape(text))]
"""Typed as ``1x3x256x256``."""
Channels = Annotated[tuple[float, ...], Field(min_length=1), _typed(_channels)]
"""Red, green, blue, or grey alone; typed as ``0.485,0.456,0.406``."""
BatchSizes = Annotated[tuple[Positive, ...], _typed(_sizes)]
"""Typed as ``1,4,16``."""
Ratios = Annotated[tuple[Fraction, ...], _typed(_ratios)]
"""Typed as ``0.1,0.5,1``, or ``none``."""
Names = Annotated[tuple[str, ...], _typed(lambda _, text: tuple(name.strip() for name in text.split(",")))]
"""Typed with commas between them."""
