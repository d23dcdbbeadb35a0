"""Engines with the plugins, built on the CPU through NVIDIA's parser (tests/tensorrt_on_cpu)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import emulated_plugins
import onnx
import pytest
from build_models import gated_model
from onnx import TensorProto, helper
from ops_cases import composite, one_node_model
from tensorrt_on_cpu import harness

from dyn2trt.contract import DOMAIN, SCHEMAS, VERSION
from dyn2trt.engine import BuildOptions, build_engine, plugin_library
from dyn2trt.engine.plugin_library import describe_library, load_plugin_library
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network
from dyn2trt.networks.zoo import build_network

pytestmark = pytest.mark.tensorrt

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(harness.FOLDER), str(Path(__file__).resolve().parents[2])]),
}
"""In which a Python process has TensorRT on the CPU."""


@pytest.fixture
def no_library(tensorrt_on_cpu, monkeypatch):
    """A machine on which no plugin library is built."""
    monkeypatch.setattr(plugin_library, "find_plugin_library", lambda major=None: None)


def test_creators_are_the_schemas(emulated_plugins_library, tensorrt_on_cpu):
    registry = tensorrt_on_cpu.get_plugin_registry()
    load_plugin_library(registry)
    creators = {c.name: c for c in registry.all_creators if c.plugin_namespace == DOMAIN}
    assert creators.keys() == SCHEMAS.keys()
    kinds = {"FLOAT32": "float", "INT32": "int", "CHAR": "string"}
    for name, creator in creators.items():
        assert creator.plugin_version == str(VERSION)
        fields = [(f.name, kinds[f.type.name], f.size) for f in creator.field_names]
        expected = [
            (a.name, a.kind.removesuffix("s"), len(a.default) if a.kind == "ints" else 0 if a.kind == "string" else 1)
            for a in SCHEMAS[name].attributes
        ]
        assert fields == expected


def test_loading_again_changes_nothing(emulated_plugins_library, tensorrt_on_cpu):
    registry = tensorrt_on_cpu.get_plugin_registry()
    assert load_plugin_library(registry) == load_plugin_library(registry) == describe_library(emulated_plugins_library)
    assert sum(c.plugin_namespace == DOMAIN for c in registry.all_creators) == len(SCHEMAS)


def exported(library: Path) -> list[str]:
    listed = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    return sorted(line.split()[-1] for line in listed.stdout.splitlines())


def needed(library: Path) -> list[str]:
    listed = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True)
    return re.findall(r"\(NEEDED\).*\[(.*)\]", listed.stdout)


def test_exports_two_functions_and_needs_no_tensorrt(plugins_path):
    assert exported(plugins_path) == ["getCreators", "setLoggerFinder"]
    names = needed(plugins_path)
    assert "libc.so.6" in names
    assert not [name for name in names if "nvinfer" in name or "tensorrt" in name]


DLOPEN = """
import ctypes, sys
from pathlib import Path
import tensorrt as trt
from polygraphy.backend.trt import LoadPlugins
from dyn2trt.engine.plugin_library import load_plugin_library
builder = trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))
registry = trt.get_plugin_registry()
def count(): return sum(c.plugin_namespace == "dyn2trt" for c in registry.all_creators)
for step in sys.argv[2:]:
    if step == "dlopen": ctypes.CDLL(sys.argv[1])
    elif step == "polygraphy": LoadPlugins(plugins=[sys.argv[1]])()
    else: load_plugin_library(registry, Path(sys.argv[1]))
    print(step, count())
"""


@pytest.mark.parametrize("steps", [["dlopen", "load"], ["load", "dlopen"], ["polygraphy", "load", "polygraphy"]])
def test_programs_that_merely_dlopen_the_library_get_the_plugins(emulated_plugins_library, steps):
    """As trtexec --staticPlugins and Polygraphy --plugins do; loadLibrary before or after changes nothing."""
    command = [sys.executable, "-c", DLOPEN, str(emulated_plugins_library), *steps]
    ran = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    lines = [line for line in ran.stdout.splitlines() if line.split()[0] in steps]  # Polygraphy logs to stdout
    assert lines == [f"{step} {len(SCHEMAS)}" for step in steps], ran.stdout + ran.stderr


def test_dlopen_without_tensorrt_does_nothing(plugins_path):
    code = f"import ctypes; ctypes.CDLL({str(plugins_path)!r}); print('loaded')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "loaded\n"


REAL_BUILD = """
import sys
from pathlib import Path
from dyn2trt.engine import BuildOptions, build_engine
passport = build_engine(sys.argv[2], sys.argv[3], BuildOptions(plugin_library=Path(sys.argv[1])))
print(len(passport.gated_blocks.as_plugins), "of", len(passport.gated_blocks.expected))
"""


@pytest.mark.usefixtures("tensorrt_on_cpu")
def test_the_cuda_library(tmp_path):
    """The library that users load, where it has been built: it calls no CUDA while an engine is built."""
    path = plugin_library.find_plugin_library(int(harness.MAJOR))
    if path is None:
        pytest.skip(f"the plugin library is not built: {plugin_library.BUILD_COMMAND}")
    assert exported(path) == ["getCreators", "setLoggerFinder"]
    assert not [name for name in needed(path) if name.startswith(("libnv", "libcu", "libdyn2trt"))]
    command = [sys.executable, "-c", REAL_BUILD, path, gated_model(tmp_path / "model.onnx"), tmp_path / "model.plan"]
    ran = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert ran.stdout == "3 of 3\n", ran.stderr


@pytest.mark.parametrize("body", ["NonZero", "Identity"])
def test_gated_blocks_become_plugins(emulated_plugins_library, tmp_path, body):
    """Whether or not the parser could take the body."""
    passport = build_engine(gated_model(tmp_path / "model.onnx", body=body), tmp_path / "model.plan")
    assert passport.gated_blocks.as_plugins == passport.gated_blocks.expected == ("blocks.0", "blocks.1", "blocks.2")
    assert passport.layers.plugin == 3
    assert passport.plugin == describe_library(emulated_plugins_library)


@pytest.mark.usefixtures("emulated_plugins_library")
@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"activation": "gelu"}, "activation is one of none, relu, relu6, hard_swish, not 'gelu'"),
        ({"threshold": 1}, "threshold is float32, not int32"),
    ],
)
def test_wrong_attributes(tmp_path, attributes, said):
    with pytest.raises(Dyn2trtError) as error:
        build_engine(gated_model(tmp_path / "model.onnx", **attributes), tmp_path / "model.plan")
    lines = str(error.value).splitlines()
    assert lines[1] == "  node blocks.0, op dyn2trt::GatedInvertedResidual"
    assert lines[-1] == f"  TensorRT: dyn2trt::GatedInvertedResidual: node blocks.0: {said}"


@pytest.mark.usefixtures("emulated_plugins_library")
def test_wrong_weights(tmp_path):
    model = onnx.load(gated_model(tmp_path / "model.onnx"))
    bias = next(w for w in model.graph.initializer if w.name == "be")
    bias.CopyFrom(helper.make_tensor("be", TensorProto.FLOAT, (5,), [0.0] * 5))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(Dyn2trtError, match=r"GatedInvertedResidual: expand_bias is \[E=6\], not 5"):
        build_engine(tmp_path / "model.onnx", tmp_path / "model.plan")


@pytest.mark.parametrize(("body", "title"), [("NonZero", "TensorRT 11.4.0.106 cannot import"), ("Identity", "0 of 3")])
def test_a_file_of_an_older_version(emulated_plugins_library, tmp_path, body, title):
    with pytest.raises(Dyn2trtError) as error:
        build_engine(gated_model(tmp_path / "model.onnx", version="1", body=body), tmp_path / "model.plan")
    text = str(error.value)
    assert text.startswith(title)
    assert "\n  wanted: plugin dyn2trt::GatedInvertedResidual version 1" in text
    assert "\n  the plugin is there as version 2 in namespace 'dyn2trt' (libdyn2trt_emulated_plugins.so" in text
    assert "\n  build the plugin library of this dyn2trt (cmake" in text


@pytest.mark.usefixtures("no_library")
@pytest.mark.parametrize(("body", "title"), [("NonZero", "TensorRT 11.4.0.106 cannot import"), ("Identity", "0 of 3")])
def test_missing_library(tmp_path, body, title):
    with pytest.raises(Dyn2trtError) as error:
        build_engine(gated_model(tmp_path / "model.onnx", body=body), tmp_path / "model.plan")
    text = str(error.value)
    assert text.startswith(title)
    assert "\n  no plugin library is loaded: build it with cmake --preset release" in text


@pytest.mark.usefixtures("emulated_plugins_library")
@pytest.mark.parametrize(("batch", "n"), [(2, 2), ("N", -1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_shapes_of_a_site_set(tmp_path, batch, n, stride):
    """Without x the input grid is the smallest that yields the mask's; with it, x's own."""
    geometry = {"kernel_shape": [3, 3], "strides": [stride, stride], "pads": [1, 1, 1, 1]}
    plugin = {"domain": DOMAIN, "plugin_namespace": DOMAIN, "plugin_version": str(VERSION)}
    names = [["sites", "slots", "count", "rows"], ["sites_x", "slots_x", "count_x", "rows_x"]]
    h, w = (4, 3) if stride == 1 else (8, 5)
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, (batch, 1, 4, 3))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT16, (batch, 6, h, w))
    nodes = [
        helper.make_node("MaskGather", ["mask"], names[0], **geometry, **plugin),
        helper.make_node("MaskGather", ["mask", "x"], names[1], **geometry, **plugin),
    ]
    outs = [helper.make_tensor_value_info(n, TensorProto.INT32, None) for n in [*names[0][:3], *names[1][:3]]]
    outs.append(helper.make_tensor_value_info("rows_x", TensorProto.FLOAT16, None))
    graph = helper.make_graph(nodes, "sets", [mask, x], outs)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, VERSION)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "model.onnx")
    ranges = {"mask": (4, 1, 4, 3), "x": (4, 6, h, w)} if n < 0 else {}
    passport = build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", BuildOptions(opt_shapes=ranges))
    sizes = {name: border.shape for name, border in passport.outputs.items()}
    small = (4, 3) if stride == 1 else (7, 5)
    p, p_x = (-1, -1) if n < 0 else (n * small[0] * small[1], n * h * w)
    assert sizes == {
        "sites": (p,),
        "slots": (n, *small),
        "count": (n,),
        "sites_x": (p_x,),
        "slots_x": (n, h, w),
        "count_x": (n,),
        "rows_x": (p_x, 6),
    }
    assert {name: border.dtype for name, border in passport.outputs.items()}["rows_x"] == "half"


@pytest.mark.usefixtures("emulated_plugins_library")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(("precision", "formats"), [("fp32", {"kLINEAR"}), ("fp16", {"kLINEAR", "kHWC8"})])
def test_channels_last_is_offered(tmp_path, caplog, precision, formats, dynamic):
    """TensorRT knows the channels, of outputs too, when it asks which formats a plugin supports."""
    network = build_network("cifar_resnet", {"depth": "8"}).eval()
    model, shape = tmp_path / "model.onnx", (1, 3, 16, 16)
    export_network(network, input_shape=shape, path=model, precision=precision, dynamic_batch=dynamic)
    ranges = {"min_shapes": {"x": shape}, "max_shapes": {"x": (4, *shape[1:])}} if dynamic else {}
    with caplog.at_level("DEBUG", "dyn2trt.tensorrt"):
        build_engine(model, tmp_path / "model.plan", BuildOptions(**ranges, optimization_level=0))
    said = re.findall(r"dyn2trt::SqueezeGatedBasicBlock: configured in (\w+), [1-9]\d* bytes of workspace", caplog.text)
    assert set(said) == formats


@pytest.mark.usefixtures("emulated_plugins_library")
@pytest.mark.parametrize("op", ["PointwiseGatedInvertedResidual", "SqueezeGatedBasicBlock", "LayerGatedBottleneck"])
def test_logits_that_nothing_reads(tmp_path, op):
    """The second output may stay unread, but a node has to name it."""
    case = composite(op, 1, 8, 9, 8, "some", 0, activation="relu")
    model = one_node_model(op, case.tensors, case.attributes)
    del model.graph.output[1:]
    onnx.save(model, tmp_path / "model.onnx")
    quick = BuildOptions(optimization_level=0)
    assert build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", quick).gated_blocks.as_plugins == ("block",)
    del model.graph.node[0].output[1:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(Dyn2trtError, match="expected output size is 2, actual output size is 1"):
        build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", quick)


HEADERS = "DYN2TRT_TENSORRT_HEADERS"


@pytest.mark.skipif(HEADERS not in os.environ, reason=f"{HEADERS} names no folders of other versions' NvInfer.h")
def test_compiles_against_other_versions(plugins_path):
    for folder in os.environ[HEADERS].split(os.pathsep):
        assert emulated_plugins.compile_plugins(Path(folder))
