"""Multiply-accumulates of a gated network: what it would cost with every position active, and what a batch did cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dyn2trt.blocks import GatedBlock, gated_blocks, set_execution
from dyn2trt.blocks.dynamic import CoefficientPredictor, DynamicConv2d, set_kernel_execution
from dyn2trt.blocks.evaluation import evaluation_copy
from dyn2trt.blocks.observe import empty_input, without_arithmetic
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import Decision, GatePart, halo


@dataclass(frozen=True)
class BlockMacs:
    """One execution of a gated block, for one image.

    Work at the halo of the active set (a block's first convolution) is counted apart from work at
    the active set, because the halo is larger. Biases, activations and sums are not counted.

    Attributes:
        name: module path.
        op: the block's composite op.
        grid: (Ho, Wo), where the gate decides.
        halo_grid: (H, W) of the grid that the halo lies on.
        halo_stride: from ``halo_grid`` to ``grid``.
        macs_per_active_site: multiply-accumulates at each active site.
        macs_per_halo_site: multiply-accumulates at each site of the halo.
        decides: what its gate decides on, `MaskUnit.decides`.
    """

    name: str
    op: str
    grid: tuple[int, int]
    halo_grid: tuple[int, int]
    halo_stride: int
    macs_per_active_site: int
    macs_per_halo_site: int
    decides: str = "positions"

    @property
    def macs_total(self) -> int:
        """With every position active."""
        (ho, wo), (h, w) = self.grid, self.halo_grid
        return ho * wo * self.macs_per_active_site + h * w * self.macs_per_halo_site

    def executed(self, mask: Tensor) -> Tensor:
        """Executed multiply-accumulates, float64 [N], of the images that ``mask`` [N, 1, Ho, Wo] decides on.

        As in the DynConv authors' code, the halo is a number without a gradient: the gates learn from the work at the
        active sites.
        """
        if tuple(mask.shape[2:]) != self.grid:
            raise ValueError(f"{self.name} was counted on a grid of {self.grid}, but the mask has {list(mask.shape)}")
        reads = halo(mask.detach() >= 0.5, self.halo_grid, stride=self.halo_stride)
        # Weighted before they are summed, so that the gradient is a tensor of its own and not an expanded number.
        return _sum(mask.double() * self.macs_per_active_site) + _sum(reads.double() * self.macs_per_halo_site)

    def active(self, mask: Tensor) -> Tensor:
        """`executed`, as whole numbers: int64 [N]."""
        return self.executed(mask.detach()).round().long()


@dataclass(frozen=True)
class KernelMacs:
    """One execution of a predictor and of the dynamic convolutions that it serves, for one image.

    Attributes:
        name: module path of the predictor.
        convolutions: module paths of the dynamic convolutions, in execution order.
        macs_prediction: of the coefficients, in the predictor's linear layers.
        macs_weighing: of weighing and summing the fixed kernels.
        macs_convolutions: of the convolutions with the kernels generated.
    """

    name: str
    convolutions: tuple[str, ...]
    macs_prediction: int
    macs_weighing: int
    macs_convolutions: int

    @property
    def macs_generation(self) -> int:
        """What a static network of the same shape does not do: prediction and weighing."""
        return self.macs_prediction + self.macs_weighing


@dataclass(frozen=True)
class ActiveMacs:
    """Executed multiply-accumulates of a batch, int64 [N] each.

    Attributes:
        blocks: of each gated block, in execution order.
        gated: their sum.
        total: ``gated`` and all that runs whatever the gates decide.
    """

    blocks: tuple[Tensor, ...]
    gated: Tensor
    total: Tensor


@dataclass(frozen=True)
class MacReport:
    """Multiply-accumulates for one image.

    Attributes:
        blocks: the gated blocks, in execution order.
        macs_gated: in gated blocks, with every position active.
        macs_gates: in the mask units.
        macs_ungated: everything else but the mask units: stem, heads, shortcuts' projections, blocks without a gate.
            Of dynamic convolutions, the deployed form: prediction, weighing, and one convolution.
        kernels: the predictors of dynamic kernels, in execution order; their work is part of ``macs_ungated``.
    """

    blocks: tuple[BlockMacs, ...]
    macs_gated: int
    macs_gates: int
    macs_ungated: int
    kernels: tuple[KernelMacs, ...] = ()

    @property
    def macs_dense(self) -> int:
        """The whole network without its gates."""
        return self.macs_gated + self.macs_ungated

    @property
    def macs_generation(self) -> int:
        """Of predicting coefficients and weighing kernels; part of ``macs_ungated``."""
        return sum(kernels.macs_generation for kernels in self.kernels)

    def active(self, decisions: Sequence[Decision]) -> ActiveMacs:
        """Count what a forward pass at the input size of this report executed.

        Args:
            decisions: of one forward pass, from `dyn2trt.gates.record_decisions`.

        Raises:
            ValueError: the decisions are of other blocks, of another number of passes, or of another input size.
        """
        ran, counted = [decision.block for decision in decisions], [block.name for block in self.blocks]
        if ran != counted:
            raise ValueError(f"expected one decision for each of {counted}, in this order; these are of {ran}")
        blocks = tuple(block.active(d.mask) for block, d in zip(self.blocks, decisions, strict=True))
        gated = torch.stack(blocks).sum(dim=0) if blocks else torch.zeros(1, dtype=torch.int64)
        return ActiveMacs(blocks, gated, gated + self.macs_gates + self.macs_ungated)


def count_macs(network: nn.Module, input_shape: Sequence[int]) -> MacReport:
    """Count the multiply-accumulates of every convolution and matrix product of ``network`` for one image.

    Runs a copy as ``torch.export`` traces it, so no arithmetic happens and no weights are copied.

    Args:
        input_shape: [N, C, H, W]; N does not matter.
    """
    network = evaluation_copy(network)
    set_execution(network, "masked")
    set_kernel_execution(network, "fused")
    sizes: dict[nn.Module, tuple[int, int]] = {}
    blocks: list[BlockMacs] = []
    for name, block in gated_blocks(network):
        for stage in block.stages():
            stage.convolution.register_forward_hook(_record_size(sizes))
        block.register_forward_hook(_record_block(name, sizes, blocks))
    kernels: list[KernelMacs] = []
    for name, module in network.named_modules():
        if isinstance(module, CoefficientPredictor):
            module.register_forward_hook(_record_predictor(name, kernels))
        elif isinstance(module, DynamicConv2d):
            module.register_forward_hook(_record_dynamic(name, kernels))
    with torch.no_grad(), without_arithmetic(), FlopCounterMode(display=False) as counter:
        network(empty_input(network, (1, *input_shape[1:])))
    gated = sum(block.macs_total for block in blocks)
    flops = counter.get_flop_counts()
    root = type(network).__name__
    units = [name for name, module in network.named_modules() if isinstance(module, GatePart)]
    gates = sum(sum(flops.get(f"{root}.{name}", {}).values()) for name in units) // 2
    return MacReport(tuple(blocks), gated, gates, counter.get_total_flops() // 2 - gated - gates, tuple(kernels))


def _record_size(sizes: dict[nn.Module, tuple[int, int]]) -> Any:
    def record(convolution: nn.Module, _args: Any, output: Tensor) -> None:
        sizes[convolution] = (output.shape[2], output.shape[3])

    return record


def _record_block(name: str, sizes: dict[nn.Module, tuple[int, int]], blocks: list[BlockMacs]) -> Any:
    def record(block: GatedBlock, _args: Any, output: Tensor) -> None:
        stages = block.stages()
        # A convolution does as many multiply-accumulates at a site as it has weights.
        at_active = sum(stage.convolution.weight.numel() for stage in stages if not stage.on_halo)
        at_halo = sum(stage.convolution.weight.numel() for stage in stages if stage.on_halo)
        halo_grid = next(sizes[stage.convolution] for stage in stages if stage.on_halo)
        grid = (output.shape[2], output.shape[3])
        assert block.masker is not None
        decides = block.masker.decides
        blocks.append(BlockMacs(name, block.op, grid, halo_grid, block.halo_stride, at_active, at_halo, decides))

    return record


def _record_predictor(name: str, kernels: list[KernelMacs]) -> Any:
    def record(predictor: CoefficientPredictor, _args: Any, _output: Tensor) -> None:
        prediction = sum(module.weight.numel() for module in predictor.modules() if isinstance(module, nn.Linear))
        kernels.append(KernelMacs(name, (), prediction, 0, 0))

    return record


def _record_dynamic(name: str, kernels: list[KernelMacs]) -> Any:
    """Add a convolution to the predictor that ran last: a block predicts first, and such blocks do not nest."""

    def record(convolution: DynamicConv2d, _args: Any, output: Tensor) -> None:
        if not kernels:
            raise Dyn2trtError(f"{name} ran before any CoefficientPredictor; its coefficients come from one")
        weights, last = convolution.weight.numel(), kernels[-1]
        at_a_site = weights // convolution.kernels
        kernels[-1] = replace(
            last,
            convolutions=(*last.convolutions, name),
            macs_weighing=last.macs_weighing + weights,
            macs_convolutions=last.macs_convolutions + at_a_site * output.shape[2] * output.shape[3],
        )

    return record


def _sum(macs: Tensor) -> Tensor:
    return macs.sum(dim=(1, 2, 3))
