"""Shapes on the command line, in trtexec's syntax, and the ranges that an engine serves."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dyn2trt.errors import Dyn2trtError

Shape = tuple[int, ...]

_AXES = {0: "batch", 1: "channels", 2: "height", 3: "width"}


def parse_shapes(text: str) -> dict[str, Shape]:
    """Parse ``x:1x3x256x256,y:1x8``; a name may be quoted and may contain colons.

    Raises:
        Dyn2trtError: the text does not have that form, a dimension is not positive, or a name comes twice.
    """
    shapes: dict[str, Shape] = {}
    for item in text.split(","):
        name, colon, dims = item.strip().rpartition(":")
        name = name.strip("'\"")
        if not colon or not name or not re.fullmatch(r"[0-9]+(x[0-9]+)*", dims):
            raise Dyn2trtError(f"'{item}' is no shape: expected NAME:DIMxDIM..., like x:1x3x256x256")
        if name in shapes:
            raise Dyn2trtError(f"'{text}' names input '{name}' twice; give it one shape")
        shapes[name] = tuple(int(d) for d in dims.split("x"))
        if 0 in shapes[name]:
            raise Dyn2trtError(f"'{item}' has a dimension of 0; every dimension is at least 1")
    return shapes


def format_shape(shape: Shape) -> str:
    """``(1, 3, 256, 256)`` → ``1x3x256x256``; a dynamic dimension prints as ``?``."""
    return "x".join("?" if d < 0 else str(d) for d in shape)


def format_shapes(shapes: Mapping[str, Shape]) -> str:
    """The inverse of `parse_shapes`."""
    return ",".join(f"{name}:{format_shape(shape)}" for name, shape in shapes.items())


@dataclass(frozen=True)
class Profile:
    """The shapes of one input that an engine serves, and the one it is tuned for."""

    min: Shape
    opt: Shape
    max: Shape

    def __str__(self) -> str:
        if self.min == self.max:
            return format_shape(self.opt)
        return f"{format_shape(self.min)} to {format_shape(self.max)}, tuned for {format_shape(self.opt)}"

    def check(self, name: str, shape: Shape) -> None:
        """Raise Dyn2trtError unless the engine serves ``shape`` for input ``name``."""
        if len(shape) != len(self.min):
            raise Dyn2trtError(
                f"input {name} of shape {format_shape(shape)} has {len(shape)} dimensions, the engine's has "
                f"{len(self.min)}: {format_shape(self.opt)}"
            )
        for axis, (low, size, high) in enumerate(zip(self.min, shape, self.max, strict=True)):
            if low <= size <= high:
                continue
            option, wanted = ("--max-shapes", max) if size > high else ("--min-shapes", min)
            bound = self.max if size > high else self.min
            new = format_shapes({name: tuple(map(wanted, bound, shape))})
            mend = f"rebuild with {option} {new}"
            if self.min == self.max:
                mend = f"export with a dynamic axis there, and {mend}"
            what = _AXES[axis] if len(shape) == 4 else f"dimension {axis}"
            raise Dyn2trtError(f"input {name}: {what} {size} outside [{low}, {high}]; {mend}")


def resolve_profiles(
    inputs: Mapping[str, Shape],
    *,
    min_shapes: Mapping[str, Shape],
    opt_shapes: Mapping[str, Shape],
    max_shapes: Mapping[str, Shape],
    example: Mapping[str, Shape] | None = None,
    size_multiple: int = 1,
) -> dict[str, Profile]:
    """Return a profile for every input of a network, −1 standing for a dynamic dimension.

    What is not given follows trtexec: a lone shape is all three; of two, opt takes max's place or max takes opt's
    place, and a missing min is opt. A static input's profile is its shape.

    Args:
        example: a shape per input that is known to work, to show in the error when none is given.
        size_multiple: what height and width of images, where they are dynamic, have to be multiples of.

    Raises:
        Dyn2trtError: an unknown input, a dynamic one without shapes, other static dimensions, or no min ≤ opt ≤ max.
    """
    given = {"--min-shapes": min_shapes, "--opt-shapes": opt_shapes, "--max-shapes": max_shapes}
    for option, shapes in given.items():
        for name in shapes.keys() - inputs.keys():
            near = difflib.get_close_matches(name, inputs, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise Dyn2trtError(f"{option} names '{name}'; the model's inputs are {', '.join(inputs)}{hint}")
    profiles = {}
    for name, shape in inputs.items():
        low, opt, high = (shapes.get(name) for shapes in given.values())
        if low is None and opt is None and high is None:
            if -1 in shape:
                low_ = (example or {}).get(name) or tuple(1 if d < 0 else d for d in shape)
                high_ = (4 * low_[0], *low_[1:]) if shape[0] < 0 else low_
                small, large = format_shapes({name: low_}), format_shapes({name: high_})
                raise Dyn2trtError(
                    f"input {name} has dynamic dimensions ({format_shape(shape)}): give the range the engine shall "
                    f"serve, e.g. --min-shapes {small} --opt-shapes {small} --max-shapes {large}"
                )
            profiles[name] = Profile(shape, shape, shape)
            continue
        opt = opt or high or low
        assert opt is not None
        profile = Profile(low or opt, opt, high or opt)
        _check_dimensions(name, shape, {option: shapes[name] for option, shapes in given.items() if name in shapes})
        _check_order(name, profile)
        _check_multiple(name, shape, profile, size_multiple)
        profiles[name] = profile
    return profiles


def _check_dimensions(name: str, shape: Shape, given: Mapping[str, Shape]) -> None:
    for option, dims in given.items():
        if len(dims) != len(shape) or any(s not in (-1, d) for s, d in zip(shape, dims, strict=True)):
            raise Dyn2trtError(
                f"{option} gives {name} the shape {format_shape(dims)}; the model has {format_shape(shape)}, and only "
                "dimensions marked ? may be chosen"
            )


def _check_order(name: str, profile: Profile) -> None:
    for axis, sizes in enumerate(zip(profile.min, profile.opt, profile.max, strict=True)):
        if not sizes[0] <= sizes[1] <= sizes[2]:
            raise Dyn2trtError(
                f"input {name}, dimension {axis}: expected min ≤ opt ≤ max, came {', '.join(map(str, sizes))}; "
                "correct --min-shapes, --opt-shapes or --max-shapes"
            )


def _check_multiple(name: str, shape: Shape, profile: Profile, multiple: int) -> None:
    dynamic = [axis for axis in (2, 3) if len(shape) == 4 and shape[axis] < 0]
    for dims in (profile.min, profile.opt, profile.max):
        if any(dims[axis] % multiple for axis in dynamic):
            raise Dyn2trtError(
                f"input {name} of {format_shape(dims)}: height and width of this network are multiples of {multiple}"
            )


def parse_size(text: str) -> int:
    """Parse a memory size, ``2G``, ``512M`` (powers of 1024) or plain bytes, to bytes."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    size = int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")) if match else 0
    if size <= 0:
        raise Dyn2trtError(f"'{text}' is no memory size: expected a number with K, M, G or T, like 2G")
    return size
