"""A fused inverted residual on the CPU emulator: random tensors in guarded memory, the result against float64."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from core_cases import error, mask
from emulated_gemm import ACTIVATIONS, DTYPES, Memory
from torch import Tensor
from torch.nn import functional

from dyn2trt.ops.core_library import NHWC, Dense, GatedBlock

GATES = ("logits", "pointwise", "squeeze", "layer")
_FUNCTIONS = {"none": lambda x: x, "relu": torch.relu, "relu6": functional.relu6, "hard_swish": functional.hardswish}


@dataclass(frozen=True)
class Case:
    """What is random in it depends on ``seed`` alone."""

    variant: int = 0
    grid: tuple[int, int, int] = (1, 9, 21)  # n, h, w
    channels: int = 24
    expanded: int = 72
    dtype: torch.dtype = torch.float16
    activation: str = "relu6"
    active: str = "some"  # of core_cases.MASKS; a gate computed in the kernel finds sites of its own
    gate: str = "logits"
    threshold: float = 0.0
    padded: bool = False  # room between pixels, lines and images of x and y
    writes_logits: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Tensors:
    x: Tensor  # [n, c, h, w]
    weights: tuple[Tensor, ...]  # [e, c], [e]; [3, 3, e], [e]; [c, e], [c]
    logits: Tensor  # float32 [n, h, w], as the gate's order of summation makes them
    gate_weight: Tensor  # float32, empty for a gate without
    gate_bias: Tensor
    offset: Tensor  # float32 [n]


def tensors(case: Case) -> Tensors:
    generator = torch.Generator().manual_seed(case.seed)
    n, h, w = case.grid
    c, e = case.channels, case.expanded

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    x = normal(n, c, h, w).to(case.dtype)
    weights = (
        *(normal(e, c, scale=2 / c**0.5), normal(e, scale=0.5)),
        *(normal(3, 3, e, scale=0.5), normal(e, scale=0.5)),
        *(normal(c, e, scale=1.5 / e**0.5), normal(c, scale=0.5)),
    )
    gate_weight, gate_bias, offset = torch.empty(0), torch.empty(0), torch.empty(0)
    logits = mask(case.active, n, h, w, generator)[:, 0] + case.threshold
    if case.gate == "pointwise":
        gate_weight, gate_bias = normal(c, scale=c**-0.5), normal(1, scale=0.1) + case.threshold
        logits = _summed(x, gate_weight.view(1, 1, c), gate_bias)
    elif case.gate == "squeeze":
        gate_weight, gate_bias = normal(3, 3, c, scale=(9 * c) ** -0.5), normal(1, scale=0.1)
        offset = normal(n, scale=0.2) + case.threshold
        logits = _summed(x, gate_weight, gate_bias) + offset.view(n, 1, 1)
    elif case.gate == "layer":
        offset = torch.linspace(-1, 1, n + 1)[1:] + case.threshold
        logits = offset.view(n, 1, 1).expand(n, h, w)
    weights = tuple(weight.to(case.dtype) for weight in weights)
    return Tensors(x, weights, logits.contiguous(), gate_weight, gate_bias, offset)


def _summed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution with ``weight`` [kh, kw, c] in the order of plugins/core/device/gate.cuh, float32 [n, h, w].

    A fused multiply-add in float32 is a product and a sum in float64, rounded to float32.
    """
    kh, kw, c = weight.shape
    n, _, h, w = x.shape
    padded = functional.pad(x.double(), (kw // 2, kw // 2, kh // 2, kh // 2))
    lanes = [torch.zeros(n, h, w) for _ in range(8)]
    for row in range(kh):
        for col in range(kw):
            tap = padded[:, :, row : row + h, col : col + w]
            for first in range(0, c, 8):
                lane = first // 8 % 8
                for channel in range(first, first + 8):
                    product = tap[:, channel] * weight[row, col, channel].double()
                    lanes[lane] = (lanes[lane].double() + product).float()
    while len(lanes) > 1:  # lane l and lane l + half; every lane ends with the same
        half = len(lanes) // 2
        lanes = [lanes[i] + lanes[i + half] for i in range(half)]
    return lanes[0] + bias


def branch(x: Tensor, weights: tuple[Tensor, ...], activation: str) -> Tensor:
    """What the block adds to x where it is active, by dense convolutions at x's precision."""
    expand, expand_bias, depthwise, depthwise_bias, project, project_bias = weights
    act = _FUNCTIONS[activation]
    hidden = act(functional.conv2d(x, expand[:, :, None, None], expand_bias))
    taps = depthwise.permute(2, 0, 1)[:, None]
    hidden = act(functional.conv2d(hidden, taps, depthwise_bias, padding=1, groups=len(taps)))
    return functional.conv2d(hidden, project[:, :, None, None], project_bias)


def run(library: ctypes.CDLL, case: Case, data: Tensors | None = None, shift: int = 0) -> tuple[Tensor, Tensor]:
    """y [n, c, h, w] and the logits that the kernel wrote [n, h, w], NaN without.

    Args:
        shift: bytes that the pointer to x is off by.
    """
    data = data or tensors(case)
    memory = Memory(library)
    try:
        room = torch.full((_size(case),), torch.nan, dtype=case.dtype)
        _pixels(case, room).copy_(data.x)
        x, y = memory.put(room), memory.poisoned((_size(case),), case.dtype)
        logits = memory.poisoned(case.grid, torch.float32)
        pointers = [memory.put(weight) for weight in data.weights]
        offset = memory.put(data.offset) if data.offset.numel() else None
        block = _block(case)
        block.x.data, block.y.data = x + shift, y
        for convolution, weight, bias in zip(block.convolutions, pointers[::2], pointers[1::2], strict=True):
            convolution.weight, convolution.bias = weight, bias
        if case.gate == "logits":
            block.gate.given = memory.put(data.logits)
        if data.gate_weight.numel():
            block.gate.weight, block.gate.bias = memory.put(data.gate_weight), memory.put(data.gate_bias)
        block.gate.logits = logits if case.writes_logits else None

        function = library.dyn2trt_emulator_inverted_residual
        function.argtypes = [ctypes.POINTER(GatedBlock), ctypes.c_int, ctypes.c_void_p]
        library.dyn2trt_last_error.restype = ctypes.c_char_p
        status = function(ctypes.byref(block), case.variant, offset)
        assert status == 0, library.dyn2trt_last_error().decode()

        written = memory.get(y)
        between = torch.ones_like(written, dtype=torch.bool)
        _pixels(case, between).fill_(False)
        assert bool(written[between].isnan().all()), "written between the pixels of y"
        assert torch.equal(memory.get(x).nan_to_num(), room.nan_to_num()), "x was written to"
        return _pixels(case, written).clone(), memory.get(logits)
    finally:
        memory.close()


def takes(library: ctypes.CDLL, case: Case, kind: int = 0, stride: int = 1, **x: int) -> int | None:
    """Bytes of shared memory that the variant needs, None when it does not take the block.

    Args:
        x: layout, or the pitch of pixels, if it is not that of the case.
    """
    block = _block(case)
    block.kind, block.stride_h = kind, stride
    block.x.layout = x.get("layout", block.x.layout)
    block.x.stride_w = x.get("pitch", block.x.stride_w)
    function = library.dyn2trt_emulator_inverted_residual_takes
    function.argtypes = [ctypes.POINTER(GatedBlock), ctypes.c_int]
    size = int(function(ctypes.byref(block), case.variant))
    return None if size < 0 else size


def _block(case: Case) -> GatedBlock:
    """Everything but pointers."""
    n, h, w = case.grid
    dense = Dense(None, n, case.channels, h, w, *_strides(case), NHWC)
    block = GatedBlock(dtype=DTYPES[case.dtype], activation=ACTIVATIONS[case.activation], stride_h=1, stride_w=1)
    block.gate.kind, block.gate.threshold = GATES.index(case.gate), case.threshold
    block.x = block.y = block.identity = dense
    for convolution, channels in zip(block.convolutions, (case.expanded, case.expanded, case.channels), strict=True):
        convolution.c_out = channels
    return block


def _strides(case: Case) -> tuple[int, int, int, int]:
    _, h, w = case.grid
    pixel = case.channels + (8 if case.padded else 0)
    line = pixel * w + (16 if case.padded else 0)
    return line * h + (8 if case.padded else 0), 1, line, pixel


def _size(case: Case) -> int:
    """Elements from the first to the last of a tensor: memory ends with its last pixel."""
    n, h, w = case.grid
    shape = (n, case.channels, h, w)
    return (
        sum((extent - 1) * stride for extent, stride in zip(shape, _strides(case), strict=True)) + 1 if n * h * w else 0
    )


def _pixels(case: Case, room: Tensor) -> Tensor:
    n, h, w = case.grid
    return room.as_strided((n, case.channels, h, w), _strides(case))


def check(library: ctypes.CDLL, case: Case, given: Tensors | None = None) -> Tensor:
    """Compare decisions bit by bit, idle sites bit by bit, active ones with float64. Returns y."""
    data = given or tensors(case)
    y, logits = run(library, case, data)
    if case.writes_logits and case.gate != "logits":
        assert torch.equal(logits, data.logits), "logits"
    else:
        assert bool(logits.isnan().all()), "logits were written unasked"
    active = (data.logits >= case.threshold)[:, None].expand_as(y)
    assert torch.equal(y[~active], data.x[~active]), "idle sites"
    if bool(active.any()):
        exact = data.x.double() + branch(data.x.double(), tuple(t.double() for t in data.weights), case.activation)
        dense = data.x + branch(data.x, data.weights, case.activation)
        allowed = max(2 * error(dense[active], exact[active]), torch.finfo(case.dtype).eps / 2)
        found = error(y[active], exact[active])
        assert found <= allowed, f"error {found:.2e}, allowed {allowed:.2e}"
    return y
