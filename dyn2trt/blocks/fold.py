"""BatchNorm folded into the convolutions of a whole network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from dyn2trt.blocks.base import gated_blocks, set_execution
from dyn2trt.blocks.batchnorm import folded_weights, is_evaluated_batchnorm, is_plain_batchnorm, is_plain_convolution
from dyn2trt.blocks.dynamic import DynamicConv2d
from dyn2trt.blocks.evaluation import evaluation_copy
from dyn2trt.blocks.observe import Call, Recorder, observe
from dyn2trt.errors import Dyn2trtError


def fold_batchnorm(network: nn.Module, input_shape: Sequence[int]) -> nn.Module:
    """Return a frozen copy of ``network`` in evaluation mode with BatchNorm folded into the convolutions before it.

    What feeds what is observed in a forward pass without arithmetic. A BatchNorm is folded where

    1. its module and the convolution's are plain: of torch's own forward, or `DynamicConv2d`, and without hooks;
    2. each of them ran once, and no other operation reads their parameters and statistics;
    3. it normalises by running statistics and alone reads what the convolution gives.

    Any other BatchNorm stays, and stays right. Module paths keep their names; a folded BatchNorm has become an
    ``nn.Identity``. The weights of gated blocks are packed (`GatedBlock.pack_weights`), so the copy is not for further
    training or loading.

    Args:
        input_shape: of one input that the network takes, [N, C, H, W].

    Raises:
        Dyn2trtError: a gated block computes something else than its op.
    """
    folded = evaluation_copy(network)
    set_execution(folded, "masked")
    for convolution, batchnorm in list(_foldable(observe(folded, input_shape, _is_dynamic))):
        module = convolution.module
        assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | DynamicConv2d)
        kernels = module.kernels if isinstance(module, DynamicConv2d) else 1
        weight, bias = folded_weights(module.weight, module.bias, batchnorm, kernels=kernels)
        module.weight = nn.Parameter(weight, requires_grad=False)
        module.bias = nn.Parameter(bias, requires_grad=False)
        assert batchnorm.module is not None
        _become_identity(batchnorm.module)
    for name, block in gated_blocks(folded):
        try:
            block.pack_weights()
        except Dyn2trtError as error:
            raise Dyn2trtError(f"the gated block {name or 'itself'} {error}") from error
    return folded


def _foldable(recorder: Recorder) -> Iterator[tuple[Call, Call]]:
    uses = recorder.uses()
    convolutions = {id(call.output): call for call in recorder.calls if _is_lone_convolution(call, recorder, uses)}
    for call in recorder.calls:
        if not _is_lone_batchnorm(call, recorder, uses):
            continue
        convolution = convolutions.get(id(call.args[0]))
        if convolution is not None and uses[id(convolution.output)] == 1:
            yield convolution, call


def _is_dynamic(module: nn.Module) -> bool:
    return isinstance(module, DynamicConv2d)


def _is_lone_convolution(call: Call, recorder: Recorder, uses: Counter[int]) -> bool:
    module = call.module
    if call.op not in ("convolution", DynamicConv2d.__name__) or not is_plain_convolution(module):
        return False
    assert module is not None
    given = call.args[2:4] if isinstance(module, DynamicConv2d) else call.args[1:3]
    return recorder.entered[module] == 1 and _reads_alone(given, (module.weight, module.bias), uses)


def _is_lone_batchnorm(call: Call, recorder: Recorder, uses: Counter[int]) -> bool:
    module = call.module
    if not is_evaluated_batchnorm(call) or not is_plain_batchnorm(module):
        return False
    assert module is not None
    own = (module.weight, module.bias, module.running_mean, module.running_var)
    return recorder.entered[module] == 1 and _reads_alone(call.args[1:5], own, uses)


def _reads_alone(given: Sequence[Tensor | None], own: Sequence[object], uses: Counter[int]) -> bool:
    """Whether an operation was given the module's own tensors, and no other operation was."""
    same = all(one is other for one, other in zip(given, own, strict=True))
    return same and all(uses[id(tensor)] == 1 for tensor in given if tensor is not None)


def _become_identity(batchnorm: nn.Module) -> None:
    """Change the very object, for a network may hold it in other places than its tree of modules."""
    batchnorm.__class__ = nn.Identity
    batchnorm._parameters.clear()
    batchnorm._buffers.clear()
