"""Networks in torch on the CPU: outputs, gate logits and, on request, what enters and leaves blocks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dyn2trt.blocks.base import Execution, set_execution
from dyn2trt.blocks.dynamic import CoefficientPredictor
from dyn2trt.export.outputs import flatten_outputs
from dyn2trt.gates.decisions import forced_masks
from dyn2trt.gates.mask_unit import MaskUnit
from dyn2trt.runtimes.names import COEFFICIENTS, FORCED, INPUT, LOGITS, block_input, block_output
from dyn2trt.runtimes.session import Feed, MemoryUse, Outputs


class TorchSession:
    """A network, by default run masked dense: every position is computed, then multiplied by the mask.

    Feeds: ``x`` float32 [N, C, H, W]; with ``gates`` given, also ``forced0``, ..., float32 [N, 1, Ho, Wo], and a
    block is active where they are ≥ 0. Results: the outputs by their names; ``logits0``, ..., which are what the gates
    themselves say, forced or not; ``coefficients0``, ... of its dynamic kernels; and for every module of ``taps`` its
    first input and its output.

    Args:
        network: in evaluation mode; takes and gives float32.
        outputs: their names, in order.
        gates: how many masks are fed; 0 lets the network decide.
        taps: module paths of gated blocks or dynamic convolutions.
        execution: ``dense`` for a model that was exported without gates.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        outputs: Sequence[str],
        gates: int = 0,
        taps: Sequence[str] = (),
        execution: Execution = "masked",
    ) -> None:
        self._network = network
        self._outputs = tuple(outputs)
        self._gates = gates
        self._taps = tuple(taps)
        self._execution = execution

    def run(self, feed: Feed) -> Outputs:
        seen: Outputs = {}
        set_execution(self._network, self._execution)
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self._gates:
                masks = [torch.from_numpy(feed[f"{FORCED}{index}"]) >= 0 for index in range(self._gates)]
                stack.enter_context(forced_masks(self._network, masks))
            stack.enter_context(_observed(self._network, self._taps, seen))
            outputs = self._network(torch.from_numpy(np.ascontiguousarray(feed[INPUT])))
        named = zip(self._outputs, flatten_outputs(outputs), strict=True)
        return {**{name: _array(value) for name, value in named}, **seen}

    def time(self, feed: Feed) -> float:
        """Seconds of one run by the wall clock."""
        start = time.perf_counter()
        self.run(feed)
        return time.perf_counter() - start

    def memory(self, feed: Feed) -> MemoryUse:
        """Not measured: the network shares its process with everything else."""
        return MemoryUse()

    def close(self) -> None:
        """Nothing to free."""


@contextmanager
def _observed(network: nn.Module, taps: Sequence[str], seen: Outputs) -> Iterator[None]:
    """Write logits, coefficients, and the inputs and outputs of tapped blocks, into ``seen`` as the network runs."""
    hooks = []
    count = 0

    def see_logits(_unit: nn.Module, _args: Any, decision: tuple[Tensor, Tensor]) -> None:
        nonlocal count
        seen[f"{LOGITS}{count}"] = _array(decision[0])
        count += 1

    for module in network.modules():
        if isinstance(module, MaskUnit):
            # Ahead of the hook by which the mask may be forced.
            hooks.append(module.register_forward_hook(see_logits, prepend=True))
    predictions = 0

    def see_coefficients(_predictor: nn.Module, _args: Any, coefficients: Tensor) -> None:
        nonlocal predictions
        seen[f"{COEFFICIENTS}{predictions}"] = _array(coefficients)
        predictions += 1

    for module in network.modules():
        if isinstance(module, CoefficientPredictor):
            hooks.append(module.register_forward_hook(see_coefficients))
    for block in taps:

        def see_block(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor, block: str = block) -> None:
            seen[block_input(block)] = _array(args[0])
            seen[block_output(block)] = _array(output)

        hooks.append(network.get_submodule(block).register_forward_hook(see_block))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _array(tensor: Tensor) -> NDArray[Any]:
    """A copy, float32: numpy has no bfloat16, and a later in-place activation must not reach it."""
    return tensor.detach().float().cpu().numpy().copy()
