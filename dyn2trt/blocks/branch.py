"""The weights that a gated block's branch multiplies with, proven by what it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from dyn2trt.blocks.batchnorm import folded_weights, is_evaluated_batchnorm
from dyn2trt.blocks.observe import Call, Recorder
from dyn2trt.errors import Dyn2trtError
from dyn2trt.ops.activations import BY_NAME

if TYPE_CHECKING:
    from dyn2trt.blocks.base import GatedBlock

_SIZE = 9
_MEND = "; make the block without a gate (mask_unit='none'), so that it is exported as it is"


def branch_weights(block: GatedBlock) -> list[tuple[Tensor, Tensor]]:
    """Return weight [Cout, Cin/groups, kh, kw] and bias [Cout] of every stage, BatchNorm folded in.

    The branch is run once on a small image. They are what its convolutions were given, whichever way a module made
    them (a subclass, a parametrization, a hook), as long as nothing but the stages' convolutions, BatchNorms and
    activations takes part.

    Raises:
        Dyn2trtError: the branch computes something else than the block's op; the message goes on after the block's
            name.
    """
    stages = block.stages()
    weight = stages[0].convolution.weight
    x = weight.new_zeros(1, stages[0].convolution.in_channels, _SIZE, _SIZE)
    recorder = Recorder()
    with torch.no_grad(), recorder:
        result = block.branch(x)
    _check_identity(block, x)
    chain = _Chain(block.op, recorder.calls, x)
    found = []
    for stage, declared in zip(stages, block.kind.convolutions[-len(stages) :], strict=True):
        call = chain.take(("convolution",), f"the convolution of {stage.name}")
        _check_geometry(block.op, stage.name, call, block.stride if declared.strided else 1)
        batchnorm = chain.take_batchnorm()
        found.append(folded_weights(call.args[1], call.args[2], batchnorm))
        if stage.activated and block.activation != "none":
            chain.take(BY_NAME[block.activation].aten, block.activation)
    chain.end(result)
    return found


class _Chain:
    """The operations that depend on ``x``; each must read what the one before gives, and nothing else."""

    def __init__(self, op: str, calls: list[Call], x: Tensor) -> None:
        self._op, self._current = op, x
        known = {id(x)}
        self._calls: list[Call] = []
        for call in calls:
            if any(id(leaf) in known for leaf in tree_leaves(call.args)):
                known.update(id(leaf) for leaf in tree_leaves(call.output) if isinstance(leaf, Tensor))
                self._calls.append(call)
        self._known = known

    def take(self, ops: tuple[str, ...], what: str) -> Call:
        if not self._calls or self._calls[0].op.rstrip("_") not in ops:
            came = self._calls[0].op if self._calls else "nothing"
            raise Dyn2trtError(f"cannot run as {self._op}, which has {what} where its branch has {came}{_MEND}")
        call = self._calls.pop(0)
        others = [leaf for leaf in tree_leaves(call.args[1:]) if id(leaf) in self._known]
        if call.args[0] is not self._current or others:
            raise Dyn2trtError(f"cannot run as {self._op}: {what} reads something else than the stage before{_MEND}")
        self._current = call.output[0] if isinstance(call.output, tuple) else call.output
        return call

    def take_batchnorm(self) -> Call | None:
        """The BatchNorm that comes next, if one does."""
        if not self._calls or not is_evaluated_batchnorm(self._calls[0]):
            return None
        return self.take((self._calls[0].op,), "BatchNorm")

    def end(self, result: Tensor) -> None:
        if self._calls:
            raise Dyn2trtError(
                f"cannot run as {self._op}, whose branch ends where its own goes on with {self._calls[0].op}{_MEND}"
            )
        if result is not self._current:
            raise Dyn2trtError(
                f"cannot run as {self._op}: its branch returns something else than its last stage{_MEND}"
            )


def _check_identity(block: GatedBlock, x: Tensor) -> None:
    """What the branch is added to."""
    if block.kind.identity_is_x and block.identity(x) is not x:
        raise Dyn2trtError(f"cannot run as {block.op}, which adds its input to its branch, not something else{_MEND}")


def _check_geometry(op: str, stage: str, call: Call, stride: int) -> None:
    _, weight, _, strides, pads, dilations, transposed, _, groups = call.args[:9]
    expected = ([stride] * 2, [size // 2 for size in weight.shape[2:]], [1, 1], False)
    came = (list(strides), list(pads), list(dilations), transposed)
    depthwise = weight.shape[1] == 1 and groups == weight.shape[0]
    if came != expected or (groups != 1 and not depthwise):
        raise Dyn2trtError(
            f"cannot run as {op}: the convolution of {stage} has stride {came[0]}, padding {came[1]}, dilation "
            f"{came[2]} and {groups} groups where the op has {expected[0]}, {expected[1]}, {expected[2]} and one group "
            f"or one a channel{_MEND}"
        )
