"""Small networks that decide on layers, halting positions or kernels, exported for tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import gated_baselines
import torch

from dyn2trt.export import export_network
from dyn2trt.networks.zoo import NETWORKS, build_network

_OPTIONS = {
    "dy_cifar_resnet": {"depth": 8, "width": 0.5},
    **gated_baselines.OPTIONS,
}
_FOLDER = tempfile.TemporaryDirectory(prefix="dyn2trt-tests-")


@cache
def export_dynamic(name: str, **options: object) -> Path:
    """Export a network for batches of 2, once for each set of options. Leave the file as it is.

    Gated ones have gates that decide now this way, now that; their weights are in `checkpoint_of` the file.
    """
    path = Path(_FOLDER.name) / f"{'_'.join([name, *map(str, options.values())])}.onnx"
    about: dict[str, object] = {"name": name, "options": _OPTIONS[name], "task": NETWORKS[name].task}
    if name in gated_baselines.NETWORKS:
        network, weights = gated_baselines.build(name), path.with_suffix(".pth")
        torch.save(network.state_dict(), weights)
        about["checkpoint"] = weights
    else:
        torch.manual_seed(0)
        network = build_network(name, _OPTIONS[name]).eval()
        about["seed"] = 0
    export_network(network, input_shape=(2, 3, 32, 32), path=path, **about, **options)
    return path


def checkpoint_of(model: Path) -> Path | None:
    """The weights of an exported network; None where they are of a seed."""
    weights = model.with_suffix(".pth")
    return weights if weights.exists() else None
