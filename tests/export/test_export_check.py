"""``dyn2trt export`` runs its file before the file appears; numbers that a precision cannot hold are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from dyn2trt.blocks import BasicBlock
from dyn2trt.blocks.precision import to_precision
from dyn2trt.cli.main import app
from dyn2trt.compare.metrics import norm_result, relative_error
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network
from dyn2trt.export.metadata import read_metadata
from dyn2trt.pipeline.checked_export import check_file


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.block = nn.Conv2d(3, 8, 1), BasicBlock(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.stem(x))


class Random(Net):
    """What no file can compute again."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(1)


class Hot(Net):
    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) * 1000).square()


class Undefined(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y / (y - y)


class Masked(Net):
    """Infinities that are meant."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return torch.where(y > 0.1, y, float("-inf"))


def dyn2trt(folder: Path, network: str, *arguments: str) -> tuple[int, str]:
    command = ["export", "--network", f"test_export_check:{network}", "--input-shape", "1x3x8x8"]
    result = CliRunner().invoke(app, [*command, "-o", str(folder / "model.onnx"), *arguments])
    message = str(result.exception) if isinstance(result.exception, Dyn2trtError) else result.output
    return result.exit_code, message


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_right_file_appears_without_a_word_of_the_check(precision: str, tmp_path: Path) -> None:
    code, message = dyn2trt(tmp_path, "Net", "--precision", precision)
    assert code == 0, message
    assert "checked" not in message
    assert files(tmp_path) == ["model.onnx"]


def test_a_file_that_computes_something_else_does_not_appear_and_the_old_one_stays(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"old")
    code, message = dyn2trt(tmp_path, "Random")
    assert code == 1
    assert "it computes something else than the network: out0 differs by" in message
    assert "--no-check" in message
    assert files(tmp_path) == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"old"
    code, _ = dyn2trt(tmp_path, "Random", "--no-check")
    assert code == 0
    assert read_metadata(tmp_path / "model.onnx").network == "test_export_check:Random"


def test_torchs_own_overflow_is_reported_as_that(tmp_path: Path) -> None:
    code, message = dyn2trt(tmp_path, "Hot", "--precision", "fp16")
    assert code == 1
    assert "torch itself overflows in fp16 at out0; use bf16 or fp32" in message
    assert not files(tmp_path)
    assert dyn2trt(tmp_path, "Hot")[0] == 0


def test_nan_of_the_network_itself_is_reported_as_that(tmp_path: Path) -> None:
    code, message = dyn2trt(tmp_path, "Undefined")
    assert code == 1
    assert "the reference itself gives NaN at out0" in message


def test_infinities_that_are_meant_hide_nothing(tmp_path: Path) -> None:
    assert dyn2trt(tmp_path, "Masked")[0] == 0
    reference, wrong = np.array([1.0, np.inf, 2.0]), np.array([1.1, np.inf, 2.0])
    assert relative_error(reference, reference) == 0
    assert relative_error(wrong, reference) == pytest.approx(0.1 / 5**0.5)


def test_one_number_for_a_batch_compares() -> None:
    assert norm_result(np.array(1.5), np.array(1.0), 1e-5).error == pytest.approx(0.5)


@pytest.mark.parametrize(("precision", "better"), [("fp16", "bf16 or fp32"), ("bf16", "fp32")])
def test_weights_that_become_infinite_are_named(precision: Any, better: str, tmp_path: Path) -> None:
    network = Net().eval()
    with torch.no_grad():
        network.stem.weight[0, 0] = 3.4e38 if precision == "bf16" else 1e5
    with pytest.raises(Dyn2trtError) as refused:
        export_network(network, input_shape=(1, 3, 8, 8), path=tmp_path / "model.onnx", precision=precision)
    assert "stem.weight (up to" in str(refused.value)
    assert str(refused.value).endswith(f"use {better}")
    assert not files(tmp_path)


def test_folded_weights_of_a_gated_block_that_become_infinite_are_named() -> None:
    from dyn2trt.blocks.fold import fold_batchnorm

    network = Net().eval()
    nn.init.constant_(network.block.bn1.weight, 1e7)
    with pytest.raises(Dyn2trtError, match=r"conv1_weight|conv1\.weight"):
        to_precision(fold_batchnorm(network, (1, 3, 8, 8)), "fp16")


class Baked(nn.Module):
    """As though a trace had taken the width of its example for the only one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
        return y if x.shape[3] == 8 else y + 1


def test_a_dynamic_file_is_checked_at_a_second_size_too(tmp_path: Path) -> None:
    network, path = Net().eval(), tmp_path / "model.onnx"
    export_network(network, input_shape=(1, 3, 8, 8), path=path, dynamic_batch=True, dynamic_size=True)
    check_file(path, network, pytest.fail)
    with pytest.raises(Dyn2trtError, match="at 2x3x16x24 it computes something else"):
        check_file(path, Baked(network).eval(), pytest.fail)


def test_a_size_that_torch_refuses_is_not_the_files_fault(tmp_path: Path) -> None:
    network, path = Net().eval(), tmp_path / "model.onnx"
    export_network(network, input_shape=(1, 3, 8, 8), path=path, dynamic_size=True)

    def refuse(_network: nn.Module, args: tuple[Tensor]) -> None:
        if args[0].shape[3] != 8:
            raise RuntimeError("no such size")

    network.register_forward_pre_hook(refuse)
    told: list[str] = []
    check_file(path, network, told.append)
    assert told == ["the file was not checked at 1x3x16x24, which the network refuses in torch: no such size"]
