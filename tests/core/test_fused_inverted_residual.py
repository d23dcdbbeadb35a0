"""The fused inverted residual on the CPU emulator: every variant against float64, its decisions and its barriers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from core_cases import MASKS
from inverted_residual_case import GATES, Case, check, run, takes, tensors
from mutations import places, taken_out

from dyn2trt.ops.core_library import CoreLibrary

VARIANTS = (
    *("tile 8x8 mma", "tile 8x16 mma", "tile 4x8 mma"),
    *("tile 8x8 cluster", "tile 8x8 cluster of 3", "tile 16x16 wgmma"),
)
ACTIVATIONS = ("none", "relu", "relu6", "hard_swish")
FP16, BF16 = torch.float16, torch.bfloat16

every_variant = pytest.mark.parametrize("variant", range(len(VARIANTS)), ids=VARIANTS)
every_dtype = pytest.mark.parametrize("dtype", [FP16, BF16], ids=str)


@pytest.fixture(scope="module")
def library(core_path: Path) -> ctypes.CDLL:
    library = CoreLibrary(core_path).functions
    library.dyn2trt_emulator_set_seed(ctypes.c_uint64(1))
    return library


def test_every_variant_is_here(core_path):
    assert CoreLibrary(core_path).variants(0) == VARIANTS


@every_variant
@every_dtype
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(library, variant, dtype, activation):
    check(library, Case(variant=variant, dtype=dtype, activation=activation, grid=(1, 9, 12)))


@every_variant
@every_dtype
@pytest.mark.parametrize("gate", GATES)
def test_gates(library, variant, dtype, gate):
    """Logits come out bit by bit as the order of summation says, and so do decisions."""
    check(library, Case(variant=variant, dtype=dtype, gate=gate, channels=72, expanded=32, grid=(2, 9, 9)))
    check(library, Case(variant=variant, dtype=dtype, gate=gate, grid=(1, 3, 9), writes_logits=False))


@every_variant
@pytest.mark.parametrize("active", MASKS)
def test_what_is_active(library, variant, active):
    check(library, Case(variant=variant, active=active, grid=(2, 9, 17), seed=variant))


@every_variant
@pytest.mark.parametrize("channels", [8, 24, 40, 96, 160, 200])
def test_channels_that_are_not_the_compiled_width(library, variant, channels):
    """And expanded widths that are no multiple of a chunk, more and fewer than one."""
    for expanded in (8, 72, 200):
        case = Case(variant=variant, channels=channels, expanded=expanded, grid=(1, 5, 7), active="all")
        if takes(library, case) is not None:
            check(library, case)


@every_variant
@pytest.mark.parametrize("grid", [(1, 1, 1), (3, 1, 17), (1, 17, 2), (2, 16, 16), (1, 18, 35)], ids=str)
def test_sizes_of_the_map(library, variant, grid):
    for active in ("all", "some"):
        check(library, Case(variant=variant, grid=grid, active=active))


@every_variant
def test_room_between_pixels(library, variant):
    for gate in GATES:
        check(library, Case(variant=variant, gate=gate, padded=True, grid=(2, 5, 9)))


@every_variant
def test_empty(library, variant):
    for grid in ((0, 4, 4), (2, 0, 4)):
        run(library, Case(variant=variant, grid=grid))


@every_variant
@pytest.mark.parametrize("gate", GATES)
def test_logits_at_the_threshold(library, variant, gate):
    """A site whose logit is the threshold is active; one step above it is idle."""
    case = Case(variant=variant, gate=gate, grid=(1, 7, 10), active="nan" if gate == "logits" else "some")
    data = tensors(case)
    logit = float(data.logits[0, 3, 4])
    for threshold in (logit, float(torch.nextafter(torch.tensor(logit), torch.tensor(torch.inf)))):
        y = check(library, replace(case, threshold=threshold), data)
        assert torch.equal(y[0, :, 3, 4], data.x[0, :, 3, 4]) == (threshold != logit)


@every_variant
def test_order_of_threads_and_blocks_does_not_matter(library, variant):
    case = Case(variant=variant, gate="pointwise", grid=(2, 9, 10), channels=72, expanded=200)
    results = []
    for seed in range(4):
        library.dyn2trt_emulator_set_seed(ctypes.c_uint64(seed))
        results.append(check(library, case))
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_variants_agree_on_decisions(library):
    """An order of summation that depended on the tile would show where a logit is the threshold."""
    case = Case(gate="squeeze", grid=(1, 12, 20), channels=56)
    for variant in range(len(VARIANTS)):
        _, logits = run(library, replace(case, variant=variant))
        assert torch.equal(logits, tensors(case).logits)


@pytest.mark.parametrize("seed", range(12))
def test_random_cases(library, seed):
    random = Random(seed)
    case = Case(
        variant=random.randrange(len(VARIANTS)),
        grid=(random.choice((1, 3)), random.randint(1, 20), random.randint(1, 20)),
        channels=8 * random.randint(1, 12),
        expanded=8 * random.randint(1, 30),
        dtype=random.choice((FP16, BF16)),
        activation=random.choice(ACTIVATIONS),
        active=random.choice(MASKS),
        gate=random.choice(GATES),
        threshold=random.choice((0.0, 0.3)),
        padded=random.random() < 0.3,
        seed=seed,
    )
    check(library, case)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "more channels than there are": ({"channels": 264}, {}),
    "channels that are no multiple of 8": ({"channels": 20}, {}),
    "an expanded width that is no multiple of 8": ({"expanded": 12}, {}),
    "float32": ({"dtype": torch.float32}, {}),
    "planes": ({}, {"layout": 0}),
    "pixels that are not aligned": ({}, {"pitch": 28}),
    "a stride": ({}, {"stride": 2}),
    "another kind of block": ({}, {"kind": 1}),
}


@every_variant
@pytest.mark.parametrize("why", REFUSED)
def test_what_no_variant_takes(library, variant, why):
    of_case, beside = REFUSED[why]
    assert takes(library, Case(variant=variant)) is not None
    assert takes(library, replace(Case(variant=variant), **of_case), **beside) is None


def test_a_variant_for_every_width_in_99_kb(library):
    """The shared memory of a block on sm_86, sm_89 and sm_120."""
    for channels in range(8, 257, 8):
        sizes = [takes(library, Case(variant=i, channels=channels)) for i, name in enumerate(VARIANTS) if "mma" in name]
        assert min(size for size in sizes if size is not None) <= 99 * 1024


def test_pointers_that_are_not_aligned(library):
    with pytest.raises(AssertionError, match=r"align 0x.* to 16 bytes"):
        run(library, Case(), shift=2)


MUTATED = ("tile 8x8 mma", "tile 8x8 cluster", "tile 16x16 wgmma")  # the others differ from the first in numbers only


@pytest.mark.parametrize("name", MUTATED)
def test_every_barrier_and_wait_is_needed(library, name):
    """Without any one of them, results are wrong, or the emulator finds fault, in some order of the threads."""
    variant = VARIANTS.index(name)
    # Three chunks, or two where each block of a cluster has its own.
    cases = [
        Case(variant=variant, grid=(1, 8, 8), expanded=64 * (7 if "cluster" in name else 3), active="all"),
        Case(variant=variant, grid=(1, 8, 8), expanded=64, gate="squeeze"),
        Case(variant=variant, grid=(1, 8, 8), active="none"),
    ]
    attempts = [_attempt(library, case, seed) for seed in range(8) for case in cases]
    found = places(library, lambda: [attempt() for attempt in attempts[: len(cases)]])
    assert len(found) > 10
    survivors = []
    for number, place in enumerate(found):
        with taken_out(library, number):
            if not any(_fails(attempt) for attempt in attempts):
                survivors.append(place)
    assert survivors == []


def _attempt(library: ctypes.CDLL, case: Case, seed: int) -> Callable[[], object]:
    data = tensors(case)

    def attempt() -> object:
        library.dyn2trt_emulator_set_seed(ctypes.c_uint64(seed))
        return check(library, case, data)

    return attempt


def _fails(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except AssertionError:
        return True
    return False
