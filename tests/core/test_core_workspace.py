"""Composites on GPUs of every size: the workspace, which TensorRT reserves once for all shapes, and the results."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
from core_cases import assert_close, dense, mask, parameters, reference_of
from core_guarded import GuardedOps

from dyn2trt.contract import BLOCKS, GATES, BlockKind, GateKind
from dyn2trt.ops import core_library as core

# Multiprocessors and bytes of shared memory of a block: the emulator's own small device, T4, A100, H200.
DEVICES = ((3, 227 * 1024), (40, 64 * 1024), (108, 163 * 1024), (132, 227 * 1024))
BATCHES = (1, 2, 3, 8, 31, 64, 109, 218, 255, 256, 257, 300, 512)


@pytest.fixture
def set_device(core_path: Path) -> Iterator[Callable[[int, int], None]]:
    host = ctypes.CDLL(str(core_path))
    yield host.dyn2trt_emulator_set_device
    host.dyn2trt_emulator_set_device(*DEVICES[0])


@pytest.fixture(scope="module")
def library(core_path: Path) -> core.CoreLibrary:
    return core.CoreLibrary(core_path)


def tensor(n: int, c: int, size: int) -> core.Dense:
    return core.Dense(None, n, c, size, size, c * size * size, 1, c * size, c, core.NHWC)


def wanted(library: core.CoreLibrary, block: BlockKind, gate: GateKind, n: int, c: int, size: int) -> int:
    x = tensor(n, c, size)
    params = core.GatedBlock(kind=BLOCKS.index(block), dtype=1, stride_h=1, stride_w=1, x=x, identity=x, y=x)
    params.gate.kind, params.gate.hidden = GATES.index(gate), 16
    for index, convolution in enumerate(block.convolutions):
        params.convolutions[index].c_out = {"C": c, "Co": c, "E": 6 * c, "B": c // 4}[convolution.channels]
    return library.workspace(params)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_workspace_grows_with_the_shape_and_is_the_same_on_every_device(library, set_device, block, gate):
    by_device = []
    for device in DEVICES:
        set_device(*device)
        by_device.append(
            [wanted(library, block, gate, n, c, s) for c, s, n in product((16, 96, 512), (1, 4, 13), BATCHES)]
        )
    assert all(sizes == by_device[0] for sizes in by_device)
    for start in range(0, len(by_device[0]), len(BATCHES)):
        of_batches = by_device[0][start : start + len(BATCHES)]
        assert of_batches == sorted(of_batches)
    sizes = [wanted(library, block, gate, 1, 64, size) for size in range(1, 70)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("device", DEVICES[1:], ids=lambda device: f"{device[0]} multiprocessors")
def test_results_on_devices_of_every_size(core_path, set_device, device):
    """More blocks than tiles, shared tiles, and the tiles that a small shared memory leaves."""
    set_device(*device)
    ops = GuardedOps(core_path)
    generator = torch.Generator().manual_seed(0)
    for c, grid in ((64, (1, 5, 7)), (24, (3, 9, 11))):
        n, h, w = grid
        x, identity = (dense((n, c, h, w), torch.float16, "nhwc", generator) for _ in range(2))
        logits = mask("some", n, h, w, generator)
        weights = parameters([(c, 3, 3, c), (c, 3, 3, c)], [9 * c, 9 * c], torch.float16, generator)
        given = (x, logits, identity, *weights)
        run = reference_of("gated_basic_block")
        wide = run(*(t if i == 1 else t.double() for i, t in enumerate(given)))
        assert_close(ops.call("gated_basic_block", *given), wide, run(*given))
