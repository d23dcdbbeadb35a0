"""The torch ops' way to the core library, as far as it goes without a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dyn2trt.contract import MASK_GATHER
from dyn2trt.ops import cuda
from dyn2trt.ops.core_library import ALLOW_TF32
from dyn2trt.ops.core_tensors import CoreOps


@pytest.fixture
def precision() -> Iterator[None]:
    before = torch.backends.cuda.matmul.fp32_precision
    yield
    torch.backends.cuda.matmul.fp32_precision = before


@pytest.mark.usefixtures("precision")
def test_tf32_follows_torchs_switch():
    ops = CoreOps(None, stream=lambda: 0)
    for setting, flags in (("tf32", ALLOW_TF32), ("ieee", 0)):
        torch.backends.cuda.matmul.fp32_precision = setting
        assert ops._flags() == flags
    torch.backends.cuda.matmul.allow_tf32 = True
    assert ops._flags() == ALLOW_TF32


def test_tensors_on_two_devices_are_an_error_and_not_a_fault():
    x = torch.zeros(1, 8, 4, 4, device="meta")
    with pytest.raises(ValueError, match="mask_gather: all tensors on one GPU expected, not on cpu, meta"):
        cuda._implementation(MASK_GATHER)(torch.zeros(1, 1, 4, 4), x)


@pytest.mark.parametrize("wrong", ["slots", "sites", "count"])
def test_indices_of_another_type_are_an_error_and_not_garbage(wrong):
    indices = {"slots": torch.zeros(1, 4, 4), "sites": torch.zeros(16), "count": torch.zeros(1)}
    given = {name: t.to(torch.int64 if name == wrong else torch.int32) for name, t in indices.items()}
    ops = CoreOps(None, stream=lambda: 0)
    weights = torch.zeros(8, 3, 3, 8), torch.zeros(8)
    with pytest.raises(TypeError, match=f"{wrong} is int32, not torch.int64"):
        ops.sparse_conv(torch.zeros(16, 8), *weights, *given.values(), kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    if wrong != "slots":
        with pytest.raises(TypeError, match=f"{wrong} is int32, not torch.int64"):
            ops.mask_scatter(torch.zeros(1, 8, 4, 4), torch.zeros(16, 8), given["sites"], given["count"])
