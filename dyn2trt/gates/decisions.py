"""What the gates of a network decide, recorded, and decided for them, forced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates.mask_unit import MaskUnit


@dataclass(frozen=True)
class Decision:
    """One gate's decision in one forward pass.

    Attributes:
        block: module path of the gated block, "" when the block is the network itself.
        logits: float32 [N, 1, Ho, Wo].
        mask: 0 or 1, [N, 1, Ho, Wo]; carries the straight-through gradient in training.
    """

    block: str
    logits: Tensor
    mask: Tensor


def _mask_units(network: nn.Module) -> Iterator[tuple[str, MaskUnit]]:
    for name, module in network.named_modules():
        if isinstance(module, MaskUnit):
            yield name.rpartition(".")[0], module


@contextmanager
def record_decisions(network: nn.Module) -> Iterator[list[Decision]]:
    """Collect the decisions of ``network`` while the block lasts.

    Yields:
        A list that every forward pass extends, in execution order. Gates that do not run (execution ``dense``) add
        nothing; inside `forced_masks` the forced decisions are recorded.
    """
    decisions: list[Decision] = []
    hooks = []
    for block, unit in _mask_units(network):

        def record(_unit: nn.Module, _args: Any, output: tuple[Tensor, Tensor], block: str = block) -> None:
            decisions.append(Decision(block, *output))

        hooks.append(unit.register_forward_hook(record))
    try:
        yield decisions
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def forced_masks(network: nn.Module, masks: Sequence[Tensor]) -> Iterator[None]:
    """Replace the decisions of ``network``: the i-th gate executed in each forward pass uses ``masks[i]``.

    Args:
        masks: one bool tensor [N, 1, Ho, Wo] a gate, in execution order. Their logits become +1 where active and −1
            elsewhere.

    Raises:
        Dyn2trtError: in the forward pass, when masks are too few or too many, or one has the wrong shape.
    """
    used = 0

    def start(_network: nn.Module, _args: Any) -> None:
        nonlocal used
        used = 0

    def force(_unit: nn.Module, _args: Any, output: tuple[Tensor, Tensor], block: str) -> tuple[Tensor, Tensor]:
        nonlocal used
        logits = output[0]
        if used == len(masks):
            raise Dyn2trtError(f"{len(masks)} masks were given, but {block} is a further gate; give one mask a gate")
        mask = masks[used].to(logits.device) != 0
        if mask.shape != logits.shape:
            raise Dyn2trtError(
                f"mask {used} has shape {list(mask.shape)}, but the gate of {block} decides on {list(logits.shape)}"
            )
        used += 1
        hard = mask.to(logits.dtype)
        return 2 * hard - 1, hard

    def finish(_network: nn.Module, _args: Any, _output: Any) -> None:
        if used != len(masks):
            raise Dyn2trtError(f"{len(masks)} masks were given, but only {used} gates ran; give one mask a gate")

    hooks = [network.register_forward_pre_hook(start), network.register_forward_hook(finish)]
    for block, unit in _mask_units(network):

        def force_block(
            unit: nn.Module, args: Any, output: tuple[Tensor, Tensor], block: str = block
        ) -> tuple[Tensor, Tensor]:
            return force(unit, args, output, block)

        # First in line, so that whoever records sees what was forced.
        hooks.append(unit.register_forward_hook(force_block, prepend=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
