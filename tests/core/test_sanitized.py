"""The cases that compute-sanitizer runs on a GPU are a dozen, and together they launch every kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from core_guarded import GuardedOps
from test_core_gpu import SANITIZED, SIZES, block, kernel_options, test_every_kernel_once

from dyn2trt.ops.core_library import CoreLibrary

CORE = Path(__file__).resolve().parents[2] / "plugins" / "core"


def test_a_dozen_cases_are_marked():
    assert "sanitized" in {mark.name for mark in test_every_kernel_once.pytestmark}
    assert 10 <= len(SANITIZED) <= 16
    assert max(max(SIZES[size]) for _, size, *_ in SANITIZED) <= 64


def test_they_launch_every_kernel(core_path):
    launched: set[str] = set()
    for name, size, dtype, layout, kernel in SANITIZED:
        flags, variant = kernel_options(CoreLibrary(core_path), name, kernel)
        ops = GuardedOps(core_path, flags=flags, variant=variant)
        ops.launched()
        tensors, attributes = block(name, SIZES[size], "some", dtype, layout)
        y = ops.call(name, *tensors, **attributes)
        assert torch.isfinite(y).all()
        launched.update(ops.launched())
    print(sorted(launched))
    named = [re.findall(r'kName = ([^;]+);', path.read_text()) for path in sorted(CORE.rglob("*.cuh"))]
    every = {name for found in named for text in found for name in re.findall(r'"(\w+)"', text)}
    print(sorted(every))
    assert every <= launched
