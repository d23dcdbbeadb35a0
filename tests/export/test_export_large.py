"""Networks beyond protobuf's 2 GiB, with the limit lowered: weights lie in a file beside the model."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.external_data_helper import uses_external_data
from typer.testing import CliRunner

from dyn2trt.cli.main import app
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network, model_file
from dyn2trt.export.metadata import load_model, read_metadata
from dyn2trt.export.model_file import data_files, loadable, save_model
from dyn2trt.export.surgery import dense_twin
from dyn2trt.networks.zoo import build_network

SHAPE = (1, 3, 32, 32)


@pytest.fixture(autouse=True)
def lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "EMBEDDED_LIMIT", 10_000)


def export(path: Path, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    network = build_network("cifar_resnet", {"depth": 8}).eval()
    export_network(network, input_shape=SHAPE, path=path)
    return network


def data_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.data"))


def dyn2trt(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.exception or result.output
    return result.stdout


def test_weights_lie_beside_the_model_and_onnx_runtime_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    network = export(path)
    (data,) = data_of(tmp_path)
    assert re.fullmatch(r"model\.onnx\.[0-9a-f]{16}\.data", data.name)
    slim = onnx.load(path, load_external_data=False)
    assert data_files(slim) == [data.name]
    outside = [tensor for tensor in slim.graph.initializer if uses_external_data(tensor)]
    assert outside
    assert not any(tensor.raw_data for tensor in outside)
    assert path.stat().st_size < 0.5 * data.stat().st_size
    x = torch.randn(SHAPE)
    with torch.no_grad():
        wanted = network(x)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"x": x.numpy()})[0]), wanted, rtol=1e-4, atol=1e-5)
    assert os.stat(data).st_mode == os.stat(path).st_mode


def test_the_model_is_the_same_as_with_its_weights_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path / "outside.onnx")
    monkeypatch.undo()
    export(tmp_path / "inside.onnx")
    inside, outside = (load_model(tmp_path / f"{name}.onnx") for name in ("inside", "outside"))
    arrays = [{t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer} for model in (inside, outside)]
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(array, arrays[1][name]) for name, array in arrays[0].items())
    assert [node.SerializeToString() for node in inside.graph.node] == [
        node.SerializeToString() for node in outside.graph.node
    ]


def test_a_new_export_takes_the_old_data_away_and_the_same_one_gives_the_same_bytes(tmp_path: Path) -> None:
    path, stranger = tmp_path / "model.onnx", tmp_path / "model.onnx.mine.data"
    stranger.write_bytes(b"not ours")
    export(path)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    export(path)
    assert first == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    export(path, seed=1)
    assert len(data_of(tmp_path)) == 2
    assert stranger.exists()
    assert first[path.name] != path.read_bytes()


def test_an_export_that_fails_leaves_the_old_pair(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export(path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(_file: Path) -> None:
        assert len(data_of(tmp_path)) == 2
        raise Dyn2trtError("no")

    torch.manual_seed(1)
    network = build_network("cifar_resnet", {"depth": 8}).eval()
    with pytest.raises(Dyn2trtError, match="no"):
        export_network(network, input_shape=SHAPE, path=path, check_file=fail)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_data_that_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export(path)
    (data,) = data_of(tmp_path)
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    with pytest.raises(Dyn2trtError, match=r"\.data is damaged"):
        load_model(path)
    data.unlink()
    with pytest.raises(Dyn2trtError, match="is not beside it; move both together"):
        load_model(path)
    assert read_metadata(path).network == "CifarResNet"


def test_every_verb_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    dyn2trt("export", "--network", "cifar_resnet", "--set", "depth=8", "-o", path)
    (data,) = data_of(tmp_path)
    size = f"{(path.stat().st_size + data.stat().st_size) / 2**20:.1f} MiB"
    assert size in dyn2trt("inspect", path).replace("\n", " ")
    assert "PASSED" in dyn2trt("compare", path, "--images", "noise:2")
    few = ("--seconds", 0.01, "--iterations", 6, "--active-ratios", "0.5")
    dyn2trt("bench", path, *few, "-o", tmp_path / "bench.json")


def test_what_surgery_makes_is_written_and_loaded_the_same_way(tmp_path: Path) -> None:
    export(tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    twin = dense_twin(model)
    (tmp_path / "twin").mkdir()
    save_model(twin, tmp_path / "twin" / "dense.onnx")
    assert data_of(tmp_path / "twin")
    x = np.zeros(SHAPE, np.float32)
    with loadable(twin) as source:
        assert isinstance(source, str)
        session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, {"x": x})[0]).all()


@pytest.mark.tensorrt
def test_tensorrt_builds_it(tmp_path: Path, emulated_plugins_library: Path, tensorrt_on_cpu: ModuleType) -> None:
    from dyn2trt.engine import build_engine
    from dyn2trt.files import sha256

    export(tmp_path / "model.onnx")
    passport = build_engine(tmp_path / "model.onnx", tmp_path / "model.plan")
    assert passport.onnx_sha256 == sha256(tmp_path / "model.onnx")
    assert len(passport.gated_blocks.as_plugins) == 3
