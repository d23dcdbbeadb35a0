"""What all gated blocks share: one set of weights, three executions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

import dyn2trt.ops  # noqa: F401  registers the torch ops
from dyn2trt.blocks.branch import branch_weights
from dyn2trt.blocks.owned_gate import OwnedGate, owned_gate
from dyn2trt.contract import BlockKind, composite, composite_name
from dyn2trt.contract.gates import LOGITS
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates.mask_unit import MaskUnit
from dyn2trt.ops.reference import activate

Execution = Literal["masked", "sparse", "dense"]


@dataclass(frozen=True)
class Stage:
    """One convolution of a gated block, as its declaration has it.

    Attributes:
        name: prefix of its weight and bias among the inputs of the block's op, such as ``expand``.
        convolution: its module.
        batchnorm: the BatchNorm behind it, ``nn.Identity`` once folded.
        on_halo: whether it runs at the halo of the active set; otherwise at the active set itself.
        activated: whether the block's activation follows.
    """

    name: str
    convolution: nn.Conv2d
    batchnorm: nn.Module
    on_halo: bool
    activated: bool


class GatedBlock(nn.Module):
    """A residual block whose branch is evaluated where its mask unit says so: activation(identity + mask · branch).

    Attributes:
        kind: the block's declaration (`dyn2trt.contract`), by which its ops are made.
        batchnorm_pairs: names of the branch's convolutions, in order, and of the BatchNorms behind them.
        masker: the mask unit, or None for a block of the same kind without a gate, which always runs dense.
        execution: ``masked`` computes every position and multiplies by the mask (training and reference), ``sparse``
            calls the block's op, ``dense`` ignores the gate. See `set_execution`.
        stride: of the block.
        activation: after the convolutions that the declaration says, and after the sum if it says so.
    """

    kind: ClassVar[BlockKind]
    batchnorm_pairs: ClassVar[tuple[tuple[str, str], ...]] = ()
    masker: MaskUnit | None
    execution: Execution = "masked"
    stride: int = 1
    activation: str = "relu"
    _packed_gate: tuple[str, list[str]] | None = None

    @property
    def op(self) -> str:
        """Name of the block's composite that is given its logits."""
        return composite_name(self.kind, LOGITS)

    @property
    def halo_stride(self) -> int:
        """Stride from the active set to its halo, on which the stages with ``on_halo`` run."""
        reader = self.kind.halo_reader
        return self.stride if reader is not None and reader.strided else 1

    def layers(self) -> list[tuple[nn.Conv2d, nn.Module]]:
        """The convolutions of the branch, in order, and the BatchNorms behind them."""
        return [(getattr(self, convolution), getattr(self, norm)) for convolution, norm in self.batchnorm_pairs]

    def stages(self) -> tuple[Stage, ...]:
        """The convolutions of the branch, in order; the last ones of the declaration where a block leaves some out."""
        layers = self.layers()
        declared = list(enumerate(self.kind.convolutions))[-len(layers) :]
        return tuple(
            Stage(c.name, *layer, on_halo=self.kind.is_on_halo(index), activated=c.activated)
            for (index, c), layer in zip(declared, layers, strict=True)
        )

    def identity(self, x: Tensor) -> Tensor:
        """What the branch is added to: [N, Co, Ho, Wo]."""
        raise NotImplementedError

    def branch(self, x: Tensor) -> Tensor:
        """The branch at every position: [N, C, H, W] → [N, Co, Ho, Wo]."""
        for stage in self.stages():
            x = stage.batchnorm(stage.convolution(x))
            x = activate(x, self.activation) if stage.activated else x
        return x

    def forward(self, x: Tensor, decision: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Run the block by the execution chosen.

        Args:
            x: [N, C, H, W].
            decision: logits and mask, where the network around the block has asked the mask unit already.

        Returns:
            [N, Co, Ho, Wo].
        """
        outer = self.activation if self.kind.activated_sum else "none"
        if self.masker is None or self.execution == "dense":
            return activate(self.identity(x) + self.branch(x), outer)
        if self.execution == "sparse":
            if self.training:
                raise Dyn2trtError("sparse execution has no gradient: call network.eval(), or train with 'masked'")
            return self._sparse(x, decision)
        _, mask = self.masker(x) if decision is None else decision
        branch = self.branch(x)
        return activate(self.identity(x) + branch * mask.to(branch.dtype), outer)

    def _sparse(self, x: Tensor, decision: tuple[Tensor, Tensor] | None) -> Tensor:
        """The block through its op, which computes the gate too where it can and nobody else has to know."""
        assert self.masker is not None
        attributes: dict[str, Any] = {"activation": self.activation}
        if self.kind.is_strided:
            attributes["strides"] = [self.stride] * 2
        identity = () if self.kind.identity_is_x else (self.identity(x),)
        # A hook records what the unit decides, or overrules it; the op would not call it.
        is_watched = bool(self.masker._forward_hooks or self.masker._forward_pre_hooks)
        gate = self.op_gate() if decision is None and not is_watched else None
        if gate is None:
            logits, _ = self.masker(x) if decision is None else decision
            return self._op("logits")(x, logits, *identity, *self.op_weights(), **attributes)
        y, _ = self._op(gate.kind)(x, *identity, *self.op_weights(), *gate.weights, **attributes)
        return y

    def _op(self, gate: str) -> Callable[..., Any]:
        return getattr(torch.ops.dyn2trt, composite(self.kind, gate).torch_name)

    def op_gate(self) -> OwnedGate | None:
        """The gate as the block's op computes it; None where the op has to be given the logits."""
        if self._packed_gate is None:
            return owned_gate(self.masker)
        kind, names = self._packed_gate
        return OwnedGate(kind, tuple(getattr(self.masker, name) for name in names))

    def op_weights(self) -> list[Tensor]:
        """Weight and bias of each stage, BatchNorm folded in, in the layout of the block's op (design, section 2)."""
        if packed := getattr(self, "_packed_names", None):
            return [getattr(self, name) for name in packed]
        weights: list[Tensor] = []
        for stage, (weight, bias) in zip(self.stages(), branch_weights(self), strict=True):
            depthwise = stage.convolution.groups > 1
            weights += [weight.squeeze(1).permute(1, 2, 0) if depthwise else weight.permute(0, 2, 3, 1), bias]
        return [weight.contiguous() for weight in weights]

    def pack_weights(self) -> None:
        """Freeze `op_weights` and `op_gate` into buffers, so that an exported graph holds them as plain constants.

        For a copy whose weights change no more; `dyn2trt.blocks.fold.fold_batchnorm` calls it.
        """
        names = [f"packed_{stage.name}_{part}" for stage in self.stages() for part in ("weight", "bias")]
        for name, weight in zip(names, self.op_weights(), strict=True):
            self.register_buffer(name, weight.detach().clone(), persistent=False)
        self._packed_names = names
        if (gate := self.op_gate()) is not None and self.masker is not None:
            # Buffers of the mask unit, whose tensors stay float32 whatever the network is cast to.
            parameters = [tensor.name for tensor in composite(self.kind, gate.kind).inputs[-len(gate.weights) :]]
            for name, weight in zip(parameters, gate.weights, strict=True):
                self.masker.register_buffer(f"packed_{name}", weight.detach().clone().contiguous(), persistent=False)
            self._packed_gate = (gate.kind, [f"packed_{name}" for name in parameters])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GatedBlock:
        """As of nn.Module; but packed weights stay contiguous, which `.to(memory_format=torch.channels_last)` ends.

        The ops would copy them at every call.
        """
        super()._apply(fn, recurse)
        for name in getattr(self, "_packed_names", ()):
            setattr(self, name, getattr(self, name).contiguous())
        return self

    def extra_repr(self) -> str:
        return f"execution={self.execution}, gated={self.masker is not None}"


def all_blocks(network: nn.Module) -> Iterator[tuple[str, GatedBlock]]:
    """The blocks of ``network`` that may have a gate, with their module paths, in the order of definition."""
    for name, module in network.named_modules():
        if isinstance(module, GatedBlock):
            yield name, module


def gated_blocks(network: nn.Module) -> Iterator[tuple[str, GatedBlock]]:
    """The blocks of ``network`` that have a gate, with their module paths, in the order of definition."""
    return ((name, block) for name, block in all_blocks(network) if block.masker is not None)


def set_execution(network: nn.Module, execution: Execution) -> None:
    """Choose how every gated block of ``network`` runs: ``masked``, ``sparse`` or ``dense``.

    Raises:
        Dyn2trtError: another name.
    """
    if execution not in get_args(Execution):
        raise Dyn2trtError(f"execution is one of {', '.join(get_args(Execution))}, not {execution!r}")
    for _, block in gated_blocks(network):
        block.execution = execution
