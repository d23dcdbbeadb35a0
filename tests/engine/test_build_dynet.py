"""Every network with dynamic kernels becomes an engine of native layers on the CPU (tests/tensorrt_on_cpu)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from dynet_cases import CASES
from image_kernels import network_of

from dyn2trt.engine import BuildOptions, build_engine, read_passport
from dyn2trt.engine.dense_check import describe_blocks
from dyn2trt.engine.passport import Passport
from dyn2trt.export import export_network
from dyn2trt.export.metadata import read_metadata
from dyn2trt.export.surgery import static_twin, with_decision_outputs

pytestmark = [pytest.mark.tensorrt, pytest.mark.usefixtures("tensorrt_on_cpu")]


def build(model: onnx.ModelProto | Path, folder: Path, **shapes: Any) -> Passport:
    if isinstance(model, onnx.ModelProto):
        onnx.save(model, folder / "model.onnx")
        model = folder / "model.onnx"
    passport = build_engine(model, folder / "model.plan", BuildOptions(optimization_level=0, **shapes))
    assert read_passport(folder / "model.plan") == passport
    assert passport.layers.plugin == 0
    assert passport.plugin is None
    return passport


# Batch 1 in fp16 is built of the recipes, in test_build_recipes.py; dy_cifar_resnet has none.
STATIC = [(case, *built) for case in CASES for built in ((1, "fp32"), (4, "fp32"), (4, "fp16"))]
STATIC += [("dy_cifar_resnet", 1, "fp16")]


@pytest.mark.parametrize(("case", "batch", "precision"), STATIC)
def test_a_static_batch(
    tmp_path: Path, dynet_export: Callable[..., Path], case: str, batch: int, precision: str
) -> None:
    path = dynet_export(case, batch, precision=precision)
    metadata = read_metadata(path)
    convolutions = [c for predictor in metadata.kernels for c in predictor.convolutions]
    assert {c.form for c in convolutions} == {"grouped"}
    passport = build(path, tmp_path)
    assert passport.precision == precision
    assert passport.inputs["x"].shape == metadata.input_shape
    assert passport.export is not None
    assert passport.export["kernels"][0]["name"] == metadata.kernels[0].name
    said = describe_blocks(passport.gated_blocks, passport.export)
    assert said == f"no gated blocks, {len(convolutions)} dynamic convolutions as native layers"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("case", ["dy_cifar_resnet", "dy_mobilenet_v3_small"])
def test_a_dynamic_batch_and_what_is_derived_from_it(
    tmp_path: Path, dynet_export: Callable[..., Path], case: str, precision: str
) -> None:
    model = onnx.load(dynet_export(case, 1, precision=precision, dynamic_batch=True))
    metadata = read_metadata(model)
    _, *chw = metadata.input_shape
    shapes = {"min_shapes": {"x": (1, *chw)}, "max_shapes": {"x": (4, *chw)}}
    passport = build(model, tmp_path, **shapes)
    assert passport.inputs["x"].shape == (-1, *chw)
    tapped = build(with_decision_outputs(model), tmp_path, **shapes)
    assert list(tapped.outputs) == ["out0", *(predictor.coefficients for predictor in metadata.kernels)]
    twin = static_twin(model)
    built = build(twin, tmp_path, **shapes)
    assert built.layers.total < passport.layers.total
    assert describe_blocks(built.gated_blocks, built.export) == "dense"
    assert read_metadata(twin).kernels == ()


def test_a_dynamic_size(tmp_path: Path, dynet_export: Callable[..., Path]) -> None:
    path = dynet_export("dy_cifar_resnet", 1, dynamic_batch=True, dynamic_size=True)
    _, c, h, w = read_metadata(path).input_shape
    shapes = {"min_shapes": {"x": (1, c, h, w)}, "max_shapes": {"x": (4, c, 2 * h, 3 * w)}}
    passport = build(path, tmp_path, **shapes)
    assert passport.inputs["x"].shape == (-1, c, -1, -1)


@pytest.mark.parametrize("layer", ["condconv", "condconv_same", "odconv_in_groups", "modulated_up"])
def test_kernels_of_a_users_own_code(tmp_path: Path, layer: str) -> None:
    path = tmp_path / "model.onnx"
    export_network(network_of(layer), input_shape=(1, 3, 20, 16), path=path, precision="fp16", dynamic_batch=True)
    passport = build(path, tmp_path, min_shapes={"x": (1, 3, 20, 16)}, max_shapes={"x": (4, 3, 20, 16)})
    assert passport.outputs["out0"].shape[0] == -1
    assert (
        describe_blocks(passport.gated_blocks, passport.export)
        == "no gated blocks, 1 dynamic convolution as native layers"
    )
