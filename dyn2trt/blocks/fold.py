"""BatchNorm folded into the convolutions of a whole network."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

from torch import nn

from dyn2trt.blocks.base import gated_blocks
from dyn2trt.blocks.batchnorm import folded_weights
from dyn2trt.blocks.dynamic import DynamicConv2d


def fold_batchnorm(network: nn.Module) -> nn.Module:
    """Return a frozen copy of ``network`` in evaluation mode with BatchNorm folded into the convolutions before it.

    Folded are the neighbours in every ``nn.Sequential`` and the pairs that a module names in ``batchnorm_pairs``, a
    tuple of (convolution, BatchNorm) attribute names; any other BatchNorm stays, and stays right. Module paths keep
    their names, with ``nn.Identity`` in place of a folded BatchNorm. The weights of gated blocks are packed
    (`GatedBlock.pack_weights`), so the copy is not for further training or loading.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(folded.modules()):
        for convolution_name, batchnorm_name in list(_pairs(module)):
            convolution, batchnorm = getattr(module, convolution_name), getattr(module, batchnorm_name)
            weight, bias = folded_weights(convolution, batchnorm)
            convolution.weight = nn.Parameter(weight, requires_grad=False)
            convolution.bias = nn.Parameter(bias, requires_grad=False)
            setattr(module, batchnorm_name, nn.Identity())
    for _, block in gated_blocks(folded):
        block.pack_weights()
    return folded


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    named = list(module.named_children()) if isinstance(module, nn.Sequential) else []
    candidates = [(first, second) for (first, _), (second, _) in itertools.pairwise(named)]
    for first, second in (*candidates, *getattr(module, "batchnorm_pairs", ())):
        batchnorm = getattr(module, second)
        has_statistics = isinstance(batchnorm, nn.BatchNorm2d) and batchnorm.running_mean is not None
        if isinstance(getattr(module, first), nn.Conv2d | DynamicConv2d) and has_statistics:
            yield first, second
