"""The core library on a GPU: every op in every dtype against float64, CUDA graphs, streams.

cmake --preset quick && cmake --build --preset quick && pytest -m gpu tests/core/test_core_gpu.py
python benchmarks/gpu_all.py --only tests,memcheck,racecheck,synccheck,initcheck
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from core_cases import DTYPES, MASKS, assert_close, dense, error, mask, parameters, reference_of
from ops_cases import composite
from torch import Tensor

import dyn2trt.ops  # noqa: F401  registers torch.ops.dyn2trt
from dyn2trt.contract import SCHEMAS, OpSchema
from dyn2trt.errors import Dyn2trtError
from dyn2trt.ops import reference
from dyn2trt.ops.core_library import (
    ALLOW_TF32,
    CHAIN,
    GENERIC_ONLY,
    CoreLibrary,
    find_core_library,
    load_core_library,
    tile,
)
from dyn2trt.ops.core_tensors import CoreOps
from dyn2trt.ops.geometry import Geometry, same3x3
from dyn2trt.ops.reference_blocks import implementation

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    pytest.mark.skipif(find_core_library() is None, reason="needs libdyn2trt_core.so: cmake --build --preset quick"),
]

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
# name: n, c, width, h, w, stride. Small ones for the sanitizer, one of a size that fills a GPU.
SIZES = {
    "small odd": (2, 8, 48, 7, 5, 1),
    "small strided": (2, 24, 40, 9, 11, 2),
    "small odd channels": (1, 3, 10, 13, 6, 1),
    "large": (8, 96, 576, 64, 64, 1),
}
COMPOSITES = ("gated_inverted_residual", "gated_basic_block", "gated_bottleneck")


def block(
    name: str, size: tuple[int, ...], kind: str, dtype: torch.dtype, layout: str, seed: int = 0
) -> tuple[list[Tensor], dict[str, object]]:
    """The tensors and attributes of a composite, on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    n, c, width, h, w, stride = size
    if name == "gated_inverted_residual":
        stride = 1
        shapes, fans = [(width, 1, 1, c), (3, 3, width), (c, 1, 1, width)], [c, 9, width]
    elif name == "gated_basic_block":
        shapes, fans = [(2 * c, 3, 3, c), (2 * c, 3, 3, 2 * c)], [9 * c, 18 * c]
    else:
        shapes, fans = [(c, 1, 1, c), (c, 3, 3, c), (4 * c, 1, 1, c)], [c, 9 * c, c]
    ho, wo = same3x3((stride, stride)).output_size(h, w)
    x = dense((n, c, h, w), dtype, layout, generator)
    logits = mask(kind, n, ho, wo, generator)
    weights = parameters(shapes, fans, dtype, generator)
    if name == "gated_inverted_residual":
        return [x, logits, *weights], {}
    identity = dense((n, shapes[-1][0], ho, wo), dtype, layout, generator)
    return [x, logits, identity, *weights], {"strides": (stride, stride)}


def on_gpu(tensors: list[Tensor]) -> list[Tensor]:
    """Copies that keep their memory format."""
    return [t.cuda() for t in tensors]


def expected(name: str, tensors: list[Tensor], attributes: dict[str, object]) -> tuple[Tensor, Tensor]:
    """The reference in float64 and at the tensors' precision, on the GPU."""
    run: Callable[..., Tensor] = reference_of(name)
    gpu = on_gpu(tensors)
    wide = [t if i == 1 else t.double() for i, t in enumerate(gpu)]  # input 1 is the logits
    return run(*wide, **attributes), run(*gpu, **attributes)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", COMPOSITES)
def test_composites(name, size, dtype, layout):
    for seed, kind in enumerate(MASKS):
        tensors, attributes = block(name, SIZES[size], kind, dtype, layout, seed)
        y = getattr(torch.ops.dyn2trt, name)(*on_gpu(tensors), **attributes)
        assert y.is_contiguous(memory_format=LAYOUTS[layout])
        assert_close(y, *expected(name, tensors, attributes))


def with_flags(flags: int) -> CoreOps:
    """The ops by the CUDA library, with flags of core.h."""
    library = load_core_library()
    assert library is not None
    return CoreOps(library, flags=flags)


# Of the convolutions that a block launches, how many tiles their lists in plugins/core/gemm/tiles.h have.
TILES = {"gated_inverted_residual": (4, 6), "gated_basic_block": (4, 4), "gated_bottleneck": (4, 4, 4)}


@pytest.mark.parametrize("size", ["small odd", "small odd channels", "large"])
@pytest.mark.parametrize("name", COMPOSITES)
def test_every_tile(name, size):
    """Not only those that are chosen on this GPU."""
    tensors, attributes = block(name, SIZES[size], "some", torch.float16, "nhwc")
    gpu, wanted = on_gpu(tensors), expected(name, tensors, attributes)
    for convolution, tiles in enumerate(TILES[name]):
        for number in range(tiles):
            y = getattr(with_flags(tile(convolution, number)), name)(*gpu, **attributes)
            assert_close(y, *wanted)


FUSED_SIZES = {name: SIZES[name] for name in ("small odd", "small strided", "large")} | {
    "small wide": (2, 160, 200, 9, 20, 1),
    "small widest": (1, 256, 72, 5, 9, 1),
    "batch of one": (1, 96, 576, 33, 47, 1),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", FUSED_SIZES)
@pytest.mark.parametrize("name", COMPOSITES)
def test_every_fused_variant(name, size, dtype):
    """Those that this GPU runs and that take the block, not only the one that is chosen; the same bits every time."""
    library = load_core_library()
    assert library is not None
    for number in range(1, len(library.variants(COMPOSITES.index(name))) + 1):
        run = getattr(CoreOps(library, variant=number), name)
        for seed, kind in enumerate(MASKS):
            tensors, attributes = block(name, FUSED_SIZES[size], kind, dtype, "nhwc", seed)
            gpu = on_gpu(tensors)
            try:
                y = run(*gpu, **attributes)
            except Dyn2trtError as refused:
                if "does not take this block" in str(refused) or "needs sm_" in str(refused):
                    break
                raise
            assert_close(y, *expected(name, tensors, attributes))
            assert torch.equal(y.view(torch.int16), run(*gpu, **attributes).view(torch.int16))


CHAIN_NAME, GENERIC_NAME = "chain", "generic"
# compute-sanitizer has a minute for its cases, so each is small; together they launch every kernel (test_sanitized.py).
# First the kernels of a block, by the names of their variants or one of the two above.
SANITIZED = [
    ("gated_inverted_residual", "small odd", torch.float32, "nchw", CHAIN_NAME),
    ("gated_basic_block", "small strided", torch.float16, "nhwc", CHAIN_NAME),
    ("gated_bottleneck", "small strided", torch.bfloat16, "nchw", CHAIN_NAME),
    ("gated_inverted_residual", "small odd channels", torch.float16, "nchw", GENERIC_NAME),
    ("gated_inverted_residual", "small odd", torch.float16, "nhwc", "tile 8x16 mma"),
    ("gated_inverted_residual", "small odd", torch.bfloat16, "nhwc", "tile 8x8 cluster of 3"),
    ("gated_inverted_residual", "small odd", torch.float16, "nhwc", "tile 16x16 wgmma"),
    ("gated_basic_block", "small strided", torch.bfloat16, "nhwc", "tile 8x8 mma"),
    ("gated_basic_block", "small odd", torch.float16, "nhwc", "tile 8x16 wgmma"),
    ("gated_basic_block", "small odd", torch.bfloat16, "nhwc", "rows"),
    ("gated_bottleneck", "small strided", torch.float16, "nhwc", "rows"),
]

SANITIZED_GATES = [
    ("PointwiseGatedInvertedResidual", "nchw"),
    ("SqueezeGatedBasicBlock", "nhwc"),
    ("LayerGatedBottleneck", "nchw"),
]


@pytest.mark.sanitized
@pytest.mark.parametrize(("name", "size", "dtype", "layout", "kernel"), SANITIZED)
def test_every_kernel_once(name, size, dtype, layout, kernel):
    library = load_core_library()
    assert library is not None
    flags, variant = kernel_options(library, name, kernel)
    tensors, attributes = block(name, SIZES[size], "some", dtype, layout)
    try:
        y = getattr(CoreOps(library, flags=flags, variant=variant), name)(*on_gpu(tensors), **attributes)
    except Dyn2trtError as refused:
        if "needs sm_" in str(refused):
            pytest.skip(str(refused))
        raise
    assert_close(y, *expected(name, tensors, attributes))


@pytest.mark.sanitized
@pytest.mark.parametrize(("op", "layout"), SANITIZED_GATES)
def test_every_gate_once(op, layout):
    """A block's gate by kernels of its own, ahead of the general kernels."""
    library = load_core_library()
    assert library is not None
    schema, tensors, attributes = gated(op, layout)
    gpu, reference_block = on_gpu(tensors), implementation(schema)
    y, logits = CoreOps(library, variant=CHAIN).gated_block(schema, *gpu, **attributes)
    wide, exact = reference_block(*(t.double() for t in gpu), **attributes)
    torch.testing.assert_close(logits.double(), exact, atol=1e-5, rtol=1e-5)
    assert_close(y, wide, reference_block(*gpu, **attributes)[0])


def gated(op: str, layout: str) -> tuple[OpSchema, list[Tensor], dict[str, object]]:
    """A composite that owns its gate: its schema, tensors on the CPU and attributes."""
    schema = SCHEMAS[op]
    assert schema.block is not None
    strides = {"strides": (2, 2)} if schema.block.is_strided else {}
    case = composite(op, 2, 16, 7, 6, "some", 3, more=8, activation="relu", **strides)
    laid_out = {
        name: case.tensors[name].contiguous(memory_format=LAYOUTS[layout])
        for name in ("x", "identity")
        if name in case.tensors
    }
    return schema, list((case.tensors | laid_out).values()), case.attributes


@pytest.mark.sanitized
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_primitive_once(layout):
    tensors, attributes = primitives(layout)
    gpu = on_gpu(tensors)
    wide = primitive_chain(reference, attributes, *(t.double() for t in gpu))
    y = primitive_chain(torch.ops.dyn2trt, attributes, *gpu)
    assert_close(y, wide, primitive_chain(reference, attributes, *gpu))


def primitives(layout: str) -> tuple[list[Tensor], dict[str, object]]:
    """Tensors and attributes of a small chain of primitives."""
    generator = torch.Generator().manual_seed(1)
    x, base = (dense((2, c, 9, 13), torch.float32, layout, generator) for c in (24, 40))
    weight, bias = parameters([(40, 3, 3, 24)], [9 * 24], torch.float32, generator)
    return [mask("some", 2, 9, 13, generator), x, weight, bias, base], {**same3x3().attributes, "activation": "relu"}


def primitive_chain(
    ops: Any, convolution: dict[str, Any], gate: Tensor, x: Tensor, weight: Tensor, bias: Tensor, base: Tensor
) -> Tensor:
    """MaskGather, SparseConv and MaskScatter, a convolution at the active sites."""
    geometry = {name: convolution[name] for name in same3x3().attributes}
    sites, _, count, _ = ops.mask_gather(gate.float())
    _, slots, _, rows = ops.mask_gather(gate.float(), x, **geometry)
    rows = ops.sparse_conv(rows, weight, bias, slots, sites, count, **convolution)
    return ops.mask_scatter(base, rows, sites, count, activation="relu6")


def kernel_options(library: CoreLibrary, name: str, kernel: str) -> tuple[int, int]:
    """Flags and variant of a composite that run the kernel of that name."""
    if kernel in (CHAIN_NAME, GENERIC_NAME):
        return (GENERIC_ONLY if kernel == GENERIC_NAME else 0), CHAIN
    return 0, library.variants(COMPOSITES.index(name)).index(kernel) + 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", COMPOSITES)
def test_small_with_the_generic_kernels(name, dtype):
    tensors, attributes = block(name, SIZES["small odd channels"], "some", dtype, "nchw")
    y = getattr(with_flags(GENERIC_ONLY), name)(*on_gpu(tensors), **attributes)
    assert_close(y, *expected(name, tensors, attributes))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", ["small odd", "small odd channels", "large"])
@pytest.mark.parametrize("name", COMPOSITES)
def test_tf32(name, size, layout):
    """Rounded operands, and no more than that: a fragment in a wrong place would be an error of order one."""
    tensors, attributes = block(name, SIZES[size], "some", torch.float32, layout)
    y = getattr(with_flags(ALLOW_TF32), name)(*on_gpu(tensors), **attributes)
    wide, _ = expected(name, tensors, attributes)
    assert error(y, wide) <= 2e-3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_small_images_beyond_one_launch(layout):
    """A launch numbers the rows of 256 images."""
    tensors, attributes = block("gated_bottleneck", (300, 8, 0, 3, 2, 1), "some", torch.float16, layout)
    y = torch.ops.dyn2trt.gated_bottleneck(*on_gpu(tensors), **attributes)
    assert_close(y, *expected("gated_bottleneck", tensors, attributes))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("depthwise", [False, True], ids=["full", "depthwise"])
def test_small_garbage_indices(depthwise, dtype):
    """TensorRT may time a plugin on undefined inputs: memcheck has nothing to say, and no later call fails."""
    generator = torch.Generator().manual_seed(2)
    weight, bias = parameters([(3, 3, 16) if depthwise else (24, 3, 3, 16)], [9], dtype, generator)
    rows, base = torch.randn(2 * 63, 16).to(dtype).cuda(), torch.randn(2, bias.shape[0], 7, 9).to(dtype).cuda()
    limits = torch.iinfo(torch.int32)
    for kind in range(4):

        def garbage(*shape: int, kind: int = kind) -> Tensor:
            if kind == 3:
                return torch.randint(limits.min, limits.max, shape, generator=generator).to(torch.int32).cuda()
            return torch.full(shape, (limits.min, limits.max, 0x7FFF7FFF)[kind], dtype=torch.int32).cuda()

        geometry = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "group": 16 if depthwise else 1}
        slots, sites, count = garbage(2, 7, 9), garbage(2 * 63), garbage(2)
        out = torch.ops.dyn2trt.sparse_conv(rows, weight.cuda(), bias.cuda(), slots, sites, count, **geometry)
        torch.ops.dyn2trt.mask_scatter(base, out, sites, count)
        torch.cuda.synchronize()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_offsets_beyond_32_bits(layout):
    """Tensors of more than 2^31 elements, compared at some positions."""
    n, c, h, w, width = 3, 1024, 900, 900, 8
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("needs 24 GiB of device memory")
    generator = torch.Generator().manual_seed(3)
    shapes = [(width, 1, 1, c), (3, 3, width), (c, 1, 1, width)]
    weights = parameters(shapes, [c, 9, width], torch.float16, generator)
    weights[2][:] = 0
    weights[2][1, 1] = 1  # the centre alone: then every position stands for itself
    x = torch.empty(n, c, h, w, dtype=torch.float16, device="cuda", memory_format=LAYOUTS[layout]).normal_()
    assert x.numel() > 2**31
    logits = (torch.rand(n, 1, h, w, generator=generator) - 0.5).cuda()
    y = torch.ops.dyn2trt.gated_inverted_residual(x, logits, *on_gpu(weights))
    at = (torch.randint(n, (1000,)), torch.randint(h, (1000,)), torch.randint(w, (1000,)))
    at[0][:500] = n - 1
    before, after, active = (t.permute(0, 2, 3, 1)[at].double().cpu() for t in (x, y, logits))
    expand, expand_bias, _, depthwise_bias, project, project_bias = (t.double().squeeze() for t in weights)
    hidden = (before @ expand.T + expand_bias).clamp(0, 6) + depthwise_bias
    wanted = before + (hidden.clamp(0, 6) @ project.T + project_bias) * (active >= 0)
    assert error(after, wanted) <= 2e-3


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("depthwise", [False, True], ids=["full", "depthwise"])
@pytest.mark.parametrize(
    "geometry",
    [
        same3x3(),
        same3x3((2, 2)),
        Geometry((5, 5), (1, 1), (2, 2, 2, 2)),
        Geometry((3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    ],
    ids=["3x3", "3x3 stride 2", "5x5", "3x3 dilated"],
)
def test_small_primitives(geometry, depthwise, dtype):
    """MaskGather, SparseConv and MaskScatter in a chain, against the same chain of references."""
    generator = torch.Generator().manual_seed(1)
    x = dense((2, 24, 9, 13), dtype, "nchw", generator)
    c_out = 24 if depthwise else 40
    kh, kw = geometry.kernel_shape
    shape = (kh, kw, 24) if depthwise else (c_out, kh, kw, 24)
    weight, bias = parameters([shape], [kh * kw * (1 if depthwise else 24)], dtype, generator)
    ho, wo = geometry.output_size(9, 13)
    base = dense((2, c_out, ho, wo), dtype, "nchw", generator)
    attributes = {**geometry.attributes, "group": 0 if depthwise else 1, "activation": "relu"}
    for kind in MASKS:
        logits = mask(kind, 2, ho, wo, generator)

        gate, *gpu = on_gpu([logits, x, weight, bias, base])
        wide = primitive_chain(reference, attributes, gate, *(t.double() for t in gpu))
        y = primitive_chain(torch.ops.dyn2trt, attributes, gate, *gpu)
        assert_close(y, wide, primitive_chain(reference, attributes, gate, *gpu))


@pytest.mark.parametrize("name", COMPOSITES)
def test_small_in_a_cuda_graph(name):
    """Captured on a stream of its own, replayed with other masks: no host decides anything."""
    run = getattr(torch.ops.dyn2trt, name)
    tensors, attributes = block(name, SIZES["small odd"], "some", torch.float16, "nhwc")
    static = on_gpu(tensors)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        run(*static, **attributes)  # loads the kernels
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        y = run(*static, **attributes)
    for seed, kind in enumerate(MASKS):
        tensors, _ = block(name, SIZES["small odd"], kind, torch.float16, "nhwc", seed)
        for target, source in zip(static, tensors, strict=True):
            target.copy_(source)
        y.fill_(torch.nan)
        graph.replay()
        torch.cuda.synchronize()
        assert_close(y, *expected(name, tensors, attributes))


@pytest.mark.parametrize("name", COMPOSITES)
def test_two_streams_at_once(name):
    """Calls that run side by side do not meet in anything."""
    run = getattr(torch.ops.dyn2trt, name)
    streams = [torch.cuda.Stream() for _ in range(2)]
    cases = [block(name, SIZES["large"], kind, torch.float16, "nhwc", i) for i, kind in enumerate(("some", "blob"))]
    gpu = [on_gpu(tensors) for tensors, _ in cases]
    torch.cuda.synchronize()
    results: list[list[Tensor]] = [[], []]
    for _ in range(10):
        for i, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                results[i].append(run(*gpu[i], **cases[i][1]))
    torch.cuda.synchronize()
    for i, (tensors, attributes) in enumerate(cases):
        assert_close(results[i][0], *expected(name, tensors, attributes))
        assert all(torch.equal(result, results[i][0]) for result in results[i])


def test_nothing_waits_for_the_device():
    """torch raises where a call synchronises."""
    tensors, attributes = block("gated_basic_block", SIZES["small odd"], "some", torch.float16, "nhwc")
    gpu = on_gpu(tensors)
    torch.ops.dyn2trt.gated_basic_block(*gpu, **attributes)
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.ops.dyn2trt.gated_basic_block(*gpu, **attributes)
        torch.ops.dyn2trt.mask_gather(gpu[1], gpu[2])
    finally:
        torch.cuda.set_sync_debug_mode("default")
