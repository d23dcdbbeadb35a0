"""A random problem for the gathered GEMM, its float64 reference, and what dense torch makes of it at its precision."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from emulated_gemm import ACTIVATIONS, DTYPES, EmulatedGemm, Memory, run
from torch import Tensor
from torch.nn import functional

from dyn2trt.ops.core_library import Dense, Geometry, SiteSet


@dataclass(frozen=True)
class Case:
    grid: tuple[int, int, int] = (1, 7, 9)  # n, h, w of the output
    channels: int = 32
    cols: int = 32
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    dtype: torch.dtype = torch.float16
    tf32: bool = False
    source: str = "rows"  # rows, slots, nchw, nhwc, nhwc_padded
    out: str = "rows"  # rows, nchw, nhwc, nhwc_padded
    residual: bool = False
    depthwise: bool = False
    activation: str = "relu"
    out_activation: str = "none"
    active: str = "some"  # some, none, all, one, corners
    tile: int = -1
    split: bool = False
    seed: int = 0

    @property
    def geometry(self) -> Geometry:
        k, s, p, d = self.kernel, self.stride, self.pad, self.dilation
        return Geometry(k, k, s, s, p, p, p, p, d, d)

    @property
    def input_grid(self) -> tuple[int, int, int]:
        n, h, w = self.grid
        reach = self.dilation * (self.kernel - 1) - 2 * self.pad
        # One position more than needed where the stride leaves it unread.
        return n, (h - 1) * self.stride + reach + self.stride, (w - 1) * self.stride + reach + 1


def activate(x: Tensor, name: str) -> Tensor:
    functions = {"relu": functional.relu, "relu6": functional.relu6, "hard_swish": functional.hardswish}
    return functions[name](x) if name != "none" else x


def active_mask(case: Case, grid: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    mask = torch.zeros(grid, dtype=torch.bool)
    if case.active == "all":
        mask[:] = True
    elif case.active == "one":
        mask[-1, grid[1] // 2, grid[2] // 3] = True
    elif case.active == "corners":
        mask[:, :: max(1, grid[1] - 1), :: max(1, grid[2] - 1)] = True
    elif case.active == "some":
        mask = torch.rand(grid, generator=generator) < 0.4
    return mask


def site_set(mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """sites, slots and count of a mask [n, h, w], the rows of an image in random order, the rest absurd."""
    n, h, w = mask.shape
    sites = torch.full((n * h * w,), -(2**31) + 5, dtype=torch.int32)
    slots = torch.full((n * h * w,), -1, dtype=torch.int32)
    for image in range(n):
        flat = mask[image].flatten().nonzero().flatten() + image * h * w
        flat = flat[torch.randperm(len(flat), generator=generator)].int()
        rows = image * h * w + torch.arange(len(flat), dtype=torch.int32)
        sites[rows.long()] = flat
        slots[flat.long()] = rows
    return sites, slots, mask.sum((1, 2)).int()


def to_rows(x: Tensor, slots: Tensor) -> Tensor:
    """Rows [n*h*w, c] of a dense tensor [n, c, h, w]; rows not in use are NaN."""
    rows = torch.full((slots.numel(), x.shape[1]), float("nan"), dtype=x.dtype)
    used = slots >= 0
    rows[slots[used].long()] = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])[used]
    return rows


def put_dense(memory: Memory, x: Tensor, layout: str) -> Dense:
    """x [n, c, h, w] in guarded memory, in a layout; get_dense() reads it back."""
    n, c, h, w = x.shape
    if layout == "nchw":
        return Dense(memory.put(x), n, c, h, w, c * h * w, h * w, w, 1, 0)
    pixels = x.permute(0, 2, 3, 1)
    pitch = c if layout == "nhwc" else (c + 7) // 8 * 8 + 8
    stored = torch.full((n, h, w, pitch), float("nan"), dtype=x.dtype)
    stored[..., :c] = pixels
    return Dense(memory.put(stored), n, c, h, w, h * w * pitch, 1, w * pitch, pitch, 1)


def get_dense(memory: Memory, address: int, channels: int, layout: str) -> Tensor:
    stored = memory.get(address)
    return stored if layout == "nchw" else stored[..., :channels].permute(0, 3, 1, 2)


def relative_error(y: Tensor, reference: Tensor) -> float:
    return float((y.double() - reference).norm() / reference.norm().clamp_min(1e-30))


@dataclass
class Problem:
    """A case in the emulated library's memory, and what its result should be."""

    case: Case
    memory: Memory
    test: EmulatedGemm
    mask: Tensor  # [n, h, w], of the output set
    out_slots: Tensor
    before: Tensor | None  # y as it was, [n, c, h, w]
    reference: Tensor  # float64 [rows in use, cols], in the order of mask
    framework: Tensor  # the same by torch at the case's precision

    def result(self) -> Tensor:
        """Rows in use in the order of mask, after checks that nothing else was written."""
        case, mask = self.case, self.mask
        if self.before is None:
            rows = self.memory.get(self.test.rows_out)
            used = torch.zeros(mask.numel(), dtype=torch.bool)
            used[self.out_slots[self.out_slots >= 0].long()] = True
            assert rows[~used].isnan().all(), "rows beyond count are not written"
            return rows[self.out_slots[mask.flatten()].long()]
        after = get_dense(self.memory, self.test.y.data, case.cols, case.out).permute(0, 2, 3, 1)
        assert torch.equal(after[~mask], self.before.permute(0, 2, 3, 1)[~mask]), "idle positions are not written"
        return after[mask]


def prepare(library: ctypes.CDLL, case: Case) -> Problem:
    generator = torch.Generator().manual_seed(case.seed)

    def random(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=generator) * scale).to(case.dtype)

    n, h, w = case.grid
    k, c, cols = case.kernel, case.channels, case.cols
    x = random(n, c, *case.input_grid[1:])
    mask = active_mask(case, case.grid, generator)
    sites, out_slots, count = site_set(mask, generator)
    depthwise_weight, depthwise_bias = random(k, k, c, scale=1 / k), random(c)
    taps = 1 if case.depthwise else k
    weight, bias = random(cols, taps, taps, c, scale=(taps * taps * c) ** -0.5), random(cols)
    residual = random(n, cols, h, w) if case.residual else None
    in_mask, in_slots = mask, out_slots
    if case.source != "rows":
        in_mask = torch.rand(case.input_grid, generator=generator) < 0.8
        _, in_slots, _ = site_set(in_mask, generator)
    if case.source in ("rows", "slots"):
        x = torch.where(in_mask[:, None], x, torch.zeros((), dtype=case.dtype))

    def dense(dtype: torch.dtype) -> Tensor:
        y = x.to(dtype)
        geometry = {"stride": case.stride, "padding": case.pad, "dilation": case.dilation}
        if case.depthwise:
            filters = depthwise_weight.to(dtype).permute(2, 0, 1)[:, None]
            y = functional.conv2d(y, filters, depthwise_bias.to(dtype), groups=c, **geometry)
            y, geometry = activate(y, "relu6"), {}
        y = functional.conv2d(y, weight.to(dtype).permute(0, 3, 1, 2), bias.to(dtype), **geometry)
        y = activate(y, case.activation)
        y = y if residual is None else activate(y + residual.to(dtype), case.out_activation)
        return y.permute(0, 2, 3, 1)[mask]

    memory = Memory(library)
    test = EmulatedGemm(dtype=DTYPES[case.dtype], tf32=case.tf32, tile=case.tile, channels=c, cols=cols)
    test.geometry = case.geometry
    test.input = SiteSet(None, memory.put(in_slots) if case.source == "slots" else None, None, *case.input_grid)
    test.output = SiteSet(memory.put(sites), None, memory.put(count), n, h, w)
    if case.source in ("rows", "slots"):
        test.rows = memory.put(to_rows(x, in_slots))
    else:
        test.x = put_dense(memory, x, case.source)
    if case.depthwise:
        test.depthwise_weight, test.depthwise_bias = memory.put(depthwise_weight), memory.put(depthwise_bias)
        test.depthwise_activation = ACTIVATIONS["relu6"]
    test.weight, test.bias = memory.put(weight), memory.put(bias)
    test.activation, test.out_activation = ACTIVATIONS[case.activation], ACTIVATIONS[case.out_activation]
    test.split = case.split
    before = None
    if case.out == "rows":
        test.rows_out = memory.poisoned((n * h * w, cols), case.dtype)
    else:
        before = random(n, cols, h, w)
        test.y = put_dense(memory, before, case.out)
        if residual is not None:
            test.residual = put_dense(memory, residual, case.out)
    return Problem(case, memory, test, mask, out_slots, before, dense(torch.float64), dense(case.dtype))


def check(library: ctypes.CDLL, case: Case) -> Tensor:
    """Runs the kernel and compares: rows and positions in use with the reference, all others with what was there."""
    problem = prepare(library, case)
    run(library, problem.test)
    y = problem.result()
    problem.memory.close()
    if case.dtype == torch.float32:
        allowed = 1e-3 if case.tf32 else 1e-5
    else:
        allowed = 2 * relative_error(problem.framework, problem.reference)
    error = relative_error(y, problem.reference) if len(y) else 0.0
    assert error <= allowed, f"relative error {error:.3g}, allowed {allowed:.3g}"
    return y


def check_untrusted(library: ctypes.CDLL, case: Case) -> None:
    """Sites, slots and counts are garbage: the kernel ends and leaves everything but its output as it was."""
    problem = prepare(library, case)
    generator = torch.Generator().manual_seed(case.seed)
    memory, test = problem.memory, problem.test
    for address in filter(None, (test.output.sites, test.output.count, test.input.slots)):
        tensor = memory.get(address)
        wild = torch.randint(-(2**31), 2**31 - 1, tensor.shape, generator=generator).int()
        near = torch.randint(-3, tensor.numel() + 3, tensor.shape, generator=generator).int()
        ends = torch.tensor([-1, tensor.numel() - 1, tensor.numel(), 2**31 - 1, -(2**31)]).int()
        garbage = torch.where(torch.rand(tensor.shape, generator=generator) < 0.5, wild, near)
        garbage[: len(ends)] = ends[: len(garbage)]
        memory.overwrite(address, garbage)
    run(library, test)
    memory.close()
