"""The torch ops on a GPU, through the core library: ``pytest -m gpu tests/test_core_gpu.py``.

Needs torch with CUDA and the built core library, nothing else. Small sizes, so that it also ends under
``compute-sanitizer --tool memcheck|racecheck|initcheck``; ``-k large`` leaves the harness's sizes for real ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from core_cases import DTYPES, LAYOUTS, MASKS, assert_close, dense, error, mask, parameters
from torch import Tensor

import dyn2trt.ops  # noqa: F401  registers torch.ops.dyn2trt
from dyn2trt.ops import reference
from dyn2trt.ops.core_library import ENVIRONMENT, GENERIC_ONLY, find_core_library, load_core_library
from dyn2trt.ops.core_tensors import CoreOps
from dyn2trt.ops.geometry import same3x3

pytestmark = pytest.mark.gpu

COMPOSITES = ("gated_inverted_residual", "gated_basic_block", "gated_bottleneck")
CHANNELS = ((8, 48, 16), (3, 10, 7), (16, 96, 32), (33, 40, 24), (64, 32, 64), (96, 8, 16), (1, 2, 1))
GRIDS = ((1, 1, 1), (2, 7, 5), (3, 16, 9), (1, 12, 20))


@pytest.fixture(autouse=True)
def gpu() -> Iterator[None]:
    """Skips without a GPU; fills every uninitialised tensor with NaNs; turns a synchronisation into an error."""
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU, or torch without CUDA")
    if find_core_library() is None:
        pytest.skip(f"the core library is not built (cmake --preset release), nor named in {ENVIRONMENT}")
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.cuda.set_sync_debug_mode("default")
    torch.use_deterministic_algorithms(False)


class Block:
    """A composite op with random parameters and inputs on the CPU, and its results by the reference."""

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int, int],
        width: int,
        c_out: int,
        dtype: torch.dtype,
        *,
        stride: int = 1,
        layout: str = "nchw",
        seed: int = 0,
    ) -> None:
        self.name, self.generator = name, torch.Generator().manual_seed(seed)
        n, c, h, w = shape
        self.grid = same3x3((stride, stride)).output_size(h, w)
        x = dense(shape, dtype, layout, self.generator)
        self.tensors, self.attributes = [x], {}
        if name == "gated_inverted_residual":
            shapes, fans = [(width, 1, 1, c), (3, 3, width), (c, 1, 1, width)], [c, 9, width]
        else:
            self.tensors.append(dense((n, c_out, *self.grid), dtype, layout, self.generator))
            self.attributes = {"strides": (stride, stride)}
            if name == "gated_basic_block":
                shapes, fans = [(c_out, 3, 3, c), (c_out, 3, 3, c_out)], [9 * c, 9 * c_out]
            else:
                shapes = [(width, 1, 1, c), (width, 3, 3, width), (c_out, 1, 1, width)]
                fans = [c, 9 * width, width]
        self.tensors += parameters(shapes, fans, dtype, self.generator)

    def logits(self, kind: str) -> Tensor:
        return mask(kind, self.tensors[0].shape[0], *self.grid, self.generator)

    def run(self, module: object, logits: Tensor, tensors: list[Tensor] | None = None) -> Tensor:
        x, *rest = self.tensors if tensors is None else tensors
        return getattr(module, self.name)(x, logits, *rest, **self.attributes)

    def check(self, y: Tensor, logits: Tensor) -> None:
        """Holds a result to the criterion of design section 4."""
        expected = self.run(reference, logits, [t.double() for t in self.tensors])
        assert_close(y.cpu(), expected, self.run(reference, logits))

    def on_gpu(self) -> list[Tensor]:
        return [to_gpu(t) for t in self.tensors]


def to_gpu(tensor: Tensor) -> Tensor:
    """A copy with the same strides: ``.cuda()`` would lose the room beside pixels and lines."""
    copy = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")
    return copy.copy_(tensor)


def without_waiting(run: Callable[[], Tensor]) -> Tensor:
    torch.cuda.set_sync_debug_mode("error")
    try:
        return run()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", COMPOSITES)
def test_composites(name, dtype, layout):
    for index, (kind, (n, h, w), channels) in enumerate(zip(MASKS, itertools.cycle(GRIDS), CHANNELS, strict=False)):
        c, width, c_out = channels
        stride = 1 if name == "gated_inverted_residual" else 1 + index % 2
        block = Block(name, (n, c, h, w), width, c_out, dtype, stride=stride, layout=layout, seed=index)
        logits = block.logits(kind)
        tensors, on_gpu = block.on_gpu(), logits.cuda()
        block.check(without_waiting(lambda b=block, m=on_gpu, t=tensors: b.run(torch.ops.dyn2trt, m, t)), logits)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_primitives(dtype):
    """MaskGather, a 3x3 and a 1x1 SparseConv, MaskScatter: a basic block by hand."""
    block = Block("gated_basic_block", (3, 24, 13, 10), 0, 24, dtype, seed=1)
    x, identity, weight1, bias1, weight2, bias2 = block.on_gpu()
    for kind in MASKS:
        logits = block.logits(kind)
        halo = same3x3().attributes

        def by_primitives(logits: Tensor = logits.cuda(), halo: dict = halo) -> Tensor:
            ops = torch.ops.dyn2trt
            sites, _, count, _ = ops.mask_gather(logits)
            in_sites, in_slots, in_count, _ = ops.mask_gather(logits, **halo)
            _, all_slots, _, all_rows = ops.mask_gather(torch.ones_like(logits), x)
            rows = ops.sparse_conv(all_rows, weight1, bias1, all_slots, in_sites, in_count, activation="relu", **halo)
            rows = ops.sparse_conv(rows, weight2, bias2, in_slots, sites, count, **halo)
            return ops.mask_scatter(identity, rows, sites, count, activation="relu")

        block.check(without_waiting(by_primitives), logits)


# batch, channels, width, output channels, height = width: what the tiles of plugins/core/gemm/tiles.h are made for.
LARGE = {
    "gated_inverted_residual": ((1, 96, 576, 0, 64), (8, 32, 192, 0, 64), (2, 160, 960, 0, 14), (32, 96, 576, 0, 32)),
    "gated_basic_block": ((1, 128, 0, 128, 32), (1, 512, 0, 512, 7), (16, 64, 0, 64, 56)),
    "gated_bottleneck": ((1, 256, 64, 256, 56), (1, 2048, 512, 2048, 7), (16, 512, 128, 512, 28)),
}


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", COMPOSITES)
def test_large_against_the_generic_kernels(name, dtype, layout):
    """Sizes for which float64 on the CPU takes too long: the generic kernels in fp32 stand in for it."""
    library = load_core_library()
    assert library is not None
    exact, same = CoreOps(library, flags=GENERIC_ONLY), CoreOps(library, flags=GENERIC_ONLY)
    for n, c, width, c_out, size in LARGE[name]:
        block = Block(name, (n, c, size, size), width, c_out, dtype, layout=layout)
        tensors = block.on_gpu()
        for kind in ("blob", "some", "all"):
            logits = block.logits(kind).cuda()
            expected = block.run(exact, logits, [t.float() for t in tensors]).double()
            allowed = 1e-5 if dtype == torch.float32 else 2 * error(block.run(same, logits, tensors), expected)
            y = block.run(torch.ops.dyn2trt, logits, tensors)
            assert error(y, expected) <= allowed


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", COMPOSITES)
def test_cuda_graph_replays_with_other_masks(name, dtype):
    block = Block(name, (2, 32, 19, 14), 64, 32, dtype, layout="nhwc", seed=3)
    tensors = block.on_gpu()
    masks = [block.logits(kind) for kind in ("some", "none", "all", "blob", "one")]
    fed = masks[0].cuda()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        block.run(torch.ops.dyn2trt, fed, tensors)  # loads the kernels
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        y = block.run(torch.ops.dyn2trt, fed, tensors)
    for logits in (*masks, masks[0]):
        fed.copy_(logits)
        y.fill_(torch.nan)
        graph.replay()
        block.check(y, logits)


@pytest.mark.parametrize("name", COMPOSITES)
def test_two_streams_at_once(name):
    """Each stream works on its own block; every repetition has the bits that the block has alone."""
    blocks = [Block(name, (4, 64, 40, 40), 128, 64, torch.float16, layout="nhwc", seed=seed) for seed in range(2)]
    inputs = [(b.on_gpu(), b.logits("blob").cuda()) for b in blocks]
    alone = [b.run(torch.ops.dyn2trt, logits, tensors) for b, (tensors, logits) in zip(blocks, inputs, strict=True)]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in blocks]
    results: list[tuple[int, Tensor]] = []
    for _ in range(20):
        for i, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                tensors, logits = inputs[i]
                results.append((i, blocks[i].run(torch.ops.dyn2trt, logits, tensors)))
    torch.cuda.synchronize()
    assert all(torch.equal(y, alone[i]) for i, y in results)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", COMPOSITES)
def test_same_bits_every_time(name, dtype):
    """One image with few active sites, where blocks share tiles, and a batch, where they do not."""
    for shape in ((1, 128, 16, 16), (8, 64, 24, 20)):
        block = Block(name, shape, 256, shape[1], dtype, seed=4)
        tensors, logits = block.on_gpu(), block.logits("blob").cuda()
        results = [block.run(torch.ops.dyn2trt, logits, tensors) for _ in range(10)]
        assert all(torch.equal(results[0], y) for y in results[1:])


def test_tf32_follows_torch():
    block = Block("gated_bottleneck", (2, 64, 16, 16), 32, 64, torch.float32, seed=5)
    logits = block.logits("some")
    expected = block.run(reference, logits, [t.double() for t in block.tensors])
    errors = []
    for allow in (False, True):
        torch.backends.cuda.matmul.allow_tf32 = allow
        try:
            errors.append(error(block.run(torch.ops.dyn2trt, logits.cuda(), block.on_gpu()).cpu(), expected))
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False
    assert errors[0] <= 1e-5 < errors[1] <= 1e-3
