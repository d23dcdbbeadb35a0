"""The basic block by tiles on the CPU emulator, against float64: every variant, awkward sizes, masks, gates, seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from core_cases import MASKS
from emulated_tiles import GatedBlock, TileLibrary
from mutations import places, taken_out
from tile_case import Case, run

from dyn2trt.ops.core_library import Dense

FP16, BF16 = torch.float16, torch.bfloat16
VARIANTS = ("tile 8x8 mma", "tile 8x16 mma", "tile 8x8 wgmma", "tile 8x16 wgmma", "tile 16x16 wgmma")
GATES = ("pointwise", "squeeze", "layer")
TENSORS = ("x", "identity", "y")

every_variant = pytest.mark.parametrize("variant", VARIANTS)
both_strides = pytest.mark.parametrize("stride", [1, 2])


@pytest.fixture(scope="module")
def library(core_path: Path) -> TileLibrary:
    return TileLibrary(core_path)


def test_names(library):
    assert tuple(library.variants) == VARIANTS


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
    Case(grid=(1, 9, 18), channels=200, cols=40),
    Case(grid=(1, 9, 18), channels=72, cols=40, gate="pointwise"),
)


def caught(library: TileLibrary) -> bool:
    for seed in range(4):
        library.seed(seed)
        for variant in VARIANTS:
            for case in WATCHED:
                try:
                    run(library, variant, case)
                except AssertionError:
                    return True
    return False


def test_every_barrier_and_wait_is_needed(library):
    assert not caught(library)
    own = [(i, place) for i, place in enumerate(places(library.functions)) if "/fused/tiles/" in place]
    assert len(own) >= 9
    for number, place in own:
        with taken_out(library.functions, number):
            assert caught(library), f"nothing fails without {place}"


REFUSED = {
    "another block": {"kind": 0},
    "fp32": {"dtype": 0},
    "generic only": {"flags": 2},
    "strides of 3": {"stride_h": 3, "stride_w": 3},
    "unequal strides": {"stride_w": 2},
    "planes": {"x.layout": 0},
    "channels that are no multiple of 8": {"x.c": 12},
    "output channels that are no multiple of 8": {"y.c": 12},
    "pixels that are not aligned": {"identity.stride_w": 28},
    "rows beyond an int": {"y.stride_h": 2**30},
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_taken(library, what):
    def block() -> GatedBlock:
        grid = {"n": 2, "h": 9, "w": 11, "c": 24, "stride_c": 1, "stride_w": 24, "stride_h": 264, "stride_n": 2376}
        tensor = {**grid, "layout": 1}
        return GatedBlock(kind=1, dtype=1, stride_h=1, stride_w=1, **{name: Dense(**tensor) for name in TENSORS})

    for variant in VARIANTS:
        assert library.workspace(variant, block()) == 2 * 9 * 11 * 24 * 2 // 256 * 256 + 256
        changed = block()
        for path, value in REFUSED[what].items():
            *owner, name = path.split(".")
            setattr(getattr(changed, owner[0]) if owner else changed, name, value)
        assert library.workspace(variant, changed) is None


def test_tensors_that_are_not_aligned(library):
    block = GatedBlock(kind=1, dtype=1, stride_h=1, stride_w=1, x=Dense(data=8))
    assert "multiples of 16" in library.run(VARIANTS[0], block, 0)
