"""Basic blocks and bottlenecks by compacted rows on the CPU emulator, against float64."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from core_cases import MASKS
from mutations import places, taken_out
from row_case import Case, bind, run

FP16, BF16 = torch.float16, torch.bfloat16
GATES = ("pointwise", "squeeze", "layer")
# Blocks of 64 rows, columns, splits: all that the kernels choose among, but for most numbers of splits.
TILES = [(1, 128, 1), (2, 128, 1), (4, 128, 1), (2, 64, 1), (4, 64, 1), (1, 64, 1), (1, 32, 1), (1, 64, 3), (1, 32, 8)]

BASIC = Case(channels=40, cols=72)
BOTTLENECK = Case(kind="bottleneck", channels=72, width=40, cols=136)

both_kinds = pytest.mark.parametrize("block", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
both_strides = pytest.mark.parametrize("stride", [1, 2])


@pytest.fixture(scope="module")
def library(core_path: Path) -> ctypes.CDLL:
    return bind(ctypes.CDLL(str(core_path)))


@both_kinds
@both_strides
@pytest.mark.parametrize("dtype", [FP16, BF16], ids=str)
def test_dtypes(library, block, dtype, stride):
    run(library, replace(block, dtype=dtype, stride=stride))


@both_kinds
@both_strides
@pytest.mark.parametrize("active", MASKS)
def test_masks(library, block, active, stride):
    run(library, replace(block, grid=(2, 9, 17), active=active, stride=stride))


@both_kinds
@both_strides
@pytest.mark.parametrize("grid", [(1, 1, 1), (3, 1, 9), (2, 16, 1), (1, 8, 16), (1, 17, 33), (5, 3, 2)], ids=str)
def test_sizes(library, block, grid, stride):
    for odd in (False, True):
        run(library, replace(block, grid=grid, stride=stride, odd=odd, active="all" if odd else "some"))


# As many segments as there may be, and one tile more, which makes segments of four tiles; and so on.
@pytest.mark.parametrize("images", [256, 257, 1025])
def test_segments_of_lists(library, images):
    run(library, replace(BASIC, grid=(images, 2, 2), channels=8, cols=8, active="one"))


@both_kinds
@pytest.mark.parametrize("channels", [8, 56, 64, 72, 136])
def test_channels(library, block, channels):
    run(library, replace(block, grid=(1, 5, 9), channels=channels, cols=8, width=channels))


@both_kinds
@pytest.mark.parametrize("cols", [8, 32, 40, 64, 128, 200])
def test_output_channels(library, block, cols):
    run(library, replace(block, grid=(1, 5, 9), channels=8, width=cols, cols=cols))


@both_kinds
@pytest.mark.parametrize("dtype", [FP16, BF16], ids=str)
@pytest.mark.parametrize("tile", TILES, ids=lambda t: f"{64 * t[0]}x{t[1]}s{t[2]}")
def test_every_tile(library, block, tile, dtype):
    """More rows than a tile of every height has, and more columns."""
    run(library, replace(block, grid=(2, 11, 13), cols=136, width=72, tile=tile, dtype=dtype, active="all"))
    run(library, replace(block, grid=(1, 3, 4), tile=tile, dtype=dtype, stride=2))


@both_kinds
@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
def test_activations(library, block, activation):
    run(library, replace(block, activation=activation))


@both_kinds
@both_strides
def test_pixels_with_gaps(library, block, stride):
    run(library, replace(block, layout="nhwc_padded", stride=stride))


@both_kinds
def test_identity_is_x(library, block):
    run(library, replace(block, channels=block.cols, identity_is_x=True))


@both_kinds
@both_strides
@pytest.mark.parametrize("gate", GATES)
def test_gates(library, block, gate, stride):
    for publish in (False, True):
        run(library, replace(block, grid=(2, 9, 17), gate=gate, stride=stride, publish=publish))


@both_kinds
@both_strides
@pytest.mark.parametrize("gate", ["pointwise", "squeeze"])
def test_logits_at_the_threshold(library, block, gate, stride):
    """Sites at the edges of the lists' tiles: those that count them as a neighbour come to the same decision."""
    case = replace(block, grid=(1, 10, 18), gate=gate, stride=stride, publish=True)
    logits = run(library, case).logits
    assert logits is not None
    for row, column in ((7, 3), (8, 16), (7, 15)):
        threshold = float(logits[0, 0, row, column])
        for value in (threshold, float(torch.nextafter(torch.tensor(threshold), torch.tensor(torch.inf)))):
            again = run(library, replace(case, threshold=value)).logits
            assert again is not None
            assert torch.equal(again, logits)


@both_kinds
@pytest.mark.parametrize("tile", [(0, 0, 0), (1, 32, 4), (2, 64, 1)], ids=str)
def test_the_order_of_threads_does_not_matter(library, block, tile):
    results = []
    for seed in range(4):
        library.dyn2trt_emulator_set_seed(ctypes.c_uint64(seed))
        results.append(run(library, replace(block, grid=(1, 9, 18), gate="squeeze", publish=True, tile=tile)))
    for other in results[1:]:
        assert torch.equal(results[0].y, other.y)
        assert results[0].logits is not None
        assert other.logits is not None
        assert torch.equal(results[0].logits, other.logits)


@pytest.mark.parametrize("seed", range(16))
def test_random_cases(library, seed):
    random = Random(seed)
    library.dyn2trt_emulator_set_seed(ctypes.c_uint64(seed))
    cols = random.choice((8, 16, 40, 64, 96, 136))
    identity_is_x = random.random() < 0.4
    case = Case(
        kind=random.choice(("basic", "bottleneck")),
        grid=random.choice(((1, 7, 9), (3, 5, 4), (2, 13, 11), (1, 17, 16), (4, 8, 8))),
        channels=cols if identity_is_x else random.choice((8, 16, 40, 72, 136)),
        width=random.choice((8, 64, 72)),
        cols=cols,
        stride=1 if identity_is_x else random.choice((1, 2)),
        odd=random.random() < 0.5,
        dtype=random.choice((FP16, BF16)),
        activation=random.choice(("none", "relu", "relu6")),
        layout=random.choice(("nhwc", "nhwc_padded")),
        identity_is_x=identity_is_x,
        active=random.choice(MASKS),
        gate=random.choice(("logits", *GATES)),
        threshold=random.choice((0.0, -0.25)),
        publish=random.random() < 0.5,
        tile=random.choice(((0, 0, 0), *TILES)),
        seed=seed,
    )
    run(library, case)


# What may be taken out unseen, for the emulator keeps memory in a stricter order than a device does.
ORDER_OF_MEMORY = {
    "consume.cuh mbarrier_wait": "of rows_full: the operands' barrier comes later, but orders no plain stores",
    "consume.cuh __syncwarp": "all lanes have read where rows go before lane 0 gives the place back",
    "split.cuh named_barrier": "all threads' sums are written before one of them takes the ticket; blocks run by turns",
    "produce.cuh cp.async.wait": "no thread ends while its copies are under way",
}


def test_every_barrier_wait_and_fence_is_needed(library):
    """Each is taken out in turn: some case fails with some seed."""
    cases = (
        replace(BASIC, grid=(1, 6, 11), tile=(1, 32, 3), gate="pointwise"),
        replace(BOTTLENECK, grid=(1, 9, 9), tile=(2, 64, 1), stride=2, active="all"),
        # Many tiles of one chunk: producers come to be two tiles ahead.
        replace(BOTTLENECK, grid=(1, 16, 16), channels=8, width=8, tile=(1, 32, 1), active="all"),
    )

    def passes(case: Case, seed: int) -> bool:
        library.dyn2trt_emulator_set_seed(ctypes.c_uint64(seed))
        try:
            run(library, case)
        except AssertionError:
            return False
        return True

    found = places(library, lambda: [passes(case, seed) for case in cases for seed in range(2)])
    assert len(found) > 20
    survivors = []
    for number, place in enumerate(found):
        with taken_out(library, number):
            if all(passes(case, seed) for seed in range(6) for case in cases):
                operation, where = place.split()
                survivors.append(f"{Path(where).name.split(':')[0]} {operation}")
    assert sorted(survivors) == sorted(ORDER_OF_MEMORY)
