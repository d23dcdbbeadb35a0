"""What an op is: its tensors, attributes and types, and the names under which torch and ONNX know it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dyn2trt.contract.blocks import BlockKind
    from dyn2trt.contract.gates import GateKind

DOMAIN = "dyn2trt"
VERSION = 2
"""Of the ops, of the plugins and of the C ABI. Grows whenever one of them changes its form."""

PLUGIN_ATTRIBUTES = {"plugin_namespace": DOMAIN, "plugin_version": str(VERSION)}
"""TensorRT's parser makes a node with these the registered plugin, although it has a body; others ignore them."""

ACTIVATIONS = ("none", "relu", "relu6", "hard_swish")
REDUCTIONS = ("add", "none")
FLOATS = ("float32", "float16", "bfloat16")
"""What the type variable ``T`` of a schema may stand for."""


@dataclass(frozen=True)
class Tensor:
    """One input or output: its type is ``T`` (one of `FLOATS`, the same throughout a node) or a dtype's name."""

    name: str
    type: str
    shape: tuple[str | int, ...]
    doc: str
    optional: bool = False


@dataclass(frozen=True)
class Attribute:
    """One attribute. ``kind`` is ``int``, ``ints``, ``float`` or ``string``; integers are at least ``least``."""

    name: str
    kind: str
    default: Any
    doc: str
    choices: tuple[str, ...] = ()
    least: int = 0


@dataclass(frozen=True)
class OpSchema:
    """One op. A composite is a gated block as a whole: ``block`` says which, ``gate`` who decides."""

    name: str
    doc: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    attributes: tuple[Attribute, ...]
    block: BlockKind | None = None
    gate: GateKind | None = None

    @property
    def is_composite(self) -> bool:
        return self.block is not None

    @property
    def owns_gate(self) -> bool:
        """Whether the op computes its gate itself, and gives the logits as its second output."""
        return self.gate is not None and self.gate.is_inside

    def input_index(self, name: str) -> int:
        """Position of the input of that name."""
        return next(index for index, tensor in enumerate(self.inputs) if tensor.name == name)

    @property
    def torch_name(self) -> str:
        """``MaskGather`` → ``mask_gather``: the op's name under ``torch.ops.dyn2trt``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @property
    def torch_schema(self) -> str:
        """The signature that ``torch.library`` registers: tensors by position, attributes by keyword."""
        torch_types = {"int": "int", "ints": "int[]", "float": "float", "string": "str"}
        tensors = [f"Tensor{'?' if t.optional else ''} {t.name}{'=None' if t.optional else ''}" for t in self.inputs]
        keywords = [f"{torch_types[a.kind]} {a.name}={_literal(a.default)}" for a in self.attributes]
        results = ["Tensor"] * len(self.outputs)
        returns = results[0] if len(results) == 1 else f"({', '.join(results)})"
        return f"{self.torch_name}({', '.join([*tensors, '*', *keywords])}) -> {returns}"

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every attribute with defaults filled in, in the schema's order.

        Raises:
            ValueError: an unknown name, a value of the wrong kind, or a string that is no choice.
        """
        known = {a.name: a for a in self.attributes}
        if unknown := sorted(given.keys() - known.keys()):
            raise ValueError(f"{self.name} has no attribute {', '.join(unknown)}; it has {', '.join(known)}")
        return {name: _checked(self.name, a, given.get(name, a.default)) for name, a in known.items()}


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Sequence):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def _checked(op: str, attribute: Attribute, value: Any) -> Any:
    is_int = lambda v: isinstance(v, int) and not isinstance(v, bool)  # noqa: E731
    fits = {
        "int": is_int,
        "ints": lambda v: (
            isinstance(v, Sequence)
            and not isinstance(v, str)
            and len(v) == len(attribute.default)
            and all(map(is_int, v))
        ),
        "float": lambda v: isinstance(v, float) or is_int(v),
        "string": lambda v: isinstance(v, str),
    }[attribute.kind]
    if not fits(value):
        raise ValueError(f"{op}.{attribute.name} is {attribute.kind} like {attribute.default!r}, not {value!r}")
    if attribute.choices and value not in attribute.choices:
        raise ValueError(f"{op}.{attribute.name} is one of {', '.join(attribute.choices)}, not {value!r}")
    return value
