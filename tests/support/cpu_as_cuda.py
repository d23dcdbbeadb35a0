"""torch.cuda played by the CPU, so that scripts for a GPU can be run through without one.

Tensors stay on the CPU. A CUDA graph runs what it captures, once, and its replay does nothing. An event's time is the
clock's. What a GPU would compute, wait for or refuse is not seen here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class Event:
    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0.0

    def record(self, stream: Any = None) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: Event) -> float:
        return (end.at - self.at) * 1e3


class Stream:
    cuda_stream = 0

    def wait_stream(self, other: Stream) -> None:
        pass

    def synchronize(self) -> None:
        pass


class CUDAGraph:
    def replay(self) -> None:
        time.sleep(2e-3)


class Generator(torch.Generator):
    def __new__(cls, device: str = "cpu") -> Generator:
        return super().__new__(cls)


def convolution_relu(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    """As ``torch.cudnn_convolution_relu``: stride, padding, dilation and groups follow the bias."""
    return functional.relu(functional.conv2d(x, weight, bias, *geometry))


def convolution_add_relu(
    x: Tensor, weight: Tensor, z: Tensor, alpha: float, bias: Tensor | None, *geometry: Any
) -> Tensor:
    """As ``torch.cudnn_convolution_add_relu``: relu(convolution + alpha z)."""
    return functional.relu(functional.conv2d(x, weight, bias, *geometry) + alpha * z)


class _OnCpu(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {**(kwargs or {})}
        if str(given.get("device")).startswith("cuda"):
            given["device"] = "cpu"
        name = getattr(function, "__name__", "")
        if name == "cuda":
            return args[0]
        if name == "to":
            args = tuple("cpu" if str(a).startswith("cuda") and not isinstance(a, torch.Tensor) else a for a in args)
        return function(*args, **given)


@contextmanager
def cpu_as_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While it lasts, ``device="cuda"`` and ``.cuda()`` give CPU tensors, and torch.cuda's objects are stand-ins."""
    fakes = {
        "is_available": lambda: True,
        "Event": Event,
        "Stream": Stream,
        "CUDAGraph": CUDAGraph,
        "current_stream": Stream,
        "stream": lambda stream: nullcontext(),
        "graph": lambda graph, stream=None: nullcontext(),
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
        "get_device_name": lambda: "no GPU",
        "get_device_properties": lambda index: SimpleNamespace(L2_cache_size=1 << 14),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch, "cudnn_convolution_relu", convolution_relu)
    monkeypatch.setattr(torch, "cudnn_convolution_add_relu", convolution_add_relu)
    with _OnCpu():
        yield
