"""Reference of the composites: a gated block, by its declaration, as the composition of the primitives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dyn2trt.contract import BlockKind, GateKind, OpSchema
from dyn2trt.ops import reference
from dyn2trt.ops.geometry import same


def implementation(schema: OpSchema) -> Callable[..., Any]:
    """The reference of any op, called as the torch op is."""
    return partial(gated_block, schema) if schema.is_composite else getattr(reference, schema.torch_name)


def gated_block(schema: OpSchema, *tensors: Tensor, **attributes: Any) -> Tensor | tuple[Tensor, Tensor]:
    """Reference of the composite ``schema``: y, and the logits of a gate that the op owns."""
    assert schema.block is not None
    assert schema.gate is not None
    given = {tensor.name: value for tensor, value in zip(schema.inputs, tensors, strict=True)}
    complete = schema.complete(attributes)
    strides, threshold = complete.get("strides", (1, 1)), complete["threshold"]
    logits = gate_logits(schema.gate, given, strides) if schema.owns_gate else given["mask"]
    rows, sites, count = branch_rows(schema.block, given, logits, threshold, strides, complete["activation"])
    base = given["x" if schema.block.identity_is_x else "identity"]
    outer = complete["activation"] if schema.block.activated_sum else "none"
    y = reference.mask_scatter(base, rows, sites, count, activation=outer)
    return (y, logits) if schema.owns_gate else y


def gate_logits(gate: GateKind, given: dict[str, Tensor], strides: Sequence[int]) -> Tensor:
    """Logits [N, 1, Ho, Wo] of a gate for x, in float32 (float64 for a float64 x).

    Args:
        given: x [N, C, H, W] of any type, and the gate's parameters by the names of `GateKind.parameters`.
        strides: of the block.
    """
    wide = torch.float64 if given["x"].dtype == torch.float64 else torch.float32
    given = {name: tensor.to(wide) for name, tensor in given.items() if name == "x" or name.startswith("gate_")}
    x = given["x"]
    sh, sw = strides
    grid = ((x.shape[2] - 1) // sh + 1, (x.shape[3] - 1) // sw + 1)
    logits = x.new_zeros(x.shape[0], 1, *grid)
    if gate.kernel is not None:
        taps = given["gate_weight"].view(gate.kernel, gate.kernel, -1).permute(2, 0, 1)[None]
        logits = F.conv2d(x, taps, given["gate_bias"], stride=(sh, sw), padding=gate.kernel // 2)
    mean = x.mean(dim=(2, 3))
    if gate.pooled == "linear":
        logits = logits + F.linear(mean, given["gate_pooled_weight"][None], given["gate_pooled_bias"])[..., None, None]
    if gate.pooled == "layers":
        hidden = torch.relu(F.linear(mean, given["gate_weight"], given["gate_bias"]))
        skip, execute = F.linear(hidden, given["gate_pooled_weight"], given["gate_pooled_bias"]).unbind(dim=1)
        logits = logits + (execute - skip)[:, None, None, None]
    return logits


def branch_rows(
    block: BlockKind,
    given: dict[str, Tensor],
    logits: Tensor,
    threshold: float,
    strides: Sequence[int],
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """The branch at the active sites: rows, sites and count."""
    active, _, count, _ = reference.mask_gather(logits, threshold=threshold)
    steps = [(c, same(c.kernel, strides if c.strided else (1, 1))) for c in block.convolutions]
    # What each convolution reads, from the last to the first.
    reads: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    members, level = logits, threshold
    for index, (_, geometry) in reversed(list(enumerate(steps))):
        # Behind the stride a set lies on the grid of y, before it on that of x.
        on_grid_of_x = index == 0 or any(convolution.strided for convolution in block.convolutions[index:])
        like = given["x"] if on_grid_of_x else torch.empty_like(logits)
        reads.insert(0, reference.mask_gather(members, like, threshold=level, **geometry.attributes))
        members, level = (reads[0][1] >= 0).to(logits.dtype)[:, None], 0.5
    rows = reads[0][3]
    for (convolution, geometry), (_, slots, _, _), output in zip(steps, reads, [*reads[1:], None], strict=True):
        rows = reference.sparse_conv(
            rows,
            given[f"{convolution.name}_weight"],
            given[f"{convolution.name}_bias"],
            slots,
            active if output is None else output[0],
            count if output is None else output[2],
            **geometry.attributes,
            group=0 if convolution.depthwise else 1,
            activation=activation if convolution.activated else "none",
        )
    return rows, active, count
