"""The checkpoints in the DynConv authors' format (tests/data/official/README.md), for the tests that need them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.networks.zoo import build_network

FOLDER = Path(__file__).parents[1] / "data" / "official"

NETWORKS: dict[str, tuple[str, dict[str, int | float]]] = {
    "hourglass_f32_s2": ("hourglass", {"features": 32, "stacks": 2}),
    "cifar_resnet8": ("cifar_resnet", {"depth": 8}),
    "imagenet_resnet18_w025": ("resnet", {"depth": 18, "width": 0.25, "classes": 20}),
    "imagenet_resnet50_w0125": ("resnet", {"depth": 50, "width": 0.125, "classes": 20}),
}


@dataclass(frozen=True)
class Official:
    """One checkpoint loaded, with its input and what the authors' code computes from it."""

    network: nn.Module
    x: Tensor
    outputs: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]


def load_official(name: str) -> Official:
    network = build_network(*NETWORKS[name]).eval()
    load_checkpoint(network, FOLDER / f"{name}.pth")
    arrays = np.load(FOLDER / f"{name}.npz")

    def numbered(prefix: str) -> tuple[Tensor, ...]:
        count = sum(key.startswith(prefix) for key in arrays)
        return tuple(torch.from_numpy(arrays[f"{prefix}{i}"]) for i in range(count))

    return Official(network, torch.from_numpy(arrays["x"]), numbered("out"), numbered("mask"))


def relative_error(y: Tensor, reference: Tensor) -> float:
    """‖y − r‖ / ‖r‖."""
    return float(torch.linalg.vector_norm(y - reference) / torch.linalg.vector_norm(reference))


def as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)
