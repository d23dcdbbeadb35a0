"""The torch ops on CUDA tensors: the core library's kernels on torch's current stream, without synchronisation.

Where the library was not built, the reference runs instead, which is slow and waits for the device; a warning says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from dyn2trt.contract import SCHEMAS, OpSchema
from dyn2trt.ops import reference_blocks
from dyn2trt.ops.core_library import ENVIRONMENT, LIBRARY, load_core_library
from dyn2trt.ops.core_tensors import CoreOps


def register_cuda_ops(library: torch.library.Library) -> None:
    """Give every op of `SCHEMAS`, defined in ``library`` already, its CUDA implementation."""
    for schema in SCHEMAS.values():
        library.impl(schema.torch_name, _implementation(schema), "CUDA")


def _implementation(schema: OpSchema) -> Callable[..., Any]:
    name = schema.torch_name

    def run(first: torch.Tensor, *rest: Any, **attributes: Any) -> Any:
        # A pointer to another device's memory would be a fault that no later call survives.
        devices = {str(t.device) for t in (first, *rest) if isinstance(t, torch.Tensor)}
        if len(devices) > 1:
            raise ValueError(f"{name}: all tensors on one GPU expected, not on {', '.join(sorted(devices))}")
        with torch.cuda.device(first.device):
            return _ops().implementation(schema)(first, *rest, **attributes)

    run.__name__ = name
    return run


@cache
def _ops() -> Any:
    """What has every op's implementation: `CoreOps`, or the reference's module where there is no library."""
    library = load_core_library()
    if library is not None:
        return CoreOps(library)
    warnings.warn(
        f"{LIBRARY} was not found, so dyn2trt's ops run their slow reference on the GPU; build it (cmake --preset "
        f"release && cmake --build --preset release), or name it in {ENVIRONMENT}",
        stacklevel=3,
    )
    return reference_blocks
