"""Benchmarks and reports of networks that decide on kernels or on layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dynamic_models import export_dynamic
from rich.console import Console

from dyn2trt.activity.archive import write_activity
from dyn2trt.activity.summary import summarise_activity
from dyn2trt.bench.measure import measure
from dyn2trt.bench.options import BenchOptions
from dyn2trt.bench.record import read_record
from dyn2trt.bench.sessions import graphs_of
from dyn2trt.bench.summary import print_summary
from dyn2trt.bench.sweep.gate_masks import LAYERS, mask_sets
from dyn2trt.bench.timing.generation import generation_cost
from dyn2trt.compare.result import Comparison
from dyn2trt.export.metadata import load_model, read_metadata
from dyn2trt.files import write_text
from dyn2trt.report.dynamic_kernels import spreads
from dyn2trt.report.write import write_report

QUICK = BenchOptions(active_ratios=(0.5, 1.0), warmup=1, iterations=6, seconds=0, threads=1, memory=False)
X = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
PICTURES = np.zeros((4, 32, 32, 3), np.uint8)


def printed(record: object) -> str:
    console = Console(width=80, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    print_summary(record, console)  # type: ignore[arg-type]
    return console.export_text()


def test_dynamic_kernels_are_measured_against_fixed_ones(tmp_path: Path) -> None:
    path = export_dynamic("dy_cifar_resnet")
    assert set(graphs_of(load_model(path))) == {"own", "static"}
    measured = measure(path, X, QUICK.model_copy(update={"per_block": True}))
    record = measured.record
    (batch,) = record.batches
    assert batch.generation is not None
    assert batch.static is not None
    assert batch.dense is batch.speedup is batch.verdict is record.activity is None
    assert batch.sweep == batch.break_even == ()
    assert record.model.dynamic == ("kernels",)
    assert [values.shape for values in measured.coefficients] == [(4, p.size) for p in read_metadata(path).kernels]
    assert "Generating kernels costs" in printed(record)
    assert "Not run: times of single blocks: the network has no gated blocks" in printed(record)

    write_text(tmp_path / "bench.json", record.to_json())
    assert read_record(tmp_path / "bench.json") == record
    write_text(tmp_path / "metadata.json", read_metadata(path).to_json())
    write_activity(tmp_path / "activity.npz", PICTURES, measured.masks, measured.coefficients)
    html, markdown = write_report(tmp_path, tmp_path / "report.html")
    for text in (html.read_text(), markdown.read_text().replace("\\", "")):
        assert "Decided for every image: kernels of 6 convolutions" in text
        assert "Coefficients of the kernels" in text
        assert "layer3.0.predictor" in text
        assert "Where it computes" not in text
        assert batch.generation.text in text


def test_layers_are_swept_as_layers_and_reported_as_such(tmp_path: Path) -> None:
    path = export_dynamic("cifar_convnet_aig")
    metadata = read_metadata(path)
    record = measure(path, X, QUICK).record
    assert [(p.pattern, p.ratio) for p in record.batches[0].sweep] == [(LAYERS, 0.5), (LAYERS, 1.0)]
    assert record.model.dynamic == ("layers",)

    grids = [block.grid for block in metadata.blocks]
    (masks,) = mask_sets(LAYERS, 0.5, metadata.blocks, grids, 4, 1, 0)
    activity = summarise_activity(metadata.blocks, masks)
    write_text(tmp_path / "bench.json", replace(record, activity=activity).to_json())
    write_text(tmp_path / "metadata.json", metadata.to_json())
    write_activity(tmp_path / "activity.npz", PICTURES, masks)
    html, markdown = write_report(tmp_path, tmp_path / "report.html")
    ran = [sum(bool(mask[i].any()) for mask in masks) for i in range(4)]
    for text in (html.read_text(), markdown.read_text()):
        assert "Decided for every image: which of 6 layers run" in text
        assert "Which layers run" in text
        assert "Layers an image runs" in text
        assert all(f"Input {i}: {count} of 6 layers run" in text for i, count in enumerate(ran, 1))
    assert html.read_text().count('<i class="on">') == sum(ran)
    assert not (tmp_path / "report-figures" / "heat-1.jpg").exists()


def test_halting_units_make_a_ponder_map(tmp_path: Path) -> None:
    metadata = read_metadata(export_dynamic("cifar_sact"))
    grids = [block.grid for block in metadata.blocks]
    (masks,) = mask_sets("blobs", 0.5, metadata.blocks, grids, 4, 1, 0)
    write_text(tmp_path / "metadata.json", metadata.to_json())
    write_activity(tmp_path / "activity.npz", PICTURES, masks)
    compared = Comparison("model.onnx", "", "cifar_sact", "fp32", "torch", "", 4, "noise", 1, "", ())
    write_text(tmp_path / "compare.json", compared.to_json())
    text = write_report(tmp_path, tmp_path / "report.html")[0].read_text()
    assert f"positions in {len(masks)} halting units" in text
    assert "(the ponder map)" in text
    assert f"of {len(masks)} units" in text
    assert "Activity by block" in text, "summed up from the masks, without a benchmark"


def test_the_cost_of_generation_is_judged_round_by_round() -> None:
    static = np.array([1.0, 2.0, 1.0, 4.0, 1.0, 3.0, 1.0, 2.0]) * 1e-3
    cost = generation_cost(static, static + 1e-3)
    assert cost.extra_ms.value == cost.extra_ms.low == cost.extra_ms.high == pytest.approx(1.0)
    assert cost.share.value == pytest.approx(np.median(1e-3 / (static + 1e-3)))
    assert cost.text.startswith("Generating kernels costs 1 ms")
    noise = np.array([1, -1, 1, -1, 1, -1, 1, -1]) * 1e-4
    assert "nothing beyond the noise" in generation_cost(static, static + noise).text
    with pytest.raises(ValueError, match="8 static timings, 7 own"):
        generation_cost(static, static[1:])


def test_spreads_tell_range_from_dependence_on_the_image() -> None:
    fixed = np.tile(np.linspace(0, 1, 101, dtype=np.float32), (4, 1))
    varying = np.array([[0.2, 0.4], [0.6, 0.8]], np.float32)
    first, second = spreads([fixed, varying], ())
    assert (first.name, first.convolutions, first.size, first.between) == ("predictor 0", None, 101, 0.0)
    assert (first.low, first.median, first.high) == pytest.approx((0.05, 0.5, 0.95))
    assert second.between == pytest.approx(0.2)
