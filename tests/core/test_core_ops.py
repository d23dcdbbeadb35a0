"""The core library's primitives and composites on the CPU emulator, against the reference in float64."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from core_cases import DTYPES, LAYOUTS, MASKS, assert_close, dense, mask, parameters, reference_of
from core_guarded import GuardedOps
from torch import Tensor

from dyn2trt.errors import Dyn2trtError
from dyn2trt.ops import reference
from dyn2trt.ops.core_library import ALLOW_TF32, CHAIN, GENERIC_ONLY, tile
from dyn2trt.ops.geometry import POINTWISE, Geometry, same3x3

FLAGS = (0, GENERIC_ONLY)
seeds = itertools.count()


def sets(ops: GuardedOps, logits: Tensor, x: Tensor, geometry: Geometry) -> tuple[tuple[Tensor, ...], ...]:
    """Output set and input set (with x's rows) by the core library."""
    return ops.call("mask_gather", logits), ops.call("mask_gather", logits, x, **geometry.attributes)


def used_rows(rows: Tensor, sites: Tensor, count: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Rows of segments in the order of the exact reference set: by flat id."""
    n, h, w = shape
    used = torch.cat([torch.arange(i * h * w, i * h * w + int(count[i])) for i in range(n)])
    return rows[used[sites[used].long().argsort()]]


CONVOLUTIONS: dict[str, tuple[Geometry, bool]] = {
    "1x1": (POINTWISE, False),
    "1x1 stride 2": (Geometry((1, 1), (2, 2)), False),
    "3x3": (same3x3(), False),
    "3x3 stride 2": (same3x3((2, 2)), False),
    "3x3 dilated": (Geometry((3, 3), (1, 1), (2, 2, 2, 2), (2, 2)), False),
    "5x5": (Geometry((5, 5), (1, 1), (2, 2, 2, 2)), False),
    "2x3 lopsided": (Geometry((2, 3), (2, 1), (1, 0, 0, 2)), False),
    "depthwise 3x3": (same3x3(), True),
    "depthwise 5x5 stride 2": (Geometry((5, 5), (2, 2), (2, 2, 2, 2)), True),
    "depthwise 1x1": (POINTWISE, True),
}


@pytest.mark.parametrize("flags", FLAGS, ids=["dispatched", "generic"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_sparse_conv(core_path, name, dtype, flags):
    geometry, depthwise = CONVOLUTIONS[name]
    generator = torch.Generator().manual_seed(len(name))
    for kind, (c_in, c_out), activation in zip(
        MASKS,
        ((3, 5), (8, 16), (16, 8), (24, 40), (33, 7), (64, 32), (40, 72)),
        itertools.cycle(("none", "relu6")),
        strict=False,
    ):
        c_out = c_in if depthwise else c_out
        h, w = 6, 11
        ops = GuardedOps(core_path, flags=flags, seed=next(seeds))
        ho, wo = geometry.output_size(h, w)
        logits = mask(kind, 2, ho, wo, generator)
        x = dense((2, c_in, h, w), dtype, "nchw", generator)
        kh, kw = geometry.kernel_shape
        shape = (kh, kw, c_in) if depthwise else (c_out, kh, kw, c_in)
        weight, bias = parameters([shape], [kh * kw * (1 if depthwise else c_in)], dtype, generator)
        attributes = {**geometry.attributes, "group": 0 if depthwise else 1, "activation": activation}

        (sites, _, count, _), (_, slots, _, rows) = sets(ops, logits, x, geometry)
        out = ops.call("sparse_conv", rows, weight, bias, slots, sites, count, **attributes)
        out = used_rows(out, sites, count, (2, ho, wo))

        exact_sites, _, exact_count, _ = reference.mask_gather(logits)
        _, exact_slots, _, exact_rows = reference.mask_gather(logits, x.double(), **geometry.attributes)
        arguments = (exact_slots, exact_sites, exact_count)
        expected = reference.sparse_conv(exact_rows, weight.double(), bias.double(), *arguments, **attributes)
        at_precision = reference.sparse_conv(exact_rows.to(dtype), weight, bias, *arguments, **attributes)
        assert_close(out, expected, at_precision)


@pytest.mark.parametrize("flags", FLAGS, ids=["dispatched", "generic"])
@pytest.mark.parametrize("depthwise", [False, True], ids=["full", "depthwise"])
def test_pointwise_keeps_its_set(core_path, flags, depthwise):
    """Without slots: every row, or with count those in use."""
    generator = torch.Generator().manual_seed(5)
    ops = GuardedOps(core_path, flags=flags)
    rows = torch.randn(2 * 35, 24, generator=generator)
    weight, bias = parameters([(1, 1, 24) if depthwise else (16, 1, 1, 24)], [24], torch.float32, generator)
    attributes: dict[str, Any] = {"group": 24 if depthwise else 1, "activation": "relu"}
    expected = reference.sparse_conv(rows.double(), weight.double(), bias.double(), **attributes)
    assert_close(ops.call("sparse_conv", rows, weight, bias, **attributes), expected, expected)
    count = torch.tensor([3, 35], dtype=torch.int32)
    out = ops.call("sparse_conv", rows, weight, bias, None, None, count, **attributes)
    assert_close(out[:3], expected[:3], expected[:3])
    assert_close(out[35:], expected[35:], expected[35:])
    assert bool(out[3:35].isnan().all())  # never written


def test_tf32_is_an_option(core_path):
    generator = torch.Generator().manual_seed(6)
    rows = torch.randn(64, 64, generator=generator)
    weight, bias = parameters([(32, 1, 1, 64)], [64], torch.float32, generator)
    exact = reference.sparse_conv(rows.double(), weight.double(), bias.double())
    error = {}
    for flags in (0, ALLOW_TF32):
        out = GuardedOps(core_path, flags=flags).call("sparse_conv", rows, weight, bias)
        error[flags] = float((out - exact).norm() / exact.norm())
    assert error[0] < 1e-6 < 1e-5 < error[ALLOW_TF32] < 1e-3


@pytest.mark.parametrize("layouts", [(a, a) for a in LAYOUTS] + [("nchw", "nhwc"), ("nhwc_padded", "nchw")], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mask_scatter(core_path, dtype, layouts):
    generator = torch.Generator().manual_seed(7)
    for kind, channels, reduction, activation in zip(
        MASKS,
        (1, 3, 8, 40, 64, 33, 16),
        itertools.cycle(("add", "none")),
        itertools.cycle(("none", "relu", "hard_swish")),
        strict=False,
    ):
        ops = GuardedOps(core_path, seed=next(seeds))
        logits = mask(kind, 2, 7, 10, generator)
        base = dense((2, channels, 7, 10), dtype, layouts[0], generator)
        rows = torch.randn(2 * 70, channels, generator=generator).to(dtype)
        sites, _, count, _ = ops.call("mask_gather", logits)
        attributes = {"reduction": reduction, "activation": activation}
        y = ops.call("mask_scatter", base, rows, sites, count, **attributes)
        used = torch.cat([torch.arange(i * 70, i * 70 + int(count[i])) for i in range(2)])
        arguments = (sites[used], count)
        expected = reference.mask_scatter(base.double(), rows[used].double(), *arguments, **attributes)
        assert_close(y, expected, reference.mask_scatter(base, rows[used], *arguments, **attributes))


def composite(
    path,
    name: str,
    x: Tensor,
    logits: Tensor,
    weights: list[Tensor],
    identity: list[Tensor],
    flags: int,
    **attributes: Any,
) -> None:
    """Run a composite and hold it to the reference."""
    y = GuardedOps(path, flags=flags, seed=next(seeds)).call(name, x, logits, *identity, *weights, **attributes)
    run = reference_of(name)
    wide = [t.double() for t in (*identity, *weights)]
    expected = run(x.double(), logits, *wide, **attributes)
    assert_close(y, expected, run(x, logits, *identity, *weights, **attributes))


# n, h, w: one position, odd sizes, H != W, more than one tile of everything.
GRIDS = [(1, 1, 1), (2, 7, 5), (3, 16, 9), (1, 12, 20)]


@pytest.mark.parametrize("flags", FLAGS, ids=["dispatched", "generic"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inverted_residual(core_path, dtype, layout, flags):
    generator = torch.Generator().manual_seed(8)
    channels = ((8, 48), (3, 10), (16, 96), (40, 33), (24, 144), (96, 8), (1, 1))
    for kind, grid, (c, e) in zip(MASKS, itertools.cycle(GRIDS), channels, strict=False):
        n, h, w = grid
        weights = parameters([(e, 1, 1, c), (3, 3, e), (c, 1, 1, e)], [c, 9, e], dtype, generator)
        x = dense((n, c, h, w), dtype, layout, generator)
        composite(core_path, "gated_inverted_residual", x, mask(kind, n, h, w, generator), weights, [], flags)


@pytest.mark.parametrize("flags", FLAGS, ids=["dispatched", "generic"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["gated_basic_block", "gated_bottleneck"])
def test_residual_blocks(core_path, name, dtype, layout, flags):
    generator = torch.Generator().manual_seed(9)
    channels = ((8, 16, 16), (3, 5, 7), (16, 8, 32), (33, 40, 24), (64, 32, 64), (16, 16, 16), (8, 1, 1))
    for index, (kind, grid, (c, width, c_out)) in enumerate(zip(MASKS, itertools.cycle(GRIDS), channels, strict=False)):
        n, h, w = grid
        stride = 1 + index % 2
        if name == "gated_basic_block":
            weights = parameters([(c_out, 3, 3, c), (c_out, 3, 3, c_out)], [9 * c, 9 * c_out], dtype, generator)
        else:
            shapes = [(width, 1, 1, c), (width, 3, 3, width), (c_out, 1, 1, width)]
            weights = parameters(shapes, [c, 9 * width, width], dtype, generator)
        ho, wo = same3x3((stride, stride)).output_size(h, w)
        x = dense((n, c, h, w), dtype, layout, generator)
        identity = [dense((n, c_out, ho, wo), dtype, layout, generator)]
        logits = mask(kind, n, ho, wo, generator)
        composite(core_path, name, x, logits, weights, identity, flags, strides=(stride, stride), threshold=0.0)


def test_layouts_may_differ(core_path):
    """x, identity and y each in their own layout."""
    generator = torch.Generator().manual_seed(10)
    weights = parameters([(16, 3, 3, 8), (16, 3, 3, 16)], [72, 144], torch.float16, generator)
    for first, second in itertools.product(("nchw", "nhwc"), repeat=2):
        x = dense((2, 8, 9, 6), torch.float16, first, generator)
        identity = dense((2, 16, 9, 6), torch.float16, second, generator)
        composite(core_path, "gated_basic_block", x, mask("some", 2, 9, 6, generator), weights, [identity], 0)


def test_threshold_and_activation(core_path):
    generator = torch.Generator().manual_seed(11)
    weights = parameters([(48, 1, 1, 8), (3, 3, 48), (8, 1, 1, 48)], [8, 9, 48], torch.float32, generator)
    x = dense((2, 8, 9, 6), torch.float32, "nchw", generator)
    for activation in ("none", "relu", "hard_swish"):
        attributes = {"threshold": 0.4, "activation": activation}
        composite(
            core_path,
            "gated_inverted_residual",
            x,
            mask("some", 2, 9, 6, generator),
            weights,
            [],
            0,
            **attributes,
        )


@pytest.mark.parametrize("name", ["gated_inverted_residual", "gated_basic_block", "gated_bottleneck"])
@pytest.mark.parametrize("flags", FLAGS, ids=["dispatched", "generic"])
def test_same_bits_whatever_the_order(core_path, name, flags):
    generator = torch.Generator().manual_seed(12)
    x = dense((2, 16, 11, 9), torch.float16, "nhwc", generator)
    shapes = {
        "gated_inverted_residual": [(64, 1, 1, 16), (3, 3, 64), (16, 1, 1, 64)],
        "gated_basic_block": [(16, 3, 3, 16), (16, 3, 3, 16)],
        "gated_bottleneck": [(8, 1, 1, 16), (8, 3, 3, 8), (16, 1, 1, 8)],
    }[name]
    weights = parameters(shapes, [16] * len(shapes), torch.float16, generator)
    identity = [] if name == "gated_inverted_residual" else [x]
    logits = mask("some", 2, 11, 9, generator)
    results = [
        GuardedOps(core_path, flags=flags, seed=seed).call(name, x, logits, *identity, *weights) for seed in range(6)
    ]
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_tall_plane(core_path):
    """More tiles than compaction scans at once, all of them one block's."""
    generator = torch.Generator().manual_seed(13)
    weights = parameters([(8, 1, 1, 8), (3, 3, 8), (8, 1, 1, 8)], [8, 9, 8], torch.float32, generator)
    x = dense((1, 8, 8000, 1), torch.float32, "nchw", generator)
    composite(core_path, "gated_inverted_residual", x, mask("some", 1, 8000, 1, generator), weights, [], 0)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("name", "shapes", "launches"),
    [
        ("gated_inverted_residual", [(48, 1, 1, 8), (3, 3, 48), (8, 1, 1, 48)], 3),
        ("gated_basic_block", [(8, 3, 3, 8), (8, 3, 3, 8)], 3),
        ("gated_bottleneck", [(4, 1, 1, 8), (4, 3, 3, 4), (8, 1, 1, 4)], 4),
    ],
)
def test_launches_of_a_block(core_path, name, shapes, launches, layout):
    """Few, since at batch 1 launches decide; and the quick kernels, not silently the generic ones."""
    generator = torch.Generator().manual_seed(14)
    weights = parameters(shapes, [8] * len(shapes), torch.float16, generator)
    x = dense((1, 8, 9, 6), torch.float16, layout, generator)
    identity = [] if name == "gated_inverted_residual" else [x]
    ops = GuardedOps(core_path, variant=CHAIN)
    ops.launched()
    ops.call(name, x, mask("some", 1, 9, 6, generator), *identity, *weights)
    assert ops.launched() == ["begin", *["gathered_gemm"] * (launches - 1)]


@pytest.mark.parametrize(
    ("name", "shapes", "tiles"),
    [
        ("gated_inverted_residual", [(40, 1, 1, 8), (3, 3, 40), (8, 1, 1, 40)], (4, 6)),
        ("gated_basic_block", [(8, 3, 3, 8), (8, 3, 3, 8)], (4, 4)),
        ("gated_bottleneck", [(16, 1, 1, 8), (16, 3, 3, 16), (8, 1, 1, 16)], (4, 4, 4)),
    ],
)
def test_tiles_by_flags(core_path, name, shapes, tiles):
    """As benchmarks/gpu_tiles.py asks for them: every tile of every convolution, and no other."""
    generator = torch.Generator().manual_seed(15)
    weights = parameters(shapes, [16] * len(shapes), torch.float16, generator)
    x = dense((1, 8, 9, 6), torch.float16, "nhwc", generator)
    identity = [] if name == "gated_inverted_residual" else [x]
    logits = mask("some", 1, 9, 6, generator)
    for convolution, there in enumerate(tiles):
        for number in range(there):
            composite(core_path, name, x, logits, weights, identity, tile(convolution, number))
        with pytest.raises(Dyn2trtError, match=f"there is no tile {there} for this convolution"):
            composite(core_path, name, x, logits, weights, identity, tile(convolution, there))
