"""Every recipe's network, dense and gated, becomes a plan with its passport on the CPU (tests/tensorrt_on_cpu)."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from dyn2trt.contract import DOMAIN
from dyn2trt.engine import BuildOptions, build_engine, read_passport
from dyn2trt.export import export_network
from dyn2trt.export.metadata import read_metadata
from dyn2trt.export.recipe_export import export_recipe
from dyn2trt.export.surgery import dense_twin, inline_composites
from dyn2trt.networks.zoo import build_network
from dyn2trt.recipe import load_recipe

pytestmark = pytest.mark.tensorrt

ALL = sorted((Path(__file__).resolve().parents[2] / "export").glob("*.toml"))
DYNAMIC_KERNELS = [path for path in ALL if load_recipe(path).network.name.startswith("dy_")]
RECIPES = [path for path in ALL if path not in DYNAMIC_KERNELS]
assert RECIPES
assert DYNAMIC_KERNELS


def with_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The same model for one batch size."""
    static = onnx.ModelProto()
    static.CopyFrom(model)
    static.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    del static.graph.value_info[:]
    return static


@pytest.mark.usefixtures("emulated_plugins_library")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("recipe_path", RECIPES, ids=lambda path: path.stem)
def test_recipe(tmp_path, recipe_path, precision):
    recipe = load_recipe(recipe_path)
    wanted = recipe.export.model_copy(update={"precision": precision, "dynamic_batch": True, "ops": "composite"})
    export_recipe(recipe.network, wanted, tmp_path / "model.onnx", warn=lambda text: None)
    composite = onnx.load(tmp_path / "model.onnx")
    metadata = read_metadata(composite)
    blocks = tuple(block.name for block in metadata.blocks)
    n, *chw = metadata.input_shape
    dynamic = BuildOptions(min_shapes={"x": (n, *chw)}, max_shapes={"x": (4 * n, *chw)}, optimization_level=0)
    static = BuildOptions(optimization_level=0)

    def build(model, options, expected):
        onnx.save(model, tmp_path / "model.onnx")
        passport = build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", options)
        assert read_passport(tmp_path / "model.plan") == passport
        assert passport.precision == precision
        assert passport.gated_blocks.as_plugins == passport.gated_blocks.expected == expected
        assert passport.layers.plugin == sum(node.domain == DOMAIN for node in model.graph.node)
        assert tuple(passport.outputs) == metadata.outputs

    build(dense_twin(composite), dynamic, ())
    build(composite, dynamic, blocks)
    build(with_batch(composite, n), static, blocks)
    primitive = inline_composites(composite)
    build(primitive, dynamic, blocks)
    build(with_batch(primitive, n), static, blocks)


@pytest.mark.usefixtures("tensorrt_on_cpu")
@pytest.mark.parametrize("recipe_path", DYNAMIC_KERNELS, ids=lambda path: path.stem)
def test_recipe_of_dynamic_kernels(tmp_path, recipe_path):
    recipe = load_recipe(recipe_path)
    wanted = recipe.export.model_copy(update={"precision": "fp16"})
    metadata = export_recipe(recipe.network, wanted, tmp_path / "model.onnx", warn=lambda text: None)
    assert metadata.kernels
    passport = build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", BuildOptions(optimization_level=0))
    assert read_passport(tmp_path / "model.plan") == passport
    assert passport.precision == "fp16"
    assert passport.layers.plugin == 0, "native layers alone"
    assert tuple(passport.outputs) == metadata.outputs


@pytest.mark.usefixtures("emulated_plugins_library")
def test_dynamic_size(tmp_path):
    network = build_network("resnet", {"depth": 18, "width": 0.25, "classes": 20}).eval()
    export_network(network, input_shape=(1, 3, 64, 64), path=tmp_path / "c.onnx", dynamic_batch=True, dynamic_size=True)
    onnx.save(inline_composites(onnx.load(tmp_path / "c.onnx")), tmp_path / "p.onnx")
    shapes = {"min_shapes": (1, 3, 64, 64), "opt_shapes": (2, 3, 128, 128), "max_shapes": (4, 3, 256, 128)}
    options = BuildOptions(**{name: {"x": shape} for name, shape in shapes.items()}, optimization_level=0)
    for name in ("c", "p"):
        passport = build_engine(tmp_path / f"{name}.onnx", tmp_path / "model.plan", options)
        assert len(passport.gated_blocks.as_plugins) == len(passport.gated_blocks.expected) == 8
        assert passport.inputs["x"].shape == (-1, 3, -1, -1)
        assert passport.profiles["x"].max == (4, 3, 256, 128)
