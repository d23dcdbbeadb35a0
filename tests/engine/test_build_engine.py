"""Plans built on the CPU through NVIDIA's parser and builder, see tests/tensorrt_on_cpu."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from build_models import dense_model, gated_model, save
from onnx import helper, numpy_helper
from tensorrt_on_cpu import harness
from torch import nn

from dyn2trt.blocks import InvertedResidual
from dyn2trt.engine import BuildOptions, build_engine, load_plan, read_passport
from dyn2trt.engine.timing_cache import save_timing_cache
from dyn2trt.engine.trt import flavour, import_tensorrt, version_tuple
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.export import export_network
from dyn2trt.export.surgery.bodiless import strip_bodies
from dyn2trt.files import sha256

pytestmark = [pytest.mark.tensorrt, pytest.mark.usefixtures("tensorrt_on_cpu")]

DYNAMIC = ("N", 3, 8, 8)
RANGE = {"min_shapes": {"x": (1, 3, 8, 8)}, "max_shapes": {"x": (4, 3, 8, 8)}}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_dense_plan_and_passport(tmp_path, precision, dynamic):
    model = dense_model(tmp_path / "model.onnx", precision, shape=DYNAMIC if dynamic else (2, 3, 8, 8))
    plan = tmp_path / "model.plan"
    options = BuildOptions(**RANGE if dynamic else {}, workspace=1 << 30, optimization_level=0)
    passport = build_engine(model, plan, options)
    assert read_passport(plan) == passport
    assert passport.plan_bytes == plan.stat().st_size > 0
    assert (passport.plan_sha256, passport.onnx_sha256) == (sha256(plan), sha256(model))
    assert passport.inputs["x"].shape == ((-1, 3, 8, 8) if dynamic else (2, 3, 8, 8))
    assert passport.outputs["out0"].dtype == "float"
    assert passport.profiles["x"].max == ((4, 3, 8, 8) if dynamic else (2, 3, 8, 8))
    assert passport.layers.plugin == 0 < passport.layers.total
    assert passport.plugin is None
    assert passport.gated_blocks.expected == ()
    # Strongly typed: other types in the file give another plan.
    if precision != "fp32":
        fp32 = build_engine(
            dense_model(tmp_path / "fp32.onnx", shape=DYNAMIC), tmp_path / "fp32.plan", BuildOptions(**RANGE)
        )
        assert fp32.plan_sha256 != passport.plan_sha256


def test_rebuild_command_is_complete(tmp_path):
    options = BuildOptions(**RANGE, workspace=1 << 30, optimization_level=0, timing_cache=tmp_path / "cache", tf32=True)
    passport = build_engine(dense_model(tmp_path / "a b.onnx", shape=DYNAMIC), tmp_path / "model.plan", options)
    command = passport.command
    assert f"'{tmp_path}/a b.onnx' -o {tmp_path}/model.plan --min-shapes x:1x3x8x8 --max-shapes x:4x3x8x8" in command
    assert "--workspace 1073741824 --optimization-level 0" in command
    assert command.endswith(f"--timing-cache {tmp_path}/cache --tf32")


def run_build(*arguments):
    path = os.pathsep.join([str(harness.FOLDER), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", "from dyn2trt.cli.main import main; main()", "build", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})


def test_command_line(tmp_path):
    model = dense_model(tmp_path / "model.onnx", "fp16", shape=DYNAMIC)
    plan = tmp_path / "out" / "model.plan"
    shapes = ["--min-shapes", "x:1x3x8x8", "--opt-shapes", "x:2x3x8x8", "--max-shapes", "x:4x3x8x8"]
    ran = run_build(model, "-o", plan, *shapes, "--workspace", "1G", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == json.loads(plan.with_name("model.plan.json").read_text())
    assert json.loads(ran.stdout)["workspace"] == 1 << 30
    refused = run_build(model, "-o", plan)
    assert refused.returncode == 1
    assert refused.stderr.startswith("dyn2trt: input x has dynamic dimensions (?x3x8x8)")
    assert refused.stderr.count("\n") == 1


def test_a_failed_build_leaves_the_old_plan(tmp_path):
    plan = tmp_path / "model.plan"
    build_engine(dense_model(tmp_path / "model.onnx"), plan)
    before = sha256(plan), read_passport(plan)
    with pytest.raises(Dyn2trtError, match="has dynamic dimensions"):
        build_engine(dense_model(tmp_path / "model.onnx", shape=DYNAMIC), plan)
    assert (sha256(plan), read_passport(plan)) == before


def test_full_disk(tmp_path, monkeypatch):
    def fail(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    model = dense_model(tmp_path / "model.onnx")
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(Dyn2trtError, match=r"the disk is full: .*model\.plan was not written"):
        build_engine(model, tmp_path / "model.plan")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]


@pytest.mark.parametrize("content", [b"", b"hello world", None])
def test_not_onnx(tmp_path, content):
    model = tmp_path / "model.onnx"
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(Dyn2trtError, match=r"model\.onnx"):
        build_engine(model, tmp_path / "model.plan")


class Recorder:
    """A progress view that remembers, and can act on its first step."""

    def __init__(self, on_step=lambda: None):
        self.started, self.finished, self.steps, self.on_step = [], [], 0, on_step

    def phase_start(self, phase, parent, steps):
        self.started.append(phase)

    def step_complete(self, phase, step):
        self.steps += 1
        self.on_step()
        self.on_step = lambda: None

    def phase_finish(self, phase):
        self.finished.append(phase)


def test_progress(tmp_path):
    view = Recorder()
    build_engine(dense_model(tmp_path / "model.onnx"), tmp_path / "model.plan", progress=view)
    assert view.steps > 0
    assert sorted(view.started) == sorted(view.finished) != []


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, also where the tests run in the background of a shell, which makes their SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_cancels(tmp_path):
    model, full = dense_model(tmp_path / "model.onnx"), Recorder()
    build_engine(model, tmp_path / "full.plan", progress=full)
    # The signal reaches the main thread a moment after the step that sends it: hold the build until it has.
    view = Recorder(on_step=lambda: (os.kill(os.getpid(), signal.SIGINT), threading.Event().wait(0.3)))
    with pytest.raises(KeyboardInterrupt):
        build_engine(model, tmp_path / "model.plan", progress=view)
    assert view.steps < full.steps
    assert not (tmp_path / "model.plan").exists()


def test_timing_cache_is_written_shared_and_replaced_when_damaged(tmp_path, caplog):
    model, cache = dense_model(tmp_path / "model.onnx"), tmp_path / "timings" / "cache"
    options = BuildOptions(timing_cache=cache)
    build_engine(model, tmp_path / "model.plan", options)
    assert cache.stat().st_size > 0
    build_engine(model, tmp_path / "model.plan", options)
    cache.write_bytes(b"damaged")
    build_engine(model, tmp_path / "model.plan", options)
    assert cache.read_bytes() != b"damaged"


def test_timing_cache_held_by_another_build(tmp_path, tensorrt_on_cpu):
    from dyn2trt.engine.trt import logger

    config = tensorrt_on_cpu.Builder(logger(tensorrt_on_cpu)).create_builder_config()
    config.set_timing_cache(config.create_timing_cache(b""), False)
    with (tmp_path / "cache.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Dyn2trtError, match=r"another build has held .*cache\.lock for 0\.1 s"):
            save_timing_cache(config, tmp_path / "cache", lock_seconds=0.1)
    save_timing_cache(config, tmp_path / "cache")
    assert (tmp_path / "cache").exists()


def test_deserialising_without_a_gpu_raises(tmp_path, monkeypatch):
    plan = tmp_path / "model.plan"
    passport = build_engine(dense_model(tmp_path / "model.onnx"), plan)
    if passport.gpu is not None:
        pytest.skip("this machine has a GPU, whose engines the harness's core may load")
    with pytest.raises(MissingDependency, match=r"needs an NVIDIA GPU to run, and none was found\n  TensorRT: .*CUDA"):
        load_plan(plan)


def test_unknown_op(tmp_path):
    node = helper.make_node("Wibble", ["x"], ["out0"], name="head.3", domain="acme", plugin_namespace="acme")
    with pytest.raises(Dyn2trtError) as error:
        build_engine(save(tmp_path / "model.onnx", [node]), tmp_path / "model.plan")
    lines = str(error.value).splitlines()
    assert lines[0].startswith("TensorRT 11.4.0.106 cannot import")
    assert lines[1] == "  node head.3, op acme::Wibble"
    assert "Plugin not found" in lines[2]
    assert lines[3] == "  wanted: plugin acme::Wibble version 1"
    assert lines[4].startswith("  registered: ")
    assert lines[5] == "  neither TensorRT nor dyn2trt knows this op: write it in standard ops"


def test_a_refused_standard_op(tmp_path):
    node = helper.make_node("Conv", ["x", "x"], ["out0"], name="stem", group=5)
    with pytest.raises(Dyn2trtError, match=r"node stem, op Conv\n  parser: .*\n  this TensorRT does not take the node"):
        build_engine(save(tmp_path / "model.onnx", [node]), tmp_path / "model.plan")


def test_import_tensorrt(tensorrt_on_cpu, monkeypatch):
    assert import_tensorrt() is tensorrt_on_cpu
    assert flavour(tensorrt_on_cpu) == "tensorrt"
    assert version_tuple("10.3.0.post1") == (10, 3, 0)
    monkeypatch.setattr(tensorrt_on_cpu, "__version__", "10.2.0")
    with pytest.raises(MissingDependency, match=r"TensorRT 10\.2\.0 is too old, dyn2trt needs 10\.3 or later"):
        import_tensorrt()


def test_without_tensorrt(tmp_path, monkeypatch):
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency, match=r"pip install dyn2trt\[gpu\]"):
        build_engine(tmp_path / "model.onnx", tmp_path / "model.plan")


@pytest.mark.parametrize("interface", ["Builder", "Runtime"])
def test_tensorrt_that_does_not_start(tmp_path, tensorrt_on_cpu, monkeypatch, interface):
    """The bindings without a driver."""

    def fail(logger):
        logger.log(tensorrt_on_cpu.ILogger.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    plan = tmp_path / "model.plan"
    build_engine(dense_model(tmp_path / "model.onnx"), plan)
    monkeypatch.setattr(tensorrt_on_cpu, interface, fail)
    with pytest.raises(MissingDependency, match=r"cannot start(.*\n)*  TensorRT: CUDA initialization failure"):
        build_engine(tmp_path / "model.onnx", plan) if interface == "Builder" else load_plan(plan)


def test_gated_model_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setattr("dyn2trt.engine.parse.load_plugin_library", lambda registry, path: None)
    with pytest.raises(Dyn2trtError) as error:
        build_engine(gated_model(tmp_path / "model.onnx"), tmp_path / "model.plan")
    lines = str(error.value).splitlines()
    assert lines[1].startswith("  node blocks.0, op dyn2trt::GatedInvertedResidual, in its function body at NonZero")
    assert "  wanted: plugin dyn2trt::GatedInvertedResidual version 2" in lines
    assert lines[-1].startswith("  no plugin library is loaded: build it with cmake")


def test_silent_dense_check(tmp_path, monkeypatch, caplog):
    """A body that the parser takes is what TensorRT proper meets in every gated model without the library."""
    monkeypatch.setattr("dyn2trt.engine.parse.load_plugin_library", lambda registry, path: None)
    model = gated_model(tmp_path / "model.onnx", blocks=4, body="Identity")
    with pytest.raises(Dyn2trtError) as error:
        build_engine(model, tmp_path / "model.plan")
    lines = str(error.value).splitlines()
    assert lines[0].startswith("0 of 4 gated blocks run as plugins: blocks.0, blocks.1, blocks.2, ... would run dense")
    assert lines[-2].startswith("  no plugin library is loaded: build it with cmake")
    assert "--allow-dense-fallback" in lines[-1]
    passport = build_engine(model, tmp_path / "model.plan", BuildOptions(allow_dense_fallback=True))
    assert (len(passport.gated_blocks.expected), passport.gated_blocks.as_plugins) == (4, ())
    assert "0 of 4 gated blocks run as plugins" in caplog.text


def test_what_becomes_a_plugin_is_parsed_without_its_body(tmp_path, tensorrt_on_cpu, plugins_path, monkeypatch):
    """Parsers before 10.7 take a body where there is one."""
    parsed = []

    class Recording(tensorrt_on_cpu.OnnxParser):
        def parse(self, model, path=None):
            parsed.append((onnx.load_from_string(bytes(model)), path))
            return super().parse(model, path)

    monkeypatch.setattr(tensorrt_on_cpu, "OnnxParser", Recording)
    blocks = tmp_path / "blocks.onnx"
    network = nn.Sequential(nn.Conv2d(3, 8, 1), InvertedResidual(8, 8)).eval()
    export_network(network, input_shape=(1, 3, 8, 8), path=blocks)
    assert onnx.load(blocks).functions
    options = BuildOptions(plugin_library=plugins_path, optimization_level=0)
    passport = build_engine(blocks, tmp_path / "model.plan", options)
    assert passport.gated_blocks.as_plugins == ("1",)
    ((model, path),) = parsed
    assert not model.functions
    assert path == str(blocks)
    strip_bodies(blocks)
    assert build_engine(blocks, tmp_path / "model.plan", options).gated_blocks.as_plugins == ("1",)

    missing = gated_model(tmp_path / "missing.onnx", version="9", body="Identity")
    build_engine(missing, tmp_path / "model.plan", replace(options, allow_dense_fallback=True))
    assert [function.name for function in parsed[-1][0].functions] == ["GatedInvertedResidual"]


@pytest.mark.parametrize("which", ["plan", "timing cache"])
def test_what_is_read_again_is_no_fifo(tmp_path, which):
    os.mkfifo(tmp_path / "fifo")
    model = dense_model(tmp_path / "model.onnx")
    plan, cache = (tmp_path / "fifo", None) if which == "plan" else (tmp_path / "model.plan", tmp_path / "fifo")
    with pytest.raises(Dyn2trtError, match=f"a {which}.* is a regular file, and .*fifo is none"):
        build_engine(model, plan, BuildOptions(timing_cache=cache))


def test_weights_beside_the_model_are_found(tmp_path):
    model = onnx.load(dense_model(tmp_path / "model.onnx"))
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    beside = {"save_as_external_data": True, "location": "model.weights", "size_threshold": 0}
    onnx.save(model, tmp_path / "model.onnx", **beside)
    assert build_engine(tmp_path / "model.onnx", tmp_path / "model.plan").layers.total > 0
    (tmp_path / "model.weights").unlink()
    with pytest.raises(Dyn2trtError, match="initializer: w0"):
        build_engine(tmp_path / "model.onnx", tmp_path / "model.plan")
