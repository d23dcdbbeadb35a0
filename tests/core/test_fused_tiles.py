"""The basic block by tiles on the CPU emulator, against float64: every variant, awkward sizes, masks, gates, seeds."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from core_cases import MASKS
from emulated_tiles import TileLibrary
from mutations import places, taken_out
from tile_case import Case, run

from dyn2trt.ops.core_library import GENERIC_ONLY, NCHW, NHWC, Dense, GatedBlock

FP16, BF16 = torch.float16, torch.bfloat16
VARIANTS = (
    *("tile 8x8 mma", "tile 8x16 mma"),
    *("tile 8x8 wgmma", "tile 8x8 wide wgmma", "tile 8x16 wgmma", "tile 16x16 wgmma"),
)
GATES = ("pointwise", "squeeze", "layer")

every_variant = pytest.mark.parametrize("variant", VARIANTS)
both_strides = pytest.mark.parametrize("stride", [1, 2])


@pytest.fixture(scope="module")
def library(core_path: Path) -> TileLibrary:
    return TileLibrary(core_path)


def test_names(library):
    assert tuple(name for name in library.numbers if name.startswith("tile ")) == VARIANTS


@every_variant
@both_strides
@pytest.mark.parametrize("dtype", [FP16, BF16], ids=str)
def test_dtypes(library, variant, dtype, stride):
    run(library, variant, Case(dtype=dtype, stride=stride))


@every_variant
@both_strides
@pytest.mark.parametrize("active", MASKS)
def test_masks(library, variant, active, stride):
    run(library, variant, Case(grid=(2, 9, 17), active=active, stride=stride))


@every_variant
@both_strides
@pytest.mark.parametrize("grid", [(1, 1, 1), (3, 1, 9), (2, 16, 1), (1, 8, 16), (1, 17, 33), (5, 3, 2)], ids=str)
def test_sizes(library, variant, grid, stride):
    for odd in (False, True):
        run(library, variant, Case(grid=grid, stride=stride, odd=odd, active="all" if odd else "some"))


# Less than a step of K, a step and a half, a slab, more than a slab; several slabs, so that their places are reused.
@every_variant
@both_strides
@pytest.mark.parametrize("channels", [8, 24, 64, 72, 144, 256])
def test_channels(library, variant, channels, stride):
    run(library, variant, Case(grid=(1, 5, 9), channels=channels, cols=8, stride=stride))


@every_variant
@pytest.mark.parametrize("cols", [8, 32, 40, 64, 72, 200])
def test_output_channels(library, variant, cols):
    run(library, variant, Case(grid=(1, 5, 9), channels=8, cols=cols))


@every_variant
@pytest.mark.parametrize("activation", ["none", "relu", "relu6", "hard_swish"])
def test_activations(library, variant, activation):
    run(library, variant, Case(activation=activation))


@every_variant
@both_strides
def test_pixels_with_gaps(library, variant, stride):
    run(library, variant, Case(layout="nhwc_padded", stride=stride))


@every_variant
def test_identity_is_x(library, variant):
    run(library, variant, Case(channels=40, cols=40, identity_is_x=True))


@every_variant
@both_strides
@pytest.mark.parametrize("gate", GATES)
def test_gates(library, variant, gate, stride):
    for publish in (False, True):
        run(library, variant, Case(grid=(2, 9, 17), channels=72, gate=gate, stride=stride, publish=publish))


@every_variant
@both_strides
@pytest.mark.parametrize("gate", ["pointwise", "squeeze"])
def test_logits_at_the_threshold(library, variant, gate, stride):
    """Sites at tiles' edges, whose logit several blocks compute: all of them come to the same decision."""
    case = Case(grid=(1, 10, 18), channels=136, gate=gate, stride=stride, publish=True)
    logits = run(library, variant, case).logits
    assert logits is not None
    for row, column in ((7, 3), (8, 16), (7, 15), (3, 8), (9, 7)):
        threshold = float(logits[0, 0, row, column])
        for value in (threshold, float(torch.nextafter(torch.tensor(threshold), torch.tensor(torch.inf)))):
            again = run(library, variant, replace(case, threshold=value)).logits
            assert again is not None
            assert torch.equal(again, logits)


@every_variant
@both_strides
def test_the_order_of_threads_does_not_matter(library, variant, stride):
    case = Case(grid=(1, 9, 18), channels=136, cols=72, stride=stride, gate="squeeze", publish=True)
    results = []
    for seed in range(4):
        library.seed(seed)
        results.append(run(library, variant, case))
    for other in results[1:]:
        assert torch.equal(results[0].y, other.y)
        torch.testing.assert_close(results[0].logits, other.logits, rtol=0, atol=0)


@pytest.mark.parametrize("seed", range(16))
def test_random_cases(library, seed):
    random = Random(seed)
    library.seed(seed)
    cols = random.choice((8, 16, 40, 64, 96))
    identity_is_x = random.random() < 0.4
    case = Case(
        grid=random.choice(((1, 7, 9), (3, 5, 4), (2, 13, 11), (1, 17, 16), (4, 8, 8))),
        channels=cols if identity_is_x else random.choice((8, 16, 40, 72, 136)),
        cols=cols,
        stride=1 if identity_is_x else random.choice((1, 2)),
        odd=random.random() < 0.5,
        dtype=random.choice((FP16, BF16)),
        activation=random.choice(("none", "relu", "relu6", "hard_swish")),
        layout=random.choice(("nhwc", "nhwc_padded")),
        identity_is_x=identity_is_x,
        active=random.choice(MASKS),
        gate=random.choice(("logits", *GATES)),
        threshold=random.choice((0.0, -0.25)),
        publish=random.random() < 0.5,
        seed=seed,
    )
    for variant in VARIANTS:
        run(library, variant, case)


# Between them they come by every point of synchronisation: several slabs, several tiles, given and computed logits.
WATCHED = (
    Case(grid=(1, 9, 18), channels=136, cols=40),
    Case(grid=(1, 9, 18), channels=72, cols=40, gate="pointwise"),
)


PATHS = {
    "mma": ("tile 8x8 mma", "tile 8x16 mma"),
    "wgmma": ("tile 8x8 wgmma", "tile 16x16 wgmma"),
}


@pytest.mark.parametrize("path", PATHS)
def test_every_barrier_and_wait_is_needed(library, path):
    def run_all(seeds: int = 4) -> None:
        for seed in range(seeds):
            library.seed(seed)
            for variant, case in itertools.product(PATHS[path], WATCHED):
                run(library, variant, case)

    found = places(library.functions, lambda: run_all(seeds=1))
    own = [(number, place) for number, place in enumerate(found) if "/fused/tiles/" in place]
    assert len(own) >= 10
    for number, place in own:
        with taken_out(library.functions, number), pytest.raises(AssertionError):
            run_all()
            raise LookupError(f"nothing fails without {place}")


def block(h: int = 9, w: int = 11, c: int = 24, cols: int = 24, **fields: int) -> GatedBlock:
    """A basic block without tensors: what is looked at first."""

    def dense(h: int, w: int, c: int) -> Dense:
        return Dense(None, 2, c, h, w, h * w * c, 1, w * c, c, NHWC)

    made = GatedBlock(**{"kind": 1, "dtype": 1, "stride_h": 1, "stride_w": 1, **fields})
    made.x, made.identity, made.y = dense(h, w, c), dense(9, 11, cols), dense(9, 11, cols)
    made.convolutions[0].c_out = made.convolutions[1].c_out = cols
    return made


def planes(made: GatedBlock) -> GatedBlock:
    made.x = Dense(None, 2, 24, 9, 11, 24 * 99, 99, 11, 1, NCHW)
    return made


def with_strides(made: GatedBlock, **strides: int) -> GatedBlock:
    for name, stride in strides.items():
        setattr(made.identity, name, stride)
    return made


REFUSED = {
    "fp32": lambda: block(dtype=0),
    "generic only": lambda: block(flags=GENERIC_ONLY),
    "strides of 3": lambda: block(25, 31, stride_h=3, stride_w=3),
    "unequal strides": lambda: block(9, 21, stride_w=2),
    "planes": lambda: planes(block()),
    "channels that are no multiple of 8": lambda: block(c=12),
    "output channels that are no multiple of 8": lambda: block(cols=12),
    "pixels that are not aligned": lambda: with_strides(block(), stride_w=28, stride_h=308, stride_n=2772),
    "rows beyond an int": lambda: with_strides(block(), stride_h=2**30, stride_n=2**34),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_taken(library, what):
    for variant in VARIANTS:
        assert "does not take" not in library.run(variant, block())
        assert "does not take this block" in library.run(variant, REFUSED[what]())


def test_bulk_copies_want_strides_that_are_multiples_of_each_other(library):
    made = block()
    made.x.stride_w, made.x.stride_h, made.x.stride_n = 32, 360, 360 * 9
    for variant in VARIANTS:
        assert ("does not take this block" in library.run(variant, made)) == ("wgmma" in variant)
