"""What a network returns, flattened: names and tensors in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import GetAttrKey, MappingKey, tree_flatten_with_path

from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import (
    COEFFICIENTS_PREFIX,
    FORCED_PREFIX,
    INPUT,
    LOGITS_PREFIX,
    MASK_PREFIX,
    OUTPUT_PREFIX,
)

_PREFIXES = "|".join((COEFFICIENTS_PREFIX, FORCED_PREFIX, LOGITS_PREFIX, MASK_PREFIX, OUTPUT_PREFIX))
_OURS = re.compile(rf"{INPUT}|({_PREFIXES})\d+")


def flatten_outputs(outputs: Any) -> tuple[Tensor, ...]:
    """The tensors of a network's output, in order: of tuples, lists, dicts and named tuples, nested; None is left out.

    Raises:
        Dyn2trtError: there is none.
    """
    tensors = tuple(leaf for _, leaf in tree_flatten_with_path(outputs)[0] if isinstance(leaf, Tensor))
    if not tensors:
        raise Dyn2trtError(
            f"the network returns {type(outputs).__name__} without a tensor; return tensors, tuples or dicts of them"
        )
    return tensors


def output_names(outputs: Any) -> tuple[str, ...]:
    """The names of `flatten_outputs`.

    A tensor with keys above it is called by them: ``{"heads": [a, {"mask": b}]}`` gives ``heads.0`` and
    ``heads.1.mask``. The others are ``out0``, ``out1``, ..., where the number is the place among all tensors. A key
    that is a name of ours, such as ``x`` or ``mask0``, gets ``out_`` before it.
    """
    paths = [path for path, leaf in tree_flatten_with_path(outputs)[0] if isinstance(leaf, Tensor)]
    return tuple(_name(path) or f"{OUTPUT_PREFIX}{index}" for index, path in enumerate(paths))


def _name(path: Sequence[Any]) -> str:
    """From the first key on; empty without one."""
    named = next((index for index, key in enumerate(path) if isinstance(key, MappingKey | GetAttrKey)), len(path))
    parts = [
        key.name if isinstance(key, GetAttrKey) else key.key if isinstance(key, MappingKey) else key.idx
        for key in path[named:]
    ]
    name = ".".join(map(str, parts))
    return f"{OUTPUT_PREFIX}_{name}" if _OURS.fullmatch(name) else name


class FlatOutputs:
    """A forward hook that lets a network return its tensors as one tuple, and keeps their names."""

    names: tuple[str, ...] = ()

    def __call__(self, _network: nn.Module, _args: Any, outputs: Any) -> tuple[Tensor, ...]:
        self.names = output_names(outputs)
        return flatten_outputs(outputs)
