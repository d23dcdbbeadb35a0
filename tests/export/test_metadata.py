"""An exported file's metadata: a round trip, and files that are not ours."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from handmade_model import METADATA, Handmade
from onnx import TensorProto, helper

from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import FORMAT, KEY, load_model, parse_metadata, read_metadata


def foreign() -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    return helper.make_model(graph, producer_name="pytorch")


def test_metadata_survives_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(Handmade().proto(), path)
    assert read_metadata(path) == METADATA
    assert read_metadata(onnx.load(path)) == METADATA


def test_a_foreign_model_names_its_producer(tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    onnx.save(foreign(), path)
    with pytest.raises(Dyn2trtError, match=r"foreign\.onnx was not exported by dyn2trt \(its producer is pytorch\)"):
        read_metadata(path)


@pytest.mark.parametrize("content", [b"", b"no onnx at all", b"\x08\x0a", bytes(range(256))])
def test_a_file_that_is_no_onnx_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(Dyn2trtError, match=r"x\.onnx is no ONNX file"):
        load_model(path)


def test_a_truncated_model_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(Handmade().proto().SerializeToString()[:2000])
    with pytest.raises(Dyn2trtError, match=r"x\.onnx is no ONNX file, or is damaged"):
        load_model(path)


def test_absent_files_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(Dyn2trtError, match=f"cannot read {path}"):
            load_model(path)


def test_a_later_format_and_damaged_metadata_are_told_apart() -> None:
    later = json.loads(METADATA.to_json()) | {"format": FORMAT + 1, "version": "9.0"}
    with pytest.raises(Dyn2trtError, match=rf"format {FORMAT + 1}, written by dyn2trt 9\.0"):
        parse_metadata(json.dumps(later))
    damaged = json.loads(METADATA.to_json())
    del damaged["blocks"][1]["logits"]
    with pytest.raises(Dyn2trtError, match=r"blocks\.1\.logits"):
        parse_metadata(json.dumps(damaged))
    for text in ("", "[]", "{}", "3"):
        with pytest.raises(Dyn2trtError, match="damaged"):
            parse_metadata(text)


def test_metadata_is_written_once() -> None:
    model = Handmade().proto()
    assert [p.key for p in model.metadata_props].count(KEY) == 1
