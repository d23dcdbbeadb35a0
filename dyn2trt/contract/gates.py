"""The gates that a composite may own, each declared once.

A gate gives every output site of its block a logit; the site is active when logit ≥ threshold. It is computed in
float32 whatever the block's type: fp32 weights, fp32 sums over x as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dyn2trt.contract.schema import Tensor


@dataclass(frozen=True)
class GateKind:
    """logit = convolution(x) + pooled(mean of x over its positions), either part may be absent.

    Attributes:
        name: of the kind.
        prefix: of the names of composites that own such a gate.
        doc: what it is, for the documents.
        kernel: of the convolution of x to one channel, strided and padded like the block's; None without one.
        pooled: what the mean of each channel goes through: a ``linear`` layer to one value, or ``layers``, a linear
            layer, a ReLU and a linear layer to the scores of skipping and of executing, of which the second less the
            first counts.
    """

    name: str
    prefix: str
    doc: str
    kernel: int | None = None
    pooled: Literal["linear", "layers"] | None = None

    @property
    def is_inside(self) -> bool:
        """Whether the composite computes the logits; otherwise they are its input ``mask``."""
        return self.kernel is not None or self.pooled is not None

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The weights among the op's inputs."""
        taps = {None: (), 1: ("C",), 3: (3, 3, "C")}[self.kernel]
        found: list[Tensor] = []
        if self.kernel is not None:
            found += _linear("gate", taps, 1, "the gate's convolution to one channel")
        if self.pooled == "linear":
            found += _linear("gate_pooled", ("C",), 1, "the gate's linear layer of x's mean")
        if self.pooled == "layers":
            found += _linear("gate", ("G", "C"), "G", "the gate's first linear layer of x's mean, a ReLU behind it")
            found += _linear("gate_pooled", (2, "G"), 2, "the gate's second linear layer, to (skip, execute)")
        return tuple(found)


def _linear(prefix: str, shape: tuple[str | int, ...], outputs: str | int, what: str) -> list[Tensor]:
    return [
        Tensor(f"{prefix}_weight", "float32", shape, f"Weight of {what}."),
        Tensor(f"{prefix}_bias", "float32", (outputs,), f"Bias of {what}."),
    ]


LOGITS = GateKind("logits", "", "The logits are an input: a gate of another kind, or masks from outside.")
POINTWISE = GateKind("pointwise", "Pointwise", "Its gate is a 1×1 convolution of x to one channel.", kernel=1)
SQUEEZE = GateKind(
    "squeeze",
    "Squeeze",
    "Its gate is a 3×3 convolution of x to one channel plus a linear layer of x's mean.",
    kernel=3,
    pooled="linear",
)
LAYER = GateKind(
    "layer",
    "Layer",
    "Its gate makes one decision an image: x's mean through two linear layers.",
    pooled="layers",
)

GATES = (LOGITS, POINTWISE, SQUEEZE, LAYER)
"""In the order of ``Dyn2trtGateKind``."""
