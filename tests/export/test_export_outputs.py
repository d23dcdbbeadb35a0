"""Whatever a network returns and makes in its forward: tuples, dicts and None, at every precision, in compare too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime
import pytest
import torch
from official import relative_error
from torch import Tensor, nn

from dyn2trt.blocks import BasicBlock
from dyn2trt.export import export_network
from dyn2trt.export.outputs import flatten_outputs, output_names
from dyn2trt.pipeline.checked_export import check_file

ALLOWED = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 5e-2}


class Pair(NamedTuple):
    heat: Tensor
    offset: Tensor


class Net(nn.Module):
    def __init__(self, compute: Callable[[Tensor], Any] = lambda y: y) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.block, self.compute = nn.Conv2d(3, 8, 1), BasicBlock(8, 8), compute

    def forward(self, x: Tensor) -> Any:
        return self.compute(self.block(self.stem(x)))


SHAPES: dict[str, tuple[Callable[[Tensor], Any], tuple[str, ...]]] = {
    "tensor": (lambda y: y, ("out0",)),
    "list": (lambda y: [y, y + 1], ("out0", "out1")),
    "nested": (lambda y: (y, (y + 1, [y * 2, None])), ("out0", "out1", "out2")),
    "none first": (lambda y: (None, y), ("out0",)),
    "dict": (lambda y: {"heat": y, "none": None, "scale": y.mean(dim=1)}, ("heat", "scale")),
    "ordered dict": (lambda y: OrderedDict(b=y, a=y + 1), ("b", "a")),
    "dict of lists": (lambda y: {"levels": [y, {"mask": y + 1}], 3: y * 2}, ("levels.0", "levels.1.mask", "3")),
    "tuple of dicts": (lambda y: (y, {"a": y + 1}, {"a": y * 2}), ("out0", "a", "a_2")),
    "named tuple": (lambda y: Pair(y, y + 1), ("heat", "offset")),
    "names of ours": (lambda y: {"x": y, "mask0": y + 1, "out7": y * 2}, ("out_x", "out_mask0", "out_out7")),
    "names in the graph": (lambda y: {"stem.weight": y, "logits0": y * 2}, ("stem.weight_2", "out_logits0")),
    "twice": (lambda y: {"a": y, "b": y}, ("a", "b")),
    "numbers": (lambda y: {"y": y, "stride": 4, "name": "net"}, ("y",)),
    "classes": (lambda y: {"class": y.argmax(dim=1), "score": y.amax(dim=1)}, ("class", "score")),
    "one number": (lambda y: (y, y.mean()), ("out0", "out1")),
}


def run(path: Path, x: Tensor) -> dict[str, Tensor]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    arrays = session.run(names, {"x": x.numpy()})
    return {name: torch.as_tensor(array) for name, array in zip(names, arrays, strict=True)}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("case", SHAPES)
def test_outputs_are_flattened_in_order_and_named(case: str, precision: Any, tmp_path: Path) -> None:
    compute, names = SHAPES[case]
    network, path = Net(compute).eval(), tmp_path / "model.onnx"
    metadata = export_network(network, input_shape=(2, 3, 8, 8), path=path, precision=precision)
    assert metadata.outputs == names
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        wanted = flatten_outputs(network(x))
    got = run(path, x)
    assert tuple(got) == names
    for value, expected in zip(got.values(), wanted, strict=True):
        assert value.dtype == expected.dtype
        assert value.shape == expected.shape
        if value.is_floating_point():
            assert relative_error(value, expected) <= ALLOWED[precision]
    check_file(path, network, pytest.fail)


def test_names_without_a_graph() -> None:
    tensor = torch.zeros(1)
    assert output_names(({"a": [tensor]}, tensor)) == ("a.0", "out1")


class Made(nn.Module):
    """Tensors that a forward makes without a device, and one kept as a plain attribute, ahead of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.block, self.last = nn.Conv2d(5, 8, 3, padding=1), BasicBlock(8, 8), nn.Conv2d(8, 2, 1)
        self.offset = torch.linspace(0, 0.1, 8).reshape(1, 8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        # torch.linspace lets torch.export take its number of steps as fixed.
        height = x.shape[2]
        steps = torch.arange(height) * 2 / (height - 1) - 1
        rows = torch.linspace(-1, 1, height) if isinstance(height, int) else steps
        rows = rows.reshape(1, 1, -1, 1).expand(x.shape[0], 1, -1, x.shape[3])
        columns = torch.arange(x.shape[3]).float().expand(x.shape[0], 1, x.shape[2], -1) / 8
        y = self.block(self.stem(torch.cat([x, rows, columns], dim=1)) + self.offset)
        return self.last(y * torch.ones(8, 1, 1))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_tensors_that_a_forward_makes(precision: Any, dynamic: bool, tmp_path: Path) -> None:
    network, path = Made().eval(), tmp_path / "model.onnx"
    arguments = {"dynamic_batch": dynamic, "dynamic_size": dynamic}
    metadata = export_network(network, input_shape=(2, 3, 8, 8), path=path, precision=precision, **arguments)
    assert metadata.macs_gated == 2 * 9 * 8 * 8 * 64
    check_file(path, network, lambda text: None if precision == "bf16" else pytest.fail(text))
