"""What all gated blocks share: one set of weights, three executions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.branch import branch_weights
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates.mask_unit import MaskUnit
from dyn2trt.ops import SCHEMAS  # importing the package registers the torch ops

Execution = Literal["masked", "sparse", "dense"]

_ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6, "hard_swish": F.hardswish}


@dataclass(frozen=True)
class Stage:
    """One convolution of a gated block.

    Attributes:
        name: prefix of its weight and bias among the inputs of the block's op, such as ``expand``.
        convolution: its module.
        batchnorm: the BatchNorm behind it, ``nn.Identity`` once folded.
        on_halo: whether it runs at the halo of the active set; otherwise at the active set itself.
    """

    name: str
    convolution: nn.Conv2d
    batchnorm: nn.Module
    on_halo: bool


class GatedBlock(nn.Module):
    """A residual block whose branch is evaluated where its mask unit says so: activation(identity + mask · branch).

    Attributes:
        op: name of the block's composite op (`dyn2trt.contract`).
        masker: the mask unit, or None for a block of the same kind without a gate, which always runs dense.
        execution: ``masked`` computes every position and multiplies by the mask (training and reference), ``sparse``
            calls the block's op, ``dense`` ignores the gate. See `set_execution`.
        halo_stride: stride from the active set to its halo, on which the stages with ``on_halo`` run.
        inner_activation: after every stage but the last.
        outer_activation: after the sum.
    """

    op: ClassVar[str]
    masker: MaskUnit | None
    execution: Execution = "masked"
    stride: int = 1
    halo_stride: int = 1
    inner_activation: str = "relu"
    outer_activation: str = "relu"

    def stages(self) -> tuple[Stage, ...]:
        """The convolutions of the branch, in order."""
        raise NotImplementedError

    def identity(self, x: Tensor) -> Tensor:
        """What the branch is added to: [N, Co, Ho, Wo]."""
        raise NotImplementedError

    def branch(self, x: Tensor) -> Tensor:
        """The branch at every position: [N, C, H, W] → [N, Co, Ho, Wo]."""
        *inner, last = self.stages()
        activation = _ACTIVATIONS[self.inner_activation]
        for stage in inner:
            x = activation(stage.batchnorm(stage.convolution(x)))
        return last.batchnorm(last.convolution(x))

    def sparse(self, x: Tensor, logits: Tensor) -> Tensor:
        """The block through its op, evaluated at the positions whose logit ≥ 0."""
        raise NotImplementedError

    def forward(self, x: Tensor, decision: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Run the block by the execution chosen.

        Args:
            x: [N, C, H, W].
            decision: logits and mask, where the network around the block has asked the mask unit already.

        Returns:
            [N, Co, Ho, Wo].
        """
        activation = _ACTIVATIONS[self.outer_activation]
        if self.masker is None or self.execution == "dense":
            return activation(self.identity(x) + self.branch(x))
        logits, mask = self.masker(x) if decision is None else decision
        if self.execution == "sparse":
            if self.training:
                raise Dyn2trtError("sparse execution has no gradient: call network.eval(), or train with 'masked'")
            return self.sparse(x, logits)
        branch = self.branch(x)
        return activation(self.identity(x) + branch * mask.to(branch.dtype))

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
        """Freeze `op_weights` into buffers, so that an exported graph holds them as plain constants.

        For a copy whose weights change no more; `dyn2trt.blocks.fold.fold_batchnorm` calls it.
        """
        names = [f"packed_{stage.name}_{part}" for stage in self.stages() for part in ("weight", "bias")]
        for name, weight in zip(names, self.op_weights(), strict=True):
            self.register_buffer(name, weight.detach().clone(), persistent=False)
        self._packed_names = names

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GatedBlock:
        """As of nn.Module; but packed weights stay contiguous, which `.to(memory_format=torch.channels_last)` ends.

        The ops would copy them at every call.
        """
        super()._apply(fn, recurse)
        for name in getattr(self, "_packed_names", ()):
            setattr(self, name, getattr(self, name).contiguous())
        return self

    def call_op(self, *tensors: Tensor, **attributes: Any) -> Tensor:
        """Call the block's torch op on ``tensors`` followed by `op_weights`."""
        return getattr(torch.ops.dyn2trt, SCHEMAS[self.op].torch_name)(*tensors, *self.op_weights(), **attributes)

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
