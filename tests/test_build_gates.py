"""ConvNet-AIG and SACT become plans on the CPU (tests/tensorrt_on_cpu), every gated block a plugin."""

from __future__ import annotations

import onnx
import pytest
from gated_baselines import NETWORKS, build

from dyn2trt.build import BuildOptions, build_engine, read_passport
from dyn2trt.export import export_network
from dyn2trt.export.surgery import dense_twin, inline_composites

pytestmark = pytest.mark.tensorrt


@pytest.mark.usefixtures("host_plugins")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_plan(tmp_path, name, batch, precision):
    shape = (batch, 3, *NETWORKS[name][1])
    metadata = export_network(build(name), input_shape=shape, path=tmp_path / "composite.onnx", precision=precision)
    composite = onnx.load(tmp_path / "composite.onnx")
    onnx.save(inline_composites(composite), tmp_path / "primitive.onnx")
    onnx.save(dense_twin(composite), tmp_path / "dense.onnx")
    blocks = tuple(block.name for block in metadata.blocks)
    assert blocks
    for ops in ("composite", "primitive", "dense"):
        plan = tmp_path / f"{ops}.plan"
        passport = build_engine(tmp_path / f"{ops}.onnx", plan, BuildOptions(optimization_level=0))
        assert read_passport(plan) == passport
        expected = () if ops == "dense" else blocks
        assert passport.gated_blocks.as_plugins == passport.gated_blocks.expected == expected
        assert passport.inputs["x"].shape == shape
        assert passport.precision == precision


@pytest.mark.usefixtures("host_plugins")
@pytest.mark.parametrize("name", ["cifar_convnet_aig", "cifar_sact"])
def test_plan_of_a_dynamic_batch_and_size(tmp_path, name):
    path = tmp_path / "model.onnx"
    metadata = export_network(build(name), input_shape=(1, 3, 32, 32), path=path, dynamic_batch=True, dynamic_size=True)
    shapes = {"min_shapes": (1, 3, 32, 32), "opt_shapes": (2, 3, 32, 64), "max_shapes": (4, 3, 64, 64)}
    options = BuildOptions(**{key: {"x": shape} for key, shape in shapes.items()}, optimization_level=0)
    passport = build_engine(path, tmp_path / "model.plan", options)
    assert passport.gated_blocks.as_plugins == tuple(block.name for block in metadata.blocks)
    assert passport.profiles["x"].max == (4, 3, 64, 64)
