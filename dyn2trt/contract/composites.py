"""The composites: every gated block with every kind of gate, as ops."""

from __future__ import annotations

from dyn2trt.contract.blocks import BLOCKS, BlockKind
from dyn2trt.contract.gates import GATES, GateKind
from dyn2trt.contract.primitives import MASK, THRESHOLD, activation
from dyn2trt.contract.schema import Attribute, OpSchema, Tensor

_X = Tensor("x", "T", ("N", "C", "H", "W"), "Dense input of the block.")
_IDENTITY = Tensor("identity", "T", ("N", "Co", "Ho", "Wo"), "x, or its projection where the shape changes.")
_STRIDES = Attribute("strides", "ints", (1, 1), "Stride of the block: (1, 1) or (2, 2).", least=1)


def composite_name(block: BlockKind, gate: GateKind) -> str:
    """``GatedBasicBlock``, ``PointwiseGatedBasicBlock``, ..."""
    return f"{gate.prefix}Gated{block.name}"


def _schema(block: BlockKind, gate: GateKind) -> OpSchema:
    decision = MASK
    y = Tensor("y", "T", _IDENTITY.shape, "activation(identity + branch at the active sites).")
    if block.identity_is_x:
        decision = Tensor(MASK.name, MASK.type, ("N", 1, "H", "W"), MASK.doc)
        y = Tensor("y", "T", _X.shape, "x plus the branch at the active sites.")
    logits = Tensor("logits", "float32", decision.shape, "What the gate says of every output site.")
    inner = [convolution.name for convolution in block.convolutions if convolution.activated]
    says = "Between the convolutions, and on all of y."
    if not block.activated_sum:
        says = f"After {' and '.join(inner)}; {block.convolutions[-1].name} is linear."
    return OpSchema(
        name=composite_name(block, gate),
        doc=f"{block.doc} {gate.doc}" if gate.is_inside else block.doc,
        inputs=(
            _X,
            *(() if gate.is_inside else (decision,)),
            *(() if block.identity_is_x else (_IDENTITY,)),
            *(tensor for index in range(len(block.convolutions)) for tensor in _parameters(block, index)),
            *gate.parameters,
        ),
        outputs=(y, logits) if gate.is_inside else (y,),
        attributes=(THRESHOLD, *((_STRIDES,) if block.is_strided else ()), activation(block.activation, says)),
        block=block,
        gate=gate,
    )


def _parameters(block: BlockKind, index: int) -> tuple[Tensor, Tensor]:
    convolution = block.convolutions[index]
    name = convolution.name
    weight = Tensor(f"{name}_weight", "T", block.weight_shape(index), f"Weight of {name}, BatchNorm folded in.")
    return weight, Tensor(f"{name}_bias", "T", (convolution.channels,), f"Bias of {name}, BatchNorm folded in.")


COMPOSITES = tuple(_schema(block, gate) for gate in GATES for block in BLOCKS)
