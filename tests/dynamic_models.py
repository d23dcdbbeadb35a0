"""Small networks that decide on layers, halting positions or kernels, exported with random weights for tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import torch

from dyn2trt.export import export_network
from dyn2trt.networks.zoo import NETWORKS, build_network

_OPTIONS = {
    "dy_cifar_resnet": {"depth": 8, "width": 0.5},
    "cifar_convnet_aig": {"depth": 14, "width": 0.5},
    "cifar_sact": {"depth": 20, "width": 0.5},
}
_FOLDER = tempfile.TemporaryDirectory(prefix="dyn2trt-tests-")


@cache
def export_dynamic(name: str, **options: object) -> Path:
    """Export a network for batches of 2, once for each set of options. Leave the file as it is."""
    path = Path(_FOLDER.name) / f"{'_'.join([name, *map(str, options.values())])}.onnx"
    torch.manual_seed(0)
    network = build_network(name, _OPTIONS[name]).eval()
    about = {"name": name, "options": _OPTIONS[name], "seed": 0, "task": NETWORKS[name].task}
    export_network(network, input_shape=(2, 3, 32, 32), path=path, **about, **options)
    return path
