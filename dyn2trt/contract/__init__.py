"""The op contract of domain ``dyn2trt``, stated once.

The torch ops, the ONNX function bodies, the plugin creators' fields and ``docs/ops.md``
all derive from `SCHEMAS`, and tests hold them to it.

Terms. A *site* is a position (n, h, w) with flat id (n·H + h)·W + w. A *site set* is
``sites`` int32[P] (flat id of each row), ``slots`` int32[N, H, W] (row of each site, −1
where there is none) and ``count`` int32[N] (rows in use of each image). *Rows* are a
tensor [P, C], one row a site. P may exceed the rows in use (an implementation with static
shapes uses the capacity N·H·W); the order of rows is deterministic but unspecified, so only
dyn2trt ops read them.
"""

from dyn2trt.contract.blocks import BLOCKS, BlockKind, Convolution
from dyn2trt.contract.composites import COMPOSITES, composite_name
from dyn2trt.contract.gates import GATES, GateKind
from dyn2trt.contract.primitives import MASK_GATHER, MASK_SCATTER, PRIMITIVES, SPARSE_CONV
from dyn2trt.contract.schema import (
    ACTIVATIONS,
    DOMAIN,
    FLOATS,
    PLUGIN_ATTRIBUTES,
    REDUCTIONS,
    VERSION,
    Attribute,
    OpSchema,
    Tensor,
)

SCHEMAS: dict[str, OpSchema] = {schema.name: schema for schema in (*PRIMITIVES, *COMPOSITES)}


def block_named(name: str) -> BlockKind:
    """The block of `BLOCKS` with that name."""
    return next(block for block in BLOCKS if block.name == name)


def composite(block: BlockKind, gate: str = "logits") -> OpSchema:
    """The op of a block with a kind of gate, by the gate's name."""
    return SCHEMAS[composite_name(block, next(kind for kind in GATES if kind.name == gate))]


__all__ = [
    "ACTIVATIONS",
    "BLOCKS",
    "COMPOSITES",
    "DOMAIN",
    "FLOATS",
    "GATES",
    "MASK_GATHER",
    "MASK_SCATTER",
    "PLUGIN_ATTRIBUTES",
    "PRIMITIVES",
    "REDUCTIONS",
    "SCHEMAS",
    "SPARSE_CONV",
    "VERSION",
    "Attribute",
    "BlockKind",
    "Convolution",
    "GateKind",
    "OpSchema",
    "Tensor",
    "block_named",
    "composite",
    "composite_name",
]
