"""The CIFAR network of the official checkpoints, exported for the tests of comparisons, whole or damaged."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.compare.result import BackendResult, Comparison
from dyn2trt.export import export_network
from dyn2trt.networks.zoo import build_network

OFFICIAL = Path(__file__).parents[1] / "data" / "official"
CHECKPOINT = OFFICIAL / "cifar_resnet8.pth"
INPUTS = OFFICIAL / "cifar_resnet8.npz"
BLOCKS = ["layer1.0", "layer2.0", "layer3.0"]
GATE_BIAS, WEIGHT = "layer2.0.masker.gate_bias", "layer2.0.conv2_weight"


_FOLDER = tempfile.TemporaryDirectory(prefix="dyn2trt-tests-")


@cache
def export_official(**options: object) -> Path:
    """Export the network for batches of 2, once for each set of options. Leave the file as it is."""
    path = Path(_FOLDER.name) / f"{'_'.join(map(str, options.values())) or 'plain'}.onnx"
    network = build_network("cifar_resnet", {"depth": 8, "classes": 10})
    load_checkpoint(network, CHECKPOINT)
    source = {"name": "cifar_resnet", "options": {"depth": 8, "classes": 10}, "checkpoint": CHECKPOINT}
    export_network(network.eval(), input_shape=(2, 3, 32, 32), path=path, **source, **options)
    return path


def damaged(source: Path, target: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Copy a model with one initializer changed."""
    model = onnx.load(source)
    (initializer,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    array = change(numpy_helper.to_array(initializer).copy())
    initializer.CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))
    onnx.save(model, target)
    return target


def result_of(comparison: Comparison, name: str = "onnxruntime") -> BackendResult:
    return next(backend for backend in comparison.backends if backend.name == name)
