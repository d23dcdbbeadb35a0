"""The GPU's benchmarks, run through on the CPU: that they work as programs, and nothing about their figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import emulated_plugins
import gated_baselines
import numpy as np
import pytest
import torch
import typer
from core_guarded import GuardedOps
from cpu_as_cuda import cpu_as_cuda
from plugin_driver import Driver

from dyn2trt.export import export_network
from dyn2trt.ops.core_library import ENVIRONMENT

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import gpu_all
import gpu_block_cases
import gpu_blocks
import gpu_calibrate
import gpu_executor
import gpu_networks
import gpu_one_block
import gpu_profile
import gpu_rivals
import gpu_steps
import gpu_tiles
from gpu_floors import Ceilings

from dyn2trt.networks.zoo import build_network


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(ENVIRONMENT, __file__)  # any file: the CPU's ops run
    monkeypatch.setattr(gpu_blocks, "measure_ceilings", lambda dtype: Ceilings(1e12, 1e14))
    # The profiler sees no kernels on a CPU.
    kernels = [gpu_profile.Kernel("sm90_xmma_fprop_implicit_gemm", 3.0, 1), gpu_profile.Kernel("elementwise", 4.0, 1)]
    for script in (gpu_blocks, gpu_networks):
        monkeypatch.setattr(script, "profile", lambda call: kernels)
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = torch.backends.cudnn.benchmark, *(b.allow_tf32 for b in backends)
    with cpu_as_cuda(monkeypatch):
        yield
    torch.backends.cudnn.benchmark = before[0]
    for backend, allowed in zip(backends, before[1:], strict=True):
        backend.allow_tf32 = allowed


@pytest.mark.usefixtures("stand_ins")
def test_blocks(tmp_path, monkeypatch):
    cases = tuple((name, channels, 6, 2) for name, channels in zip(gpu_block_cases.BLOCKS, (8, 8, 16), strict=True))
    monkeypatch.setattr(gpu_block_cases, "TARGETS", cases)
    monkeypatch.setattr(gpu_blocks, "Budget", lambda **_: gpu_networks.Budget(0, 6, 6, 0.0))
    gpu_blocks.main(
        every=False,
        batches="1",
        ratios="0.25,1",
        patterns="blobs",
        dtype="fp32",
        layout="nhwc",
        compile_mode="none",
        measure_seconds=0,
        output=tmp_path / "blocks.json",
    )
    rows = json.loads((tmp_path / "blocks.json").read_text())["measurements"]
    assert len(rows) == 3 * 2
    assert all(row["sparse_us"] > 0 and row["floor_us"] > 0 and row["active"] <= row["halo"] for row in rows)
    assert {row["active"] for row in rows if row["ratio"] == 1} == {2 * 6 * 6}
    # A graph's replay takes two milliseconds here, so that the convolutions alone are the fastest rival.
    assert all(row["rival"] == "convolutions" and 0 < row["convolutions_us"] <= 3 for row in rows)
    assert all(0 < row["over_rival"]["value"] < 1 and row["eager_us"] > 0 for row in rows)
    assert all(row["fused_us"] is None and row["compiled_us"] is None for row in rows)


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(
    ("name", "stride"), [("gated_basic_block", 1), ("gated_basic_block", 2), ("gated_bottleneck", 2)]
)
def test_fused_rival_computes_the_block(name, stride):
    case = gpu_block_cases.Case(name, 2, 8, 4, 8, (7, 7), torch.float16, stride=stride)
    tensors, given = gpu_block_cases.parameters(case, 0), gpu_block_cases.inputs(case, 0)
    run = gpu_rivals.fused(case, tensors)
    torch.testing.assert_close(run(given), gpu_block_cases.dense(case, tensors)(given), rtol=1e-2, atol=1e-2)
    assert gpu_rivals.fused(replace(case, dtype=torch.float32), tensors) is None


def test_fastest_rival_decides():
    assert gpu_rivals.fastest({"convolutions": 3.0, "fused": None, "compiled": 2.0}) == "compiled"


@pytest.mark.parametrize("network", ["dense", "sparse"])
def test_kinds_of_kernels_by_their_names(network):
    """On a profile of a GPU: the pose network at batch 1, whose gates stand outside the blocks."""
    record = json.loads((gpu_all.ROOT / "benchmarks/results/h200/kernels_pose_4x96.json").read_text())
    profiled = next(n for n in record["networks"] if n["batch"] == 1 and n["execution"] == network)
    kernels = [gpu_profile.Kernel(k["kernel"], k["us"], k["launches"]) for k in profiled["kernels"]]
    kinds = gpu_profile.by_kind(kernels)
    unnamed = sum(k.us for k in kernels if k.name == "(unnamed by the profiler)")
    assert sum(kinds.values()) == pytest.approx(sum(k.us for k in kernels))
    assert kinds.get("other", 0) == pytest.approx(unnamed)
    if network == "dense":
        assert kinds["addition or activation"] == pytest.approx(540.3 + 189.6 + 88.3, abs=0.1)
        assert "gate" not in kinds
        assert "gated block" not in kinds
    else:
        gates = kinds["gate"] + kinds["comparison"] + kinds["copy or cast"]
        assert gates == pytest.approx(842.1)
        assert kinds["gated block"] > 1700


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_tiles(tmp_path, monkeypatch, core_path, layout):
    """Every tile of every convolution is asked for by its number, and its result checked: the host's kernels run."""
    monkeypatch.setattr(gpu_tiles, "core_ops", lambda flags: GuardedOps(core_path, flags=flags))
    cases = tuple((name, channels, 4, 1) for name, channels in zip(gpu_block_cases.BLOCKS, (8, 8, 32), strict=True))
    monkeypatch.setattr(gpu_block_cases, "TARGETS", cases)
    monkeypatch.setattr(gpu_tiles, "Budget", lambda **_: gpu_networks.Budget(0, 6, 6, 0.0))
    gpu_tiles.main(ratios="0.5", dtype="fp16", layout=layout, measure_seconds=0, output=tmp_path / "tiles.json")
    rows = json.loads((tmp_path / "tiles.json").read_text())["measurements"]
    first = 4 if layout == "nhwc" else 3
    assert [
        [sum(row["block"].startswith(kind) and row["convolution"] == i for row in rows) for i in range(3)]
        for kind in ("inverted", "basic", "bottleneck")
    ] == [[first, 6, 0], [first, 4, 0], [first, 4, 4]]
    assert [row["tile"] for row in rows if row["convolution"] == 2] == [
        *("Tile128x128", "Tile64x64", "Tile128x32", "Tile32x64")
    ]
    assert all(row["us"] > 0 and row["active"] == 8 for row in rows)


def test_wrong_results_stop_a_benchmark():
    x = torch.randn(1, 4, 3, 3)
    case = gpu_block_cases.make("gated_basic_block", 1, 4, 3, torch.float32, "nchw")
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    gpu_blocks.check(case, x, x, mask)
    with pytest.raises(gpu_blocks.Dyn2trtError, match="differs from the dense one"):
        gpu_blocks.check(case, x, 1.01 * x, mask)
    with pytest.raises(gpu_blocks.Dyn2trtError, match="differs from the masked one"):
        gpu_networks.check(x, 1.01 * x, "fp32")


@pytest.mark.usefixtures("stand_ins")
def test_networks(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_networks, "Budget", lambda *_: gpu_blocks.Budget(0, 6, 6, 0.0))
    gpu_networks.main(
        "cifar_resnet",
        settings=["depth=8"],
        batches="2",
        ratios="0.5",
        patterns="own,blobs",
        precision="fp16",
        compiled=False,
        measure_seconds=0,
        output=tmp_path / "network.json",
    )
    record = json.loads((tmp_path / "network.json").read_text())
    assert [(r["batch"], r["pattern"], r["ratio"]) for r in record["measurements"]] == [
        (2, "own", 0.5),
        (2, "blobs", 0.5),
    ]
    assert all(row["active"] == pytest.approx(0.5, abs=0.02) for row in record["measurements"])
    assert all(np.isfinite(row["over_rival"]["value"]) for row in record["measurements"])
    assert all(set(row["kernels_us"]) == {"dense", "sparse"} for row in record["measurements"])


@pytest.mark.parametrize("ratio", [0.125, 1.0])
@pytest.mark.parametrize("unit", ["pointwise", "squeeze", "layer"])
def test_gates_are_set_to_a_share_of_active_sites(unit, ratio):
    """Of any kind, on the input that they are set by; the op computes the gate itself and decides the same."""
    torch.manual_seed(0)
    network = build_network("cifar_resnet", {"depth": "8", "mask_unit": unit}).eval()
    x = gpu_calibrate.smooth_input((8, 3, 32, 32), "cpu")
    gpu_calibrate.calibrate(network, x, ratio)
    run = gpu_networks.Gated(network, network, [], own=True)
    masks = []
    units = [m for m in network.modules() if isinstance(m, gpu_networks.MaskUnit)]
    for mask_unit in units:
        mask_unit.register_forward_hook(lambda _, __, decision: masks.append(decision[1].float().mean()))
    run(x)
    assert len(masks) == len(units) == 3
    assert torch.stack(masks) == pytest.approx(torch.full((3,), ratio), abs=0.13 if unit == "layer" else 0.01)


def test_one_command_for_everything(tmp_path, capsys, monkeypatch):
    """Its steps run commands that exist, it goes on after a failure, and tests that were all skipped are no success."""
    monkeypatch.setattr(gpu_steps, "find_plugin_library", lambda: tmp_path)
    gpu_all.main(output=tmp_path, only="", everything=True, dry_run=True)
    printed = capsys.readouterr().out
    scripts = {word for word in printed.split() if word.endswith(".py")}
    assert scripts
    assert all((gpu_all.ROOT / script).is_file() for script in scripts)
    others = set(Path(__file__).parents[1].glob("**/test_*.py")) - {Path(__file__)}
    marked = {path.name for path in others if "pytest.mark.gpu" in path.read_text()}
    assert marked == {Path(script).name for script in scripts if Path(script).name.startswith("test_")}
    with pytest.raises(gpu_all.Dyn2trtError, match="steps are tests, plugins, executor, memcheck"):
        gpu_all.main(output=tmp_path, only="nonsense", dry_run=True)

    monkeypatch.setattr(gpu_all, "this_machine", lambda: SimpleNamespace(gpu="one"))
    monkeypatch.setattr(gpu_all, "find_core_library", lambda: tmp_path)
    monkeypatch.setattr(gpu_all, "libraries", lambda: {"library": "as built"})
    skipped = tmp_path / "test_skipped.py"
    skipped.write_text("import pytest\n\n\n@pytest.mark.skip(reason='why')\ndef test_it(): ...\n")
    steps = [
        gpu_steps.Step("fails", (sys.executable, "-c", "print('seen'); raise SystemExit(3)")),
        gpu_steps.Step("absent", ("true",), needs=("no-such-program",)),
        gpu_steps.Step("hollow", (*gpu_steps.PYTEST, str(skipped), f"--junitxml={tmp_path / 'hollow.xml'}")),
        gpu_steps.Step("works", ("true",)),
    ]
    monkeypatch.setattr(gpu_all, "steps_for", lambda folder: steps)
    with pytest.raises(typer.Exit) as ended:
        gpu_all.main(output=tmp_path)
    assert ended.value.exit_code == 1
    records = json.loads((tmp_path / "summary.json").read_text())["steps"]
    assert [r.get("exit_code") for r in records] == [3, None, 0, 0]
    assert (tmp_path / "fails.log").read_text() == "seen\n"
    assert records[1]["skipped"] == "no-such-program is not installed"
    assert records[2]["tests"] == {"tests": 1, "failures": 0, "errors": 0, "skipped": 1}
    assert [gpu_all.passed(r) for r in records] == [False, False, False, True]


def test_what_finds_no_time_is_left_for_the_next_call(tmp_path, capsys, monkeypatch):
    """A step that runs out of time is ended with all that it started; --resume repeats it, and not what passed."""
    monkeypatch.setattr(gpu_all, "this_machine", lambda: SimpleNamespace(gpu="one"))
    monkeypatch.setattr(gpu_all, "find_core_library", lambda: tmp_path)
    monkeypatch.setattr(gpu_all, "libraries", lambda: {"library": "as built"})
    started = tmp_path / "started"
    steps = [
        gpu_steps.Step("quick", ("sh", "-c", f"echo quick >> {started}")),
        gpu_steps.Step("slow", ("sh", "-c", f"echo slow >> {started}; (sleep 2; echo late >> {started}) & wait")),
        gpu_steps.Step("last", ("sh", "-c", f"echo last >> {started}")),
    ]
    monkeypatch.setattr(gpu_all, "steps_for", lambda folder: steps)
    with pytest.raises(typer.Exit) as ended:
        gpu_all.main(output=tmp_path, minutes=1 / 60)
    assert ended.value.exit_code == 1
    printed = capsys.readouterr().out
    assert "slow: OUT OF TIME\n" in printed
    assert printed.endswith("no time left for last; --resume goes on\n")
    records = json.loads((tmp_path / "summary.json").read_text())["steps"]
    assert [(r["name"], r["exit_code"]) for r in records] == [("quick", 0), ("slow", None)]
    steps[1] = gpu_steps.Step("slow", ("sh", "-c", f"sleep 3; echo again >> {started}"))
    with pytest.raises(typer.Exit) as ended:
        gpu_all.main(output=tmp_path, resume=True)
    assert ended.value.exit_code == 0
    assert started.read_text().split() == ["quick", "slow", "again", "last"]
    records = json.loads((tmp_path / "summary.json").read_text())["steps"]
    assert [(r["name"], r["exit_code"]) for r in records] == [("quick", 0), ("slow", 0), ("last", 0)]

    monkeypatch.setattr(gpu_all, "libraries", lambda: {"library": "built again"})
    with pytest.raises(typer.Exit):
        gpu_all.main(output=tmp_path, resume=True)
    assert started.read_text().split()[4:] == ["quick", "again", "last"], "what passed with another library runs again"


@pytest.fixture
def exported(tmp_path) -> Path:
    network, path = gated_baselines.build("cifar_sact"), tmp_path / "model.onnx"
    export_network(network, input_shape=(1, 3, 16, 16), path=path, precision="fp16", dynamic_batch=True)
    return path


def test_executor(exported, stand_ins, tmp_path, monkeypatch, capsys, plugins_path):
    """A file whose shapes are computed: what depends on them alone is not computed again while a graph is captured."""
    monkeypatch.setattr(gpu_executor, "why_no_gpu_plugins", lambda: None)
    monkeypatch.setattr(gpu_executor, "gpu_driver", lambda: Driver(emulated_plugins.build_driver(), plugins_path))
    gpu_executor.main(exported, batch=2, measure_seconds=0, output=tmp_path / "file.json")
    record = json.loads((tmp_path / "file.json").read_text())
    assert (record["batch"], record["precision"], len(record["ms"])) == (2, "fp16", 20)
    assert record["plugins"] == {"channels-last": 6}
    assert "batch 2, fp16" in capsys.readouterr().out

    monkeypatch.setattr(gpu_executor, "why_no_gpu_plugins", lambda: "needs a CUDA GPU")
    with pytest.raises(gpu_executor.MissingDependency, match="needs a CUDA GPU"):
        gpu_executor.main(exported)


def test_first_part_fits_into_eight_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_steps, "find_plugin_library", lambda: tmp_path)
    first = [step for step in gpu_steps.steps_for(tmp_path) if not step.later]
    expected = {"tests", "plugins", "executor", "memcheck", "racecheck", "blocks", "pose", "ncu_basic_block"}
    assert expected <= {step.name for step in first}
    assert all(step.question for step in first)
    # When every step takes all of its time; eight minutes are what is expected, for most end long before their limit.
    assert sum(step.seconds for step in first) <= 700
    names = [step.name for step in first]
    assert names.index("memcheck") < names.index("blocks") < names.index("ncu_basic_block")


def test_one_block_for_a_profiler(stand_ins, monkeypatch):
    calls = []
    real = gpu_block_cases.sparse
    monkeypatch.setattr(gpu_block_cases, "sparse", lambda *a: lambda *b: calls.append(real(*a)(*b)))
    gpu_one_block.main("gated_basic_block", 8, 6, 2, ratio=0.5, dtype="fp32")
    assert [tuple(y.shape) for y in calls] == [(2, 8, 6, 6)] * gpu_one_block.CALLS


def test_compiling_one_code_for_many_shapes_stays_static():
    shapes: list[tuple[object, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        shapes.append(tuple(inputs[0].shape))
        return graph

    def block(c: int) -> gpu_blocks.Callable[..., torch.Tensor]:
        weight = torch.ones(c, c)
        return lambda x: x @ weight

    with pytest.MonkeyPatch.context() as patch:
        real = torch.compile
        patch.setattr(torch, "compile", lambda run, mode, dynamic: real(run, backend=backend, dynamic=dynamic))
        wanted = [(n, c) for c in range(2, 8) for n in (2, 3)]
        for n, c in wanted:
            gpu_blocks.compile_afresh(block(c), "default")(torch.ones(n, c))
    assert shapes == wanted
