"""What the CPU emulator makes of copies and products that run beside the threads, and which mistakes it catches."""

from __future__ import annotations

from pathlib import Path

import emulated_core
import pytest
import torch
from emulator_harness import Harness
from torch import Tensor

KERNELS = Path(__file__).parents[1] / "support" / "async_kernels.cu"
TAPS, ROWS, COLUMNS, DEPTH = 5, 64, 32, 64
SEEDS = range(8)

# The numbers of AsyncProduct::Mistake.
RIGHT = {"as it should be": 0, "A from registers": 12, "the writer fences": 13}
NAMED = {  # an error says so
    "no fence.proxy.async": (2, "without a fence.proxy.async"),
    "no wgmma.fence": (4, "without a wgmma.fence"),
    "expects too few bytes": (7, "mbarrier_wait"),
    "not initialised": (8, "before mbarrier.init"),
    "a misaligned box": (11, "no multiple of 1024"),
    "overwrites rows under way": (14, "registers of A changed"),
}
SILENT = {  # the result is wrong, or an error says that the ring is out of step
    "reads without waiting": 1,
    "does not wait for products": 3,
    "releases a stage early": 5,
    "fills without waiting": 6,
    "arrives before its copies": 10,
}


@pytest.fixture(scope="module")
def harness() -> Harness:
    if emulated_core.compiler() is None:
        pytest.skip("no C++ compiler: set CXX or install g++")
    return Harness(emulated_core.build_library("libasync_kernels.so", (KERNELS,)))


def product(harness: Harness, mistake: int, dtype: torch.dtype, seed: int) -> tuple[str, Tensor, Tensor]:
    """The message, the result and what it should be: integers that every type holds."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randint(-4, 5, (ROWS, TAPS, DEPTH), generator=generator).to(dtype)
    b = torch.randint(-4, 5, (COLUMNS - 2, TAPS, DEPTH - 8), generator=generator).to(dtype)
    out = torch.empty(ROWS, COLUMNS)
    name = "async_product_half" if dtype == torch.float16 else "async_product_bfloat16"
    message = harness.run(name, torch.cat([a.flatten(), b.flatten()]), out, variant=mistake, seed=seed)
    expected = torch.zeros(ROWS, COLUMNS)
    expected[:, : COLUMNS - 2] = torch.einsum("rtd,ctd->rc", a[..., : DEPTH - 8].float(), b.float())
    return message, out, expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mistake", RIGHT.values(), ids=RIGHT)
def test_a_ring_of_stages(harness, mistake, dtype):
    """Layouts are those of the PTX manual, zeros fill a box outside of its tensor, in any order of events."""
    for seed in SEEDS:
        message, out, expected = product(harness, mistake, dtype, seed)
        assert message == ""
        assert torch.equal(out, expected)


@pytest.mark.parametrize(("mistake", "expected"), NAMED.values(), ids=NAMED)
def test_mistakes_that_are_named(harness, mistake, expected):
    for seed in SEEDS:
        message, _, _ = product(harness, mistake, torch.float16, seed)
        assert expected in message


@pytest.mark.parametrize("mistake", SILENT.values(), ids=SILENT)
def test_mistakes_that_show(harness, mistake):
    shown = 0
    for seed in SEEDS:
        message, out, expected = product(harness, mistake, torch.float16, seed)
        shown += message != "" or not torch.equal(out, expected)
    assert shown >= len(SEEDS) // 2


def test_nothing_may_be_under_way_at_the_end(harness):
    messages = [product(harness, 9, torch.float16, seed)[0] for seed in SEEDS]
    assert any("ends with copies or arrivals under way" in message for message in messages)


def test_named_barriers(harness):
    given = torch.randint(0, 1000, (128,), dtype=torch.int32)
    mirrored = given.view(2, 64).flip(1).flatten()
    expected = torch.stack([mirrored + i for i in range(3)])
    wrong = 0
    for seed in SEEDS:
        out = torch.empty(3, 128, dtype=torch.int32)
        assert harness.run("pairs", given, out, seed=seed) == ""
        assert torch.equal(out, expected)
        assert harness.run("pairs", given, out, variant=1, seed=seed) == ""
        wrong += not torch.equal(out, expected)
        assert "named_barrier" in harness.run("pairs", given, out, variant=2, seed=seed)
    assert wrong == len(SEEDS)
