"""Small networks with dynamic kernels, one of each kind, for the tests of what is downstream of them."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dyn2trt.export import export_network
from dyn2trt.networks.zoo import build_network

CASES: dict[str, tuple[str, dict[str, Any], tuple[int, int, int]]] = {
    "dy_cifar_resnet": ("dy_cifar_resnet", {"depth": 8}, (3, 20, 24)),
    "dy_resnet18": ("dy_resnet", {"depth": 18, "width": 0.0625, "stem": 6, "classes": 10}, (3, 64, 48)),
    "dy_resnet50": ("dy_resnet", {"depth": 50, "width": 0.0625, "stem": 6, "classes": 10}, (3, 64, 48)),
    "dy_fcn": ("dy_fcn", {"width": 0.0625, "stem": 6, "features": 12, "classes": 5}, (3, 48, 64)),
    "dy_shufflenet_v2": ("dy_shufflenet_v2", {"width": 0.5, "classes": 10}, (3, 64, 64)),
    "dy_mobilenet_v2": ("dy_mobilenet_v2", {"width": 0.25, "classes": 10}, (3, 64, 64)),
    "dy_mobilenet_v3_small": ("dy_mobilenet_v3", {"variant": "small", "width": 0.25, "classes": 10}, (3, 64, 64)),
    "dy_mobilenet_v3_large": ("dy_mobilenet_v3", {"variant": "large", "width": 0.25, "classes": 10}, (3, 64, 64)),
}
"""Name → the zoo's name, options, and C, H, W of an input."""


def build_dynet(case: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """A case's network with random weights, in evaluation mode, and the shape of one of its images.

    Its BatchNorms hold the statistics of noise, as in a trained network: at every depth the activations have a size
    that fp16 can tell apart. Channels that noise hardly moves are not blown up, so that rounding is not either.
    """
    name, options, shape = CASES[case]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(name, options)
        batchnorms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        for batchnorm in batchnorms:
            batchnorm.momentum = None
        with torch.no_grad():
            network.train()(torch.randn(8, *shape))
        for batchnorm in batchnorms:
            assert batchnorm.running_var is not None
            batchnorm.eps = float(batchnorm.running_var.mean()) / 10
    return network.eval(), shape


def export_once(folder: Path, case: str, batch: int, **options: Any) -> Path:
    """A case's file in ``folder``, exported by whichever process of a test run asks for it first. Leave it as it is.

    Args:
        options: of `export_network`.
    """
    path = folder / f"{'_'.join([case, str(batch), *(f'{key}_{value}' for key, value in options.items())])}.onnx"
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            network, shape = build_dynet(case)
            export_network(network, input_shape=(batch, *shape), path=path, **options)
    return path


def normalised(network: nn.Module, x: Tensor) -> nn.Module:
    """``network`` with BatchNorms that normalise for ``x``, as after training, and scale and shift at random."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.2)
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(x)
    return network.eval()


def varied_images(n: int, height: int, width: int) -> Tensor:
    """Images of noise [n, 3, height, width], each of a contrast and brightness of its own."""
    generator = torch.Generator().manual_seed(n)
    contrast, brightness = torch.rand(2, n, 1, 1, 1, generator=generator)
    return torch.randn(n, 3, height, width, generator=generator) * (0.5 + contrast) + brightness
