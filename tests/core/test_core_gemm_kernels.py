"""The gathered GEMM on the CPU emulator, against float64: sources, outputs, dtypes, tiles, sharing, and bad indices."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from gemm_case import Case, check, check_untrusted

FP32, FP16, BF16 = torch.float32, torch.float16, torch.bfloat16
MATHS = {"fp32": (FP32, False), "tf32": (FP32, True), "fp16": (FP16, False), "bf16": (BF16, False)}

POINTWISE = Case(channels=40, cols=72)
CONV3X3 = Case(channels=24, cols=40, kernel=3, pad=1, source="slots", grid=(2, 6, 5))
DEPTHWISE = Case(channels=72, cols=24, kernel=3, pad=1, source="slots", depthwise=True, out="nhwc", residual=True)
# As many tiles as the lists of plugins/core/gemm/tiles.h have; on CUDA cores and from NCHW the largest is missing.
TILES = {"contiguous": (POINTWISE, 4), "planar": (replace(POINTWISE, source="nchw"), 3), "depthwise": (DEPTHWISE, 6)}


@pytest.fixture(scope="module")
def library(core_path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(core_path))
    library.dyn2trt_emulator_set_seed(ctypes.c_uint64(1))
    return library


@pytest.mark.parametrize("math", MATHS)
@pytest.mark.parametrize("source", ["rows", "slots", "nchw", "nhwc", "nhwc_padded"])
def test_sources(library, source, math):
    dtype, tf32 = MATHS[math]
    cases = {"rows": [POINTWISE], "slots": [CONV3X3, DEPTHWISE]}.get(source, [POINTWISE, CONV3X3])
    for case in cases:
        check(library, replace(case, source=source, dtype=dtype, tf32=tf32))


@pytest.mark.parametrize("dtype", [FP32, FP16, BF16], ids=str)
@pytest.mark.parametrize("out", ["rows", "nchw", "nhwc", "nhwc_padded"])
def test_outputs(library, out, dtype):
    for cols in (1, 13, 32, 56):
        case = Case(channels=16, cols=cols, out=out, dtype=dtype, activation="relu6", seed=cols)
        check(library, case)
        if out != "rows":
            check(library, replace(case, residual=True, activation="none", out_activation="relu"))


@pytest.mark.parametrize("math", MATHS)
@pytest.mark.parametrize("channels", [1, 3, 7, 9, 20, 31, 36, 65])
def test_channels_that_are_no_multiple_of_8(library, channels, math):
    dtype, tf32 = MATHS[math]
    for case in (POINTWISE, CONV3X3, DEPTHWISE):
        check(library, replace(case, channels=channels, cols=channels + 2, dtype=dtype, tf32=tf32))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(1, 0, 1), (2, 0, 1), (3, 0, 1), (3, 1, 1), (3, 2, 2), (3, 1, 3)], ids=str)
@pytest.mark.parametrize("source", ["slots", "nchw", "nhwc"])
def test_geometry(library, source, kernel, stride):
    size, pad, dilation = kernel
    check(library, replace(CONV3X3, source=source, kernel=size, pad=pad, dilation=dilation, stride=stride))


@pytest.mark.parametrize("active", ["none", "all", "one", "corners"])
@pytest.mark.parametrize("grid", [(1, 1, 1), (1, 9, 7), (3, 5, 6)], ids=str)
def test_what_is_active(library, grid, active):
    for case in (POINTWISE, replace(CONV3X3, source="nchw"), DEPTHWISE):
        check(library, replace(case, grid=grid, active=active))


def test_only_3x3_is_drawn_in_as_depthwise(library):
    with pytest.raises(AssertionError, match="has 9 kernel positions, not 2 x 2"):
        check(library, replace(DEPTHWISE, kernel=2, pad=0))


def test_more_images_than_one_launch_takes(library):
    for out in ("rows", "nchw"):
        check(library, replace(POINTWISE, grid=(300, 1, 2), channels=8, cols=8, out=out, split=True))


@pytest.mark.parametrize("kind", TILES)
@pytest.mark.parametrize("math", MATHS)
def test_every_tile(library, kind, math):
    case, tiles = TILES[kind]
    dtype, tf32 = MATHS[math]
    for tile in range(tiles - 1 if (kind, math) == ("contiguous", "fp32") else tiles):
        # More rows and columns than two tiles have, or less than one.
        for grid, cols in (((1, 11, 16), 208), ((1, 3, 4), 20)):
            active = "all" if cols == 208 else "some"
            check(library, replace(case, grid=grid, cols=cols, active=active, dtype=dtype, tf32=tf32, tile=tile))


@pytest.mark.parametrize("math", MATHS)
@pytest.mark.parametrize("case", [POINTWISE, CONV3X3, DEPTHWISE], ids=["pointwise", "3x3", "depthwise"])
def test_blocks_that_share_a_tile(library, case, math):
    dtype, tf32 = MATHS[math]
    for channels in (256, 300):
        check(library, replace(case, channels=channels, grid=(1, 3, 4), split=True, dtype=dtype, tf32=tf32))


@pytest.mark.parametrize("kind", TILES)
def test_blocks_that_walk_several_rows_of_tiles(library, kind):
    case, _ = TILES[kind]
    for out in ("rows", "nhwc"):
        small = replace(case, grid=(2, 33, 31), active="all", channels=8, cols=8, out=out, residual=False, tile=1)
        check(library, small)


def test_results_do_not_depend_on_the_order_of_threads_and_blocks(library):
    for case in (replace(POINTWISE, channels=320, split=True), CONV3X3, replace(DEPTHWISE, channels=256, split=True)):
        results = []
        for seed in range(3):
            library.dyn2trt_emulator_set_seed(ctypes.c_uint64(seed))
            results.append(check(library, case))
        assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("out", ["rows", "nchw", "nhwc"])
def test_bad_sites_slots_and_counts_do_no_harm(library, out, seed):
    for case in (POINTWISE, replace(POINTWISE, source="nchw"), CONV3X3, DEPTHWISE):
        residual = case.residual and out != "rows"
        check_untrusted(library, replace(case, out=out, residual=residual, seed=seed, grid=(2, 5, 7)))


@pytest.mark.parametrize("seed", range(24))
def test_random_cases(library, seed):
    random = Random(seed)
    depthwise = random.random() < 0.35
    source = "slots" if depthwise else random.choice(("rows", "slots", "nchw", "nhwc", "nhwc_padded"))
    kernel = 3 if depthwise else 1 if source == "rows" else random.choice((1, 3))
    out = random.choice(("rows", "nchw", "nhwc", "nhwc_padded"))
    case = Case(
        grid=random.choice(((1, 7, 9), (3, 5, 4), (2, 13, 11), (1, 17, 16), (5, 8, 8))),
        channels=random.choice((1, 8, 13, 32, 40, 72, 96, 130)),
        cols=random.choice((1, 5, 16, 31, 40, 64, 96, 136)),
        kernel=kernel,
        stride=1 if depthwise or source == "rows" else random.choice((1, 2)),
        pad=random.choice((0, 1)) if kernel == 3 else 0,
        dtype=random.choice((FP32, FP16, BF16)),
        tf32=random.random() < 0.5,
        source=source,
        out=out,
        residual=out != "rows" and random.random() < 0.6,
        depthwise=depthwise,
        activation=random.choice(("none", "relu", "relu6", "hard_swish")),
        out_activation=random.choice(("none", "relu")),
        active=random.choice(("some", "some", "all", "corners")),
        split=random.random() < 0.4,
        seed=seed,
    )
    check(library, case)
