"""A network as it evaluates: what is recomputed from parameters at every call becomes plain parameters."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from dyn2trt.errors import Dyn2trtError


class SingleBatchNorm(_BatchNorm):
    """What a ``nn.SyncBatchNorm`` is in evaluation, on any device and for any number of dimensions."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


def evaluation_copy(network: nn.Module) -> nn.Module:
    """Return a frozen copy of ``network`` in evaluation mode that shares the memory of its parameters.

    Parametrizations (``torch.nn.utils.parametrize`` and what is built on it), the older weight and spectral norm, and
    pruning are baked into the parameters; SyncBatchNorm becomes ordinary BatchNorm. For exporting, counting and
    running: assign new parameters to the copy, and change none in place.

    Raises:
        Dyn2trtError: a lazy module has not seen an input yet.
    """
    _check_initialised(network)
    known: dict[int, Tensor] = {}
    for module in network.modules():
        for tensor in vars(module).values():
            if isinstance(tensor, Tensor) and not tensor.is_leaf:  # which deepcopy refuses
                known[id(tensor)] = tensor.detach()
    for parameter in network.parameters():
        known[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    # The memo hands deepcopy our tensors in place of the network's; shared ones stay shared.
    copied = copy.deepcopy(network, known).eval()
    for module in copied.modules():
        _bake(module)
        if isinstance(module, nn.SyncBatchNorm):
            module.__class__ = SingleBatchNorm  # type: ignore[assignment]
    return copied.requires_grad_(False)


def _bake(module: nn.Module) -> None:
    if parametrize.is_parametrized(module):
        # torch's remove_parametrizations changes the class, which the original network shares.
        values = {name: getattr(module, name).detach() for name in module.parametrizations}  # type: ignore[union-attr]
        del module.parametrizations
        module.__class__ = type(module).__base__  # type: ignore[assignment]
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)


def _check_initialised(network: nn.Module) -> None:
    for name, module in network.named_modules():
        tensors = [*module._parameters.values(), *module._buffers.values()]
        if any(map(is_lazy, tensors)):
            raise Dyn2trtError(
                f"{name or type(network).__name__} is a lazy module that has not seen an input, so it has no weights; "
                "run the network once on an input of the right shape where it is built"
            )
