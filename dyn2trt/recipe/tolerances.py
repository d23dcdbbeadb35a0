"""Tolerances in Polygraphy's syntax: ``out0:1e-4`` is for one output, a bare ``1e-4`` for all that are not named."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dyn2trt.errors import Dyn2trtError


@dataclass(frozen=True)
class Tolerances:
    """A tolerance for all outputs, where there is one, and those of single outputs."""

    default: float | None = None
    by_output: Mapping[str, float] = field(default_factory=dict)

    def of(self, output: str) -> float | None:
        """Return what was asked for this output; None leaves it to the precision's default."""
        return self.by_output.get(output, self.default)

    def check_names(self, outputs: Iterable[str]) -> None:
        """Refuse names that are not outputs of the model.

        Raises:
            Dyn2trtError: names the first such, and the nearest output.
        """
        known = list(outputs)
        for name in self.by_output:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
                raise Dyn2trtError(f"tolerance {name}:{self.by_output[name]:g} names no output of the model; {hint}")


def parse_tolerances(texts: Iterable[str]) -> Tolerances:
    """Parse ``out0:1e-4`` and bare numbers; a later one overrides an earlier one.

    Raises:
        Dyn2trtError: not of that form, or not a finite number ≥ 0.
    """
    default: float | None = None
    by_output: dict[str, float] = {}
    for text in texts:
        name, separator, number = text.strip().rpartition(":")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0 or (separator and not name):
            raise Dyn2trtError(f"expected a tolerance like 1e-4 or out0:1e-4, not {text!r}")
        if name:
            by_output[name] = value
        else:
            default = value
    return Tolerances(default, by_output)


def tolerances_of(value: Any) -> Any:
    """A list of texts as `Tolerances`; anything else as it is. Raises ValueError as `parse_tolerances` does."""
    if not isinstance(value, list | tuple):
        return value
    try:
        return parse_tolerances(map(str, value))
    except Dyn2trtError as error:
        raise ValueError(str(error)) from None
