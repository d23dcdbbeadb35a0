"""The benchmark of a small gated model in ONNX Runtime: graphs, activity, blocks alone, record and command line."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import typer
from handmade_model import METADATA, SHAPE, Handmade, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from dyn2trt.activity.halo import halo
from dyn2trt.activity.summary import summarise_activity
from dyn2trt.activity.work import executed_macs
from dyn2trt.bench.measure import measure, served_batches
from dyn2trt.bench.options import BenchOptions, image_size, inputs_of, options_of
from dyn2trt.bench.per_block import cut_block
from dyn2trt.bench.plans import input_shapes
from dyn2trt.bench.record import read_record
from dyn2trt.bench.sessions import graphs_of
from dyn2trt.bench.summary import print_summary
from dyn2trt.bench.sweep.contenders import batches_of
from dyn2trt.bench.sweep.gate_masks import LAYERS, mask_sets, patterns_of
from dyn2trt.bench.sweep.masks import PATTERNS, to_logits
from dyn2trt.cli.bench import bench
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import Block
from dyn2trt.export.surgery import dense_twin, inline_composites, with_decision_outputs
from dyn2trt.files import sha256, write_text
from dyn2trt.ops.bodies import attach_bodies
from dyn2trt.ops.bodies.hints import computed_whole
from dyn2trt.recipe import Recipe
from dyn2trt.runtimes.memory_probe import probe_memory
from dyn2trt.runtimes.onnxruntime_session import OnnxRuntimeSession

RECORDED = Path(__file__).parents[1] / "data" / "bench_record_before_dynamic_kernels.json"
QUICK: dict[str, Any] = {"warmup": 1, "iterations": 6, "seconds": 0}


@pytest.fixture(scope="module")
def handmade() -> Handmade:
    return Handmade()


@pytest.fixture(scope="module")
def model(handmade: Handmade) -> onnx.ModelProto:
    return attach_bodies(handmade.proto())


@pytest.fixture(scope="module")
def path(model: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bench") / "model.onnx"
    onnx.save(model, file)
    return file


def close(got: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.linalg.norm(got - wanted) <= 1e-5 * np.linalg.norm(wanted))


def test_the_three_graphs_are_the_network_its_dense_twin_and_the_overruled_one(
    handmade: Handmade, model: onnx.ModelProto
) -> None:
    x = noise()
    sessions = {role: OnnxRuntimeSession(graph, 1) for role, graph in graphs_of(model).items()}
    gated = handmade.reference(x)
    assert close(sessions["own"].run({"x": x})["out1"], gated["out1"])
    assert close(sessions["dense"].run({"x": x})["out1"], handmade.reference(x, dense=True)["out1"])
    own = {f"forced{i}": to_logits(gated[f"logits{i}"] >= 0) for i in range(3)}
    assert close(sessions["forced"].run({"x": x, **own})["out1"], gated["out1"])


def test_decisions_that_a_file_gives_are_not_timed(model: onnx.ModelProto) -> None:
    given = with_decision_outputs(model)
    assert len(given.graph.output) == 5
    for role, graph in graphs_of(given).items():
        without = graphs_of(model)[role]
        assert [output.name for output in graph.graph.output] == [output.name for output in without.graph.output]
        assert len(graph.graph.node) == len(without.graph.node)


@settings(deadline=None, max_examples=40)
@given(grid=st.tuples(st.integers(1, 9), st.integers(1, 9)), stride=st.sampled_from([1, 2]), seed=st.integers(0, 99))
def test_the_halo_is_what_a_convolution_reads(grid: tuple[int, int], stride: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((2, *grid)) < 0.3
    read = np.zeros((2, grid[0] * stride, grid[1] * stride), bool)
    for n, h, w in zip(*np.nonzero(mask), strict=True):
        rows, columns = (slice(max(0, stride * p - 1), stride * p + 2) for p in (h, w))
        read[n, rows, columns] = True
    assert np.array_equal(halo(mask[:, None], read.shape[1:], stride=stride)[:, 0], read)


def test_executed_multiply_accumulates_count_active_sites_and_their_halo() -> None:
    block = Block("b", "GatedInvertedResidual", "logits0", (4, 4), 16 * (10 + 3), 10, 3)
    mask = np.zeros((3, 1, 4, 4), bool)
    mask[1, 0, 0, 0] = True
    mask[2] = True
    assert executed_macs(block, mask).tolist() == [0, 10 + 4 * 3, block.macs_total]


def test_activity_weighs_blocks_by_their_work() -> None:
    small = Block("small", "GatedBasicBlock", "logits0", (2, 2), 4, 1, 0)
    large = Block("large", "GatedBasicBlock", "logits1", (2, 2), 12, 3, 0)
    full, empty = np.ones((1, 1, 2, 2), bool), np.zeros((1, 1, 2, 2), bool)
    activity = summarise_activity([small, large], [full, empty])
    assert [block.site_fraction for block in activity.blocks] == [1, 0]
    assert activity.ratio == activity.mac_fraction == pytest.approx(0.25)


def test_batches_take_the_images_in_turn() -> None:
    images = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    assert [batch.ravel().tolist() for batch in batches_of(images, 2)] == [[0, 1], [2, 3], [4, 0]]
    assert [batch.ravel().tolist() for batch in batches_of(images, 7)] == [[0, 1, 2, 3, 4, 0, 1]]


def test_mask_sets_are_the_same_for_the_same_seed_only() -> None:
    blocks = METADATA.blocks[:2]
    sets = [mask_sets("blobs", 0.5, blocks, [(8, 8), (4, 4)], 2, 3, seed) for seed in (0, 0, 1)]
    assert [mask.shape for mask in sets[0][0]] == [(2, 1, 8, 8), (2, 1, 4, 4)]
    assert np.array_equal(sets[0][0][0], sets[1][0][0])
    assert not np.array_equal(sets[0][0][0], sets[2][0][0])
    assert not np.array_equal(sets[0][0][0], sets[0][1][0])


def gated(kind: str, *names: str) -> list[Block]:
    return [replace(METADATA.blocks[0], name=name, gate=kind) for name in names]


@settings(deadline=None, max_examples=30)
@given(ratio=st.floats(0.02, 1), layers=st.integers(1, 9), batch=st.integers(1, 5))
def test_gates_of_layers_get_whole_images_at_the_ratio_on_average(ratio: float, layers: int, batch: int) -> None:
    blocks, grids = gated("layer", *map(str, range(layers))), [(3, 2)] * layers
    sets = mask_sets(LAYERS, ratio, blocks, grids, batch, 4, 0)
    masks = np.array(sets)
    assert np.array_equal(masks.all(axis=(3, 4, 5)), masks.any(axis=(3, 4, 5)))
    assert abs(masks.mean() - ratio) <= 1 / (len(sets) * layers * batch)


@settings(deadline=None, max_examples=30)
@given(ratio=st.floats(0, 1), pattern=st.sampled_from(list(PATTERNS)), seed=st.integers(0, 9))
def test_masks_of_halting_units_shrink_within_their_stage(ratio: float, pattern: str, seed: int) -> None:
    blocks = gated("halting", "layer1.1", "layer1.2", "layer1.3", "layer2.1", "layer2.2")
    grids = [(12, 10)] * 3 + [(6, 5)] * 2
    for masks in mask_sets(pattern, ratio, blocks, grids, 2, 2, seed):
        for first, then in ((0, 1), (1, 2), (3, 4)):
            assert not (masks[then] & ~masks[first]).any()
        for stage in (masks[:3], masks[3:]):
            assert np.mean([mask.mean() for mask in stage]) == pytest.approx(ratio, abs=0.5 / stage[0][0].size)


def test_a_sweep_has_the_patterns_that_the_gates_can_decide() -> None:
    assert patterns_of(gated("layer", "a", "b"), ("blobs",)) == (LAYERS,)
    assert patterns_of([*gated("layer", "a"), *gated("positions", "b")], ("blobs",)) == ("blobs",)


@pytest.mark.parametrize("primitive", [False, True])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_block_alone_computes_what_it_computes_in_the_network(
    handmade: Handmade, model: onnx.ModelProto, index: int, primitive: bool
) -> None:
    x = noise()
    whole = inline_composites(model) if primitive else model
    entry, output = (("x0", "x1"), ("x1", "x2"), ("x2", "out1"))[index]
    gated, dense = handmade.reference(x), handmade.reference(x, dense=True)
    cut = cut_block(whole, index, gated[entry])
    assert cut.block.name == f"stage.{index}"
    assert [value.name for value in cut.model.graph.input] == [cut.entry]
    assert primitive or cut.entry == entry
    onnx.checker.check_model(cut.model)
    (got,) = OnnxRuntimeSession(cut.model, 1).run({cut.entry: gated[entry]}).values()
    assert close(got, gated[output])
    cut = cut_block(whole, index, dense[entry])
    (got,) = OnnxRuntimeSession(dense_twin(cut.model), 1).run({cut.entry: dense[entry]}).values()
    assert close(got, dense[output])


def test_the_memory_of_a_model_is_that_of_a_process_of_its_own(model: onnx.ModelProto) -> None:
    ballast = np.ones(300 * 2**17)  # 300 MiB here must not count there
    runtime, peak = probe_memory(model, {"x": noise()}, 1)
    assert 10 * 2**20 < runtime <= peak < 300 * 2**20
    assert ballast[0] == 1


def test_a_failing_probe_says_why() -> None:
    with pytest.raises(Dyn2trtError, match=r"the memory probe failed: .*([Pp]rotobuf|parsing)"):
        probe_memory(onnx.ModelProto(), {}, 1)


def test_a_benchmark_measures_everything_and_reads_back(path: Path, tmp_path: Path) -> None:
    options = BenchOptions(batch_sizes=(1, 3), active_ratios=(0.0, 0.5, 1.0), **QUICK, threads=1, per_block=True)
    lines: list[str] = []
    measured = measure(path, noise(shape=(5, *SHAPE[1:])), options, images_spec="noise:5", progress=lines.append)
    record = measured.record
    assert [batch.batch for batch in record.batches] == [1, 3]
    for batch in record.batches:
        assert [(p.pattern, p.ratio) for p in batch.sweep] == [(n, r) for n in PATTERNS for r in (0.0, 0.5, 1.0)]
        assert {batch.dense.samples, batch.own.samples, *(p.latency.samples for p in batch.sweep)} == {6}
        assert [crossing.pattern for crossing in batch.break_even] == list(PATTERNS)
        assert batch.dense.throughput == pytest.approx(1e3 * batch.batch / batch.dense.median_ms)
    assert record.activity is not None
    assert [mask.shape for mask in measured.masks] == [(5, 1, *block.grid) for block in METADATA.blocks]
    assert [b.site_fraction for b in record.activity.blocks] == [mask.mean() for mask in measured.masks]
    assert [block.name for block in record.blocks] == [block.name for block in METADATA.blocks]
    assert [block.site_fraction for block in record.blocks] == [mask[:1].mean() for mask in measured.masks]
    assert [(m.name, m.device) for m in record.memory] == [("dense", None), ("own", None)]
    assert record.mode.threads == 1
    assert record.not_run == ()
    assert record.environment.cores >= 1
    assert "onnxruntime" in record.environment.versions
    assert any("batch 3" in line for line in lines)
    write_text(tmp_path / "bench.json", record.to_json())
    assert read_record(tmp_path / "bench.json") == record


def test_a_record_from_before_dynamic_kernels_still_reads() -> None:
    record = read_record(RECORDED)
    (batch,) = record.batches
    assert batch.dense is not None
    assert batch.speedup is not None
    assert batch.speedup.value == pytest.approx(batch.dense.median_ms / batch.own.median_ms, rel=0.1)
    assert (record.model.dynamic, batch.generation) == (("positions",), None)


@pytest.mark.parametrize(
    ("width", "shown", "dropped"), [(120, "p99", "none"), (80, "p90", "p99"), (64, "median", "p90")]
)
def test_the_tables_drop_columns_before_they_cut_words(width: int, shown: str, dropped: str) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    print_summary(read_record(RECORDED), console)
    text = console.export_text()
    assert "…" not in text
    assert "sparse, blobs" in text
    assert "1.46× (1.39–1.49)" in text
    assert (shown in text, dropped in text) == (True, False)


def test_the_masks_are_the_networks_own(handmade: Handmade, path: Path) -> None:
    x = noise(shape=(3, *SHAPE[1:]))
    options = BenchOptions(active_ratios=(), **QUICK, threads=1, memory=False)
    measured = measure(path, x, options)
    logits = handmade.reference(x)
    assert all(np.array_equal(mask, logits[f"logits{i}"] >= 0) for i, mask in enumerate(measured.masks))
    assert measured.record.batches[0].sweep == measured.record.batches[0].break_even == ()
    assert measured.record.mode.computed_whole == len(METADATA.blocks), "they are small"


def test_blocks_that_adapt_to_their_input_are_not_computed_whole(handmade: Handmade) -> None:
    assert computed_whole(attach_bodies(handmade.proto(), schedule="adaptive")) == 0
    assert computed_whole(inline_composites(attach_bodies(handmade.proto()))) == 0


def test_a_fixed_batch_puts_other_sizes_on_record_as_not_run() -> None:
    static = replace(METADATA, dynamic_axes=())
    sizes, left_out = served_batches(static, BenchOptions(batch_sizes=(2, 8)))
    assert sizes == (2,)
    assert [(item.what, "--dynamic-batch" in item.why) for item in left_out] == [("batch 8", True)]
    with pytest.raises(Dyn2trtError, match="fixed batch of 2; export it with --dynamic-batch, or measure 2"):
        served_batches(static, BenchOptions(batch_sizes=(8,)))
    assert served_batches(static, BenchOptions())[0] == (2,)


def test_a_model_without_gates_has_nothing_to_compare(model: onnx.ModelProto) -> None:
    with pytest.raises(Dyn2trtError, match=r"no gated blocks .* and no dynamic kernels"):
        graphs_of(dense_twin(model))


def test_onnx_runtimes_refusal_is_one_line(model: onnx.ModelProto) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    broken.graph.node[0].op_type = "NoSuchOp"
    with pytest.raises(Dyn2trtError, match=r"ONNX Runtime does not load the model: .*NoSuchOp"):
        OnnxRuntimeSession(broken, 1)


def test_plans_are_sized_for_every_input_of_a_graph(model: onnx.ModelProto) -> None:
    shapes = input_shapes(graphs_of(model)["forced"], 4, (12, 10))
    assert shapes == {"x": (4, 3, 12, 10), "forced0": (4, 1, 12, 10), "forced1": (4, 1, 6, 5), "forced2": (4, 1, 6, 5)}


def recipe(**bench_section: object) -> Recipe:
    return Recipe.model_validate(
        {
            "network": {"name": "resnet"},
            "export": {"input_shape": [1, 3, 8, 8]},
            "data": {"images": "noise:2", "mean": [0.1, 0.2, 0.3], "seed": 5},
            "bench": bench_section,
        }
    )


def test_options_come_from_the_command_line_then_the_recipe_then_the_defaults() -> None:
    wanted = recipe(batch_sizes=[1, 4], active_ratios=[0.5], warmup=0, iterations=7)
    options = options_of(wanted, batch_sizes="2,8", seconds=3.0)
    assert (options.batch_sizes, options.active_ratios) == ((2, 8), (0.5,))
    assert (options.budget.warmup, options.budget.min_rounds, options.budget.seconds) == (0, 7, 3.0)
    assert options_of(None) == BenchOptions()
    with pytest.raises(Dyn2trtError, match="needs at least 6 rounds, not 5"):
        options_of(None, iterations=5)
    assert options_of(wanted, active_ratios="none").active_ratios == ()
    assert options_of(None, iterations=5000).budget.max_rounds == 5000
    given = {"images": None, "mean": None, "std": "1,2,3", "seed": None}
    source = inputs_of(wanted, **given)
    assert (source.images, source.mean, source.std, source.seed) == ("noise:2", (0.1, 0.2, 0.3), (1, 2, 3), 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backend": "cuda"}, "--backend is onnxruntime or tensorrt, not cuda"),
        ({"batch_sizes": "one"}, "expected --batch-sizes with some numbers"),
        ({"batch_sizes": "0"}, "batch sizes are at least 1, not 0"),
        ({"batch_sizes": "1.5"}, "batch sizes are whole numbers, not 1.5"),
        ({"active_ratios": "0.5,20"}, "between 0 and 1, not 20"),
        ({"patterns": "blob"}, "mask patterns are blobs, independent, not blob"),
    ],
)
def test_wrong_options_say_what_is_right(given: dict[str, str], message: str) -> None:
    with pytest.raises(Dyn2trtError, match=message):
        options_of(None, **given)  # type: ignore[arg-type]


def test_the_size_follows_the_model() -> None:
    assert image_size(None, METADATA) == (12, 10)
    with pytest.raises(Dyn2trtError, match="fixed size of 12x10, not 24x20; export it with --dynamic-size"):
        image_size("1x3x24x20", METADATA)
    dynamic = replace(METADATA, dynamic_axes=(2, 3), size_multiple=4)
    assert image_size("1x3x24x20", dynamic) == (24, 20)
    with pytest.raises(Dyn2trtError, match="multiples of 4 for this network, not 24x22"):
        image_size("1x3x24x22", dynamic)


def command(*words: str):
    app = typer.Typer()
    app.command()(bench)
    return CliRunner().invoke(app, list(words), catch_exceptions=True)


def test_the_command_writes_the_record_and_the_masks(path: Path, tmp_path: Path) -> None:
    output, masks = tmp_path / "b.json", tmp_path / "activity.npz"
    done = command(
        str(path), "-o", str(output), "--seconds", "0", "--iterations", "6", "--warmup", "0", "--active-ratios", "0.5",
        "--images", "noise:3", "--save-activity", str(masks), "--threads", "1", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads(output.read_text())
    record = read_record(output)
    assert (record.settings.images, record.model.sha256) == ("noise:3", sha256(path))
    with np.load(masks) as arrays:
        assert arrays["images"].shape == (3, 12, 10, 3)
        assert sorted(arrays.files) == ["images", "mask0", "mask1", "mask2"]


def test_the_command_prints_tables_and_the_verdict(path: Path, tmp_path: Path) -> None:
    done = command(str(path), "-o", str(tmp_path / "b.json"), "--seconds", "0", "--iterations", "6", "--threads", "1")
    assert done.exit_code == 0, done.output
    assert "Break-even with blobs" in done.stdout
    assert "ecommended" in done.stdout


def test_an_unwritable_record_is_found_before_the_work(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command(str(path), "-o", str(tmp_path / "file" / "b.json"), "--images", "no such images")
    assert isinstance(done.exception, Dyn2trtError)
    assert "no such file or folder: no such images" in str(done.exception)
    done = command(str(path), "-o", str(tmp_path / "file" / "b.json"), "--seconds", "9999")
    assert isinstance(done.exception, Dyn2trtError)
    assert "cannot write" in str(done.exception)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot read"), ('{"format": 0}', "has format 0, expected 1"), ('{"format": 1}', "is damaged")],
)
def test_a_record_that_is_none_says_so(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(Dyn2trtError, match=message):
        read_record(tmp_path / "bench.json")
