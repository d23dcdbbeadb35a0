"""Typed options of the networks in the zoo."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from dyn2trt.errors import Dyn2trtError

Value = str | int | float | bool


@dataclass(frozen=True)
class Meaning:
    """What an option is, in the annotation of a builder's parameter; see `Option`."""

    doc: str
    choices: tuple[Value, ...] = ()
    above: int | None = None


# The options that several networks have.
Classes = Annotated[int, Meaning("number of classes", above=0)]
Width = Annotated[float, Meaning("multiplier of the channels", above=0)]
StageWidth = Annotated[float, Meaning("multiplier of the channels of every stage", above=0)]
Stem = Annotated[int, Meaning("channels of the first convolution", above=0)]
StemStride = Annotated[int, Meaning("stride of the first convolution; 2 suits 64x64 images", choices=(1, 2))]
CifarDepth = Annotated[int, Meaning("weighted layers", choices=(8, 14, 20, 26, 32, 110))]
ResNetDepth = Annotated[int, Meaning("weighted layers", choices=(18, 34, 50, 101, 152))]
MaskUnit = Annotated[
    str,
    Meaning(
        "gate of a block: of positions (pointwise, squeeze), of the whole layer, or none",
        choices=("pointwise", "squeeze", "layer", "none"),
    ),
]
Ungated = Annotated[str, Meaning("blocks without a gate, module paths like 'layer1.0 layer2.0'")]
Kernels = Annotated[int, Meaning("fixed kernels per channel of a dynamic convolution; 0: ordinary ones", above=-1)]


@dataclass(frozen=True)
class Option:
    """One option: its type is that of ``default``; ``choices`` or an exclusive lower bound ``above`` may limit it."""

    name: str
    default: Value
    doc: str
    choices: tuple[Value, ...] = ()
    above: int | None = None

    @property
    def type(self) -> type[Value]:
        return type(self.default)

    def parse(self, value: Value) -> Value:
        """Convert a value from the command line or a recipe.

        Raises:
            Dyn2trtError: the wrong type, no choice of this option, or not above the bound.
        """
        try:
            parsed = self.type(value)
            if isinstance(value, bool) or (self.type is int and parsed != float(value)):
                raise ValueError
        except ValueError:
            raise Dyn2trtError(f"{self.name} is {_a(self.type)} like {self.default!r}, not {value!r}") from None
        if self.choices and parsed not in self.choices:
            raise Dyn2trtError(f"{self.name} is one of {', '.join(map(str, self.choices))}, not {value}")
        if self.above is not None and not self.above < float(parsed) < float("inf"):
            raise Dyn2trtError(f"{self.name} is more than {self.above}, not {value}")
        return parsed


def _a(kind: type[Value]) -> str:
    return {int: "a whole number", float: "a number", str: "a name", bool: "true or false"}[kind]


def parse_options(network: str, options: Iterable[Option], given: Mapping[str, Value]) -> dict[str, Value]:
    """Check ``given`` against the options of ``network`` and fill in the defaults.

    Raises:
        Dyn2trtError: an unknown name, or a value that `Option.parse` refuses.
    """
    known = {option.name: option for option in options}
    for name in given:
        if name not in known:
            raise Dyn2trtError(f"{network} has no option {name!r}{nearest(name, known)}; it has {', '.join(known)}")
    parsed = {}
    for name, option in known.items():
        try:
            parsed[name] = option.parse(given.get(name, option.default))
        except Dyn2trtError as error:
            raise Dyn2trtError(f"{network}: {error}") from None
    return parsed


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, with a leading comma, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
