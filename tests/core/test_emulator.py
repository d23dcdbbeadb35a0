"""The CPU emulator itself: what kernels see there, and that it catches their mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import emulated_core
import pytest
import torch
from emulator_harness import Harness
from torch import Tensor

KERNELS = Path(__file__).parents[1] / "support" / "core_kernels.cu"


@pytest.fixture(scope="module")
def harness() -> Harness:
    if emulated_core.compiler() is None:
        pytest.skip("no C++ compiler: set CXX or install g++")
    return Harness(emulated_core.build_library("libcore_kernels.so", (KERNELS,)))


def test_blocks_and_barriers(harness):
    given = torch.randn(7, 128)
    for seed in range(5):
        out = torch.empty(7, 128)
        assert harness.run("reverse", given, out, blocks=7, seed=seed) == ""
        assert torch.equal(out, given.flip(1))


def test_missing_barrier_shows(harness):
    """Whatever the seed: some thread reads what another has not written, which is NaN."""
    given = torch.randn(7, 128)
    for seed in range(20):
        out = torch.empty(7, 128)
        assert harness.run("reverse", given, out, variant=1, blocks=7, seed=seed) == ""
        assert out.isnan().any()


MISTAKES: list[tuple[int, str]] = [
    (0, "__syncthreads"),
    (1, "while others wait at"),
    (2, "__ballot_sync"),
    (3, "while other lanes wait"),
    (4, "outside its tensors"),
    (5, "outside its tensors"),
    (6, "misaligned"),
    (7, "index outside its array"),
    (8, "division"),
    (9, "outside its tensors"),
    (10, "written around"),
]


@pytest.mark.parametrize(("variant", "message"), MISTAKES)
def test_mistakes_are_errors(harness, variant, message):
    given, out = torch.randn(128), torch.empty(128)
    for seed in range(4):
        error = harness.run("wrong", given, out, variant=variant, seed=seed)
        assert message in error
        assert "wrong, block (0, 0, 0)" in error or variant == 10
    # And the next launch is none the worse for it.
    assert harness.run("wrong", given, out, variant=99) == ""
    assert torch.equal(out, given)


def test_cp_async(harness):
    given, out = torch.randn(128, 4), torch.empty(128, 4)
    assert harness.run("async_copy", given, out) == ""
    assert torch.equal(out, given.flip(0))
    assert harness.run("async_copy", given, out, variant=4) == ""
    assert torch.equal(out[1::2], given.flip(0)[1::2])  # row 127 - t, which is even
    assert bool((out[::2] == 0).all())
    for variant in (1, 2):
        assert harness.run("async_copy", given, out, variant=variant) == ""
        assert bool(out.isnan().all())
    assert "no multiple of 16" in harness.run("async_copy", given, out, variant=3)


def test_collectives(harness):
    """Halves of a warp meet by themselves, while the other half is already further on."""
    x = torch.randint(-9, 9, (32,), dtype=torch.int32)
    lane = torch.arange(32)
    for seed in range(6):
        out = torch.empty(10, 32, dtype=torch.int32)
        assert harness.run("collectives", x, out, seed=seed) == ""
        assert torch.equal(out[0], x[(lane + 7) % 32])
        assert torch.equal(out[1], x[torch.where(lane < 3, lane, lane - 3)])
        assert torch.equal(out[2], x[torch.where(lane > 26, lane, lane + 5)])
        assert torch.equal(out[3], x[lane ^ 9])
        assert torch.equal(out[4], x[lane ^ 3])
        ballot = int(sum(1 << i for i in range(32) if x[i] > 0))
        signed = ballot - (1 << 32 if ballot >= 1 << 31 else 0)
        assert out[5].tolist() == [signed] * 32
        assert out[6].tolist() == [1] * 32
        assert torch.equal(out[7], x.cumsum(0, dtype=torch.int32))
        assert out[8][:16].tolist() == [ballot & 0xFFFF] * 16
        high = ballot & 0xFFFF0000
        assert out[8][16:].tolist() == [high - (1 << 32 if high >= 1 << 31 else 0)] * 16
        assert out[9].tolist() == [2] * 32


def test_block_scan(harness):
    x = torch.randint(0, 99, (128,), dtype=torch.int32)
    for seed in range(6):
        out = torch.empty(129, dtype=torch.int32)
        assert harness.run("scan", x, out, seed=seed) == ""
        assert torch.equal(out, torch.cat([torch.zeros(1, dtype=torch.int32), x.cumsum(0, dtype=torch.int32)]))


@pytest.mark.parametrize("emulated", [0, 1], ids=["mma", "by shuffles"])
@pytest.mark.parametrize(
    ("kernel", "dtype", "depth"),
    [("half", torch.float16, 16), ("bfloat16", torch.bfloat16, 16), ("float", torch.float32, 8)],
)
def test_matrix_products(harness, kernel, dtype, depth, emulated):
    """Fragments lie as the PTX manual says: integers that every type holds give the exact product."""
    a = torch.randint(-8, 9, (16, depth)).to(dtype)
    b = torch.randint(-8, 9, (8, depth)).to(dtype)
    out = torch.empty(16, 8)
    assert harness.run(f"multiply_{kernel}", torch.cat([a, b]), out, variant=emulated) == ""
    start = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).repeat_interleave(8, 0).repeat(1, 4)
    assert torch.equal(out, a.float() @ b.float().T + start)


def test_tf32_rounds(harness):
    """tf32 keeps 10 bits of mantissa."""
    a, b = torch.randn(16, 8), torch.randn(8, 8)
    out = torch.empty(16, 8)
    assert harness.run("multiply_float", torch.cat([a, b]), out) == ""
    start = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).repeat_interleave(8, 0).repeat(1, 4)
    exact = a.double() @ b.double().T + start
    error = float((out - exact).norm() / exact.norm())
    assert 1e-5 < error < 1e-3


@pytest.mark.parametrize("transposed", [0, 1])
def test_ldmatrix(harness, transposed):
    rows = torch.randint(0, 1 << 15, (32, 8), dtype=torch.int16)
    out = torch.empty(4, 32, 2, dtype=torch.int16)
    assert harness.run("load_matrices", rows, out, variant=transposed) == ""
    matrices = rows.view(4, 8, 8)
    if transposed:
        matrices = matrices.transpose(1, 2)
    assert torch.equal(out, matrices.reshape(4, 32, 2))


CONVERSIONS = [("half", torch.float16), ("bfloat16", torch.bfloat16)]


@pytest.mark.parametrize(("name", "dtype"), CONVERSIONS)
def test_conversion_to_float(harness, name, dtype):
    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)
    out = torch.empty(1 << 16)
    assert harness.run(f"convert_{name}", every, out, variant=1, blocks=512) == ""
    assert torch.equal(out.nan_to_num(1.5), every.float().nan_to_num(1.5))


@pytest.mark.parametrize(("name", "dtype"), CONVERSIONS)
def test_conversion_from_float(harness, name, dtype):
    """Random bits of float32, and every value of the type with its neighbours halfway to the next."""
    exact = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype).float()
    halfway = (exact.view(torch.int32) + (1 << 12 if name == "half" else 1 << 15)).view(torch.float32)
    bits = torch.randint(-(1 << 31), 1 << 31, (1 << 16,)).to(torch.int32).view(torch.float32)
    values = torch.cat([exact, halfway, bits])
    out = torch.empty(values.shape, dtype=dtype)
    assert harness.run(f"convert_{name}", values, out, blocks=len(values) // 128) == ""
    expected = values.to(dtype)
    assert torch.equal(out.isnan(), expected.isnan())
    assert torch.equal(out[~out.isnan()].view(torch.int16), expected[~out.isnan()].view(torch.int16))


ACTIVATIONS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x,
    torch.relu,
    torch.nn.functional.relu6,
    torch.nn.functional.hardswish,
]


@pytest.mark.parametrize("index", range(4))
def test_activations(harness, index):
    x = torch.linspace(-8, 8, 128)
    x[0] = torch.nan
    out = torch.empty(128)
    assert harness.run("activate", x, out, variant=index) == ""
    torch.testing.assert_close(out, ACTIVATIONS[index](x), equal_nan=True)
