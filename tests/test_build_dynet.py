"""Every network with dynamic kernels becomes an engine of native layers on the CPU (tests/tensorrt_on_cpu)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from dynet_cases import CASES, build_dynet

from dyn2trt.build import BuildOptions, build_engine, read_passport
from dyn2trt.build.dense_check import describe_blocks
from dyn2trt.export import export_network
from dyn2trt.export.metadata import ExportMetadata, read_metadata
from dyn2trt.export.surgery import static_twin, with_decision_outputs

pytestmark = [pytest.mark.tensorrt, pytest.mark.usefixtures("tensorrt_on_cpu")]


def export(path: Path, case: str, batch: int, **options: Any) -> ExportMetadata:
    network, shape = build_dynet(case)
    return export_network(network, input_shape=(batch, *shape), path=path, **options)


def build(model: onnx.ModelProto | Path, folder: Path, **shapes: Any) -> Any:
    path = folder / "model.onnx"
    if isinstance(model, onnx.ModelProto):
        onnx.save(model, path)
    passport = build_engine(path, folder / "model.plan", BuildOptions(optimization_level=0, **shapes))
    assert read_passport(folder / "model.plan") == passport
    assert passport.layers.plugin == 0
    assert passport.plugin is None
    return passport


# Batch 1 in fp16 is built of the recipes, in test_build_recipes.py; dy_cifar_resnet has none.
STATIC = [(case, *built) for case in CASES for built in ((1, "fp32"), (4, "fp32"), (4, "fp16"))]
STATIC += [("dy_cifar_resnet", 1, "fp16")]


@pytest.mark.parametrize(("case", "batch", "precision"), STATIC)
def test_a_static_batch(tmp_path: Path, case: str, batch: int, precision: str) -> None:
    metadata = export(tmp_path / "model.onnx", case, batch, precision=precision)
    convolutions = [c for predictor in metadata.kernels for c in predictor.convolutions]
    assert {c.form for c in convolutions} == {"grouped"}
    passport = build(tmp_path / "model.onnx", tmp_path)
    assert passport.precision == precision
    assert passport.inputs["x"].shape == metadata.input_shape
    assert passport.export["kernels"][0]["name"] == metadata.kernels[0].name
    said = describe_blocks(passport.gated_blocks, passport.export)
    assert said == f"no gated blocks, {len(convolutions)} dynamic convolutions as native layers"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("case", ["dy_cifar_resnet", "dy_mobilenet_v3_small"])
def test_a_dynamic_batch_and_what_is_derived_from_it(tmp_path: Path, case: str, precision: str) -> None:
    metadata = export(tmp_path / "model.onnx", case, 1, precision=precision, dynamic_batch=True)
    _, *chw = metadata.input_shape
    shapes = {"min_shapes": {"x": (1, *chw)}, "max_shapes": {"x": (4, *chw)}}
    model = onnx.load(tmp_path / "model.onnx")
    passport = build(model, tmp_path, **shapes)
    assert passport.inputs["x"].shape == (-1, *chw)
    tapped = build(with_decision_outputs(model), tmp_path, **shapes)
    assert list(tapped.outputs) == ["out0", *(predictor.coefficients for predictor in metadata.kernels)]
    twin = static_twin(model)
    built = build(twin, tmp_path, **shapes)
    assert built.layers.total < passport.layers.total
    assert describe_blocks(built.gated_blocks, built.export) == "dense"
    assert read_metadata(twin).kernels == ()


def test_a_dynamic_size(tmp_path: Path) -> None:
    metadata = export(tmp_path / "model.onnx", "dy_cifar_resnet", 1, dynamic_batch=True, dynamic_size=True)
    _, c, h, w = metadata.input_shape
    shapes = {"min_shapes": {"x": (1, c, h, w)}, "max_shapes": {"x": (4, c, 2 * h, 3 * w)}}
    passport = build(tmp_path / "model.onnx", tmp_path, **shapes)
    assert passport.inputs["x"].shape == (-1, c, -1, -1)
