"""A passport for tests of what reads one."""

from __future__ import annotations

from dyn2trt.engine.dense_check import GatedBlocks, LayerCounts
from dyn2trt.engine.device import Gpu, Machine
from dyn2trt.engine.passport import Border, Passport
from dyn2trt.engine.plugin_library import PluginLibrary
from dyn2trt.engine.profiles import Profile

LIBRARY = PluginLibrary("libdyn2trt_tensorrt11.so", "0.1.0", "1", "11.1.0", "13.0", "ab" * 32)
HERE = Machine(gpu=Gpu("NVIDIA H200", "9.0"), driver="580.65.06", cuda="13.0")
PASSPORT = Passport(
    dyn2trt="0.1.0",
    built="2026-01-02T03:04:05+00:00",
    seconds=1.5,
    command="dyn2trt build model.onnx -o model.plan",
    module="tensorrt",
    tensorrt="11.4.0.106",
    cuda=HERE.cuda,
    driver=HERE.driver,
    gpu=HERE.gpu,
    plugin=LIBRARY,
    onnx="model.onnx",
    onnx_sha256="0" * 64,
    plan_sha256="1" * 64,
    plan_bytes=4,
    inputs={"x": Border((-1, 3, 8, 8), "float")},
    outputs={"out0": Border((-1, 10), "float")},
    profiles={"x": Profile((1, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))},
    precision="fp16",
    tf32=False,
    workspace=1 << 30,
    optimization_level=None,
    layers=LayerCounts(total=20, plugin=1),
    gated_blocks=GatedBlocks(("blocks.0",), ("blocks.0",)),
    export={"network": "cifar_resnet"},
)
