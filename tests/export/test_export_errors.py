"""What of a user's network cannot be exported is told in one message: what, in which module, at which line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks import BasicBlock
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network


class Head(nn.Module):
    def __init__(self, compute: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, y: Tensor) -> Any:
        return self.compute(y)


class Net(nn.Module):
    def __init__(self, compute: Callable[[Tensor], Any] = lambda y: y) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.block = BasicBlock(8, 8)
        self.head = Head(compute)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.block(self.stem(x)))


class TwoInputs(Net):
    def forward(self, x: Tensor, other: Tensor) -> Any:
        return super().forward(x) + other


def loop(y: Tensor) -> Tensor:
    while y.sum() > 0:
        y = y - 1
    return y


def refusal(network: nn.Module, folder: Path, **arguments: Any) -> str:
    with pytest.raises(Dyn2trtError) as refused:
        export_network(network.eval(), input_shape=(2, 3, 16, 16), path=folder / "model.onnx", **arguments)
    assert not list(folder.iterdir())
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 800
    return message


CASES: dict[str, tuple[Callable[[Tensor], Any], dict[str, bool], tuple[str, ...]]] = {
    "no operator": (lambda y: y.kthvalue(2, dim=1).values, {}, ("kthvalue", "ONNX has no operator for it")),
    "none after decomposition": (torch.linalg.svdvals, {}, ("linalg_svd", "ONNX has no operator for it")),
    "numpy": (lambda y: torch.from_numpy(y.numpy() * 2), {}, ("handed to numpy", "in torch")),
    "values": (lambda y: y if y.sum() > 0 else -y, {}, ("must not depend on the values", "torch.where")),
    "loop": (loop, {}, ("must not depend on the values",)),
    "shape": (lambda y: y.view(7, -1), {}, ("refuses an input of 2x3x16x16", "view")),
    "users own": (lambda y: {}["none"], {}, ("KeyError: 'none'",)),
    "pooling": (lambda y: F.adaptive_avg_pool2d(y, 3), {"dynamic_size": True}, ("to 3x3", "pool to 1x1")),
    "max pooling": (lambda y: F.adaptive_max_pool2d(y, (1, 2)), {"dynamic_size": True}, ("to 1x2", "static size")),
    "fixed width": (
        lambda y: y + torch.linspace(0, 1, 16),
        {"dynamic_size": True},
        ("its width can only be 16", "static shape"),
    ),
    "fixed batch": (lambda y: y.reshape(2, -1), {"dynamic_batch": True}, ("its batch can only be 2",)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_message_names_operation_module_and_line(case: str, tmp_path: Path) -> None:
    compute, arguments, told = CASES[case]
    message = refusal(Net(compute), tmp_path, **arguments)
    for text in told:
        assert text in message
    if "fixed" not in case:  # There torch says only at the end that no other size goes.
        assert "in head (Head)" in message
        assert f"{__file__}:" in message


@pytest.mark.parametrize("size", [(1, 1), (None, None)])
def test_pooling_that_needs_no_fixed_window_goes_with_a_dynamic_size(size: tuple[Any, Any], tmp_path: Path) -> None:
    network = Net(lambda y: F.adaptive_avg_pool2d(y, size)).eval()
    export_network(network, input_shape=(1, 3, 16, 16), path=tmp_path / "model.onnx", dynamic_size=True)


def test_a_forward_of_two_inputs_is_told_how_to_wrap_it(tmp_path: Path) -> None:
    message = refusal(TwoInputs(), tmp_path)
    assert "takes x, other; wrap it in a module that takes one and gives it" in message


def test_a_network_without_a_tensor_to_return_is_explained(tmp_path: Path) -> None:
    assert "the network returns dict without a tensor" in refusal(Net(lambda y: {"a": None, "b": 3}), tmp_path)


NETWORK = """
from torch import nn
from dyn2trt.blocks import BasicBlock

print("imported")


class Network(nn.Module):
    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.stem, self.block, self.fails = nn.Conv2d(3, 8, 1), BasicBlock(8, 8), fails

    def forward(self, x):
        print("forward")
        y = self.block(self.stem(x))
        return y.kthvalue(2, dim=1).values if self.fails else y
"""


def dyn2trt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "printing.py").write_text(NETWORK)
    command = [sys.executable, "-m", "dyn2trt", *arguments, "--network", "printing:Network"]
    command += ["--input-shape", "1x3x8x8", "-o", "model.onnx"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_prints_of_the_users_module_go_to_stderr(tmp_path: Path) -> None:
    done = dyn2trt(tmp_path, "export", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    assert "imported" in done.stderr
    assert "forward" in done.stderr


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_traceback_comes_on_debug_alone(place: str, tmp_path: Path) -> None:
    verb = ("--debug", "export") if place == "before" else ("export", "--debug")
    told, whole = (dyn2trt(tmp_path, *words, "--set", "fails=true") for words in (("export",), verb))
    for done in (told, whole):
        assert done.returncode == 1
        assert "dyn2trt: kthvalue" in done.stderr
        assert "printing.py:16" in done.stderr
    assert "Traceback" not in told.stderr
    assert "Traceback" in whole.stderr
