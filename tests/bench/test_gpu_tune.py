"""The table of fused kernels: made from timings, judged on shapes left out; the process that measures is watched."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import gpu_tune
import gpu_tune_table
from gpu_tune_table import Shape, Timing
from watched_process import watched_lines


def timings(channels: int, batch: int, us: dict[str, tuple[float, float]]) -> list[Timing]:
    """Of a basic block on 32x32 at 12.5 % and 50 % active."""
    shape = (90, 1, channels, channels, 1, 32 * 32, batch)
    return [
        Timing(*shape, ratio, name, t) for name, ts in us.items() for ratio, t in zip((0.125, 0.5), ts, strict=True)
    ]


def test_best_variant_is_that_of_the_geometric_mean_and_later_devices_get_one_they_can_run():
    measured = timings(
        128, 32, {"tile 16x16 wgmma": (20, 40), "rows": (18, 60), "tile 8x16 mma": (30, 60), "chain": (60, 90)}
    )
    assert gpu_tune_table.rows(measured) == [
        '{90, DYN2TRT_BASIC_BLOCK, 128, 128, 1, 1024, 32, "tile 16x16 wgmma"},',
        '{90, DYN2TRT_BASIC_BLOCK, 128, 128, 1, 1024, 32, "rows"},',
        '{90, DYN2TRT_BASIC_BLOCK, 128, 128, 1, 1024, 32, "tile 8x16 mma"},',
    ]


def test_a_variant_without_all_ratios_is_left_out():
    measured = timings(128, 32, {"rows": (20, 40), "chain": (60, 90)})[1:]
    assert [line.split('"')[1] for line in gpu_tune_table.rows(measured)] == ["chain"]


def test_judged_on_shapes_left_out():
    """128 channels would take what is best for 64, and the other way round."""
    measured = [
        *timings(64, 32, {"rows": (10, 10), "chain": (20, 20)}),
        *timings(128, 32, {"rows": (30, 30), "chain": (20, 20)}),
    ]
    judged = gpu_tune_table.judge(measured)
    assert (judged.shapes, judged.worst) == (2, pytest.approx(2.0))
    assert judged.mean == pytest.approx((1.5 * 2.0) ** 0.5)
    assert "DYN2TRT_BASIC_BLOCK 64, 32x32, batch 32" in judged.text()
    assert gpu_tune_table.judge(timings(64, 32, {"rows": (10, 10)})).shapes == 0


def test_only_the_rows_of_the_measured_architecture_are_replaced():
    text = '{80, DYN2TRT_BASIC_BLOCK, 8, 8, 1, 64, 1, "chain"},\n{90, DYN2TRT_BASIC_BLOCK, 8, 8, 1, 64, 1, "chain"},\n'
    merged = gpu_tune_table.merged_table(text, timings(128, 1, {"rows": (1, 2), "chain": (3, 4)}), "a GPU")
    rows = [line for line in merged.splitlines() if line.startswith("{")]
    assert [line[:3] for line in rows] == ["{80", "{90", "{90"]
    assert "// Measured on a GPU." in merged


def test_the_committed_table_has_the_form_that_is_written():
    """So that measuring again replaces its rows."""
    table = Path(__file__).resolve().parents[2] / "plugins/core/fused/table.inc"
    rows = [line for line in table.read_text().splitlines() if line.startswith("{")]
    assert rows
    again = gpu_tune_table.merged_table(table.read_text(), timings(128, 1, {"rows": (1, 2), "chain": (3, 4)}), "a GPU")
    assert not set(rows) & set(again.splitlines()) - {'{90, DYN2TRT_BASIC_BLOCK, 128, 128, 1, 1024, 1, "rows"},'}


def test_distance_counts_doublings():
    a = Shape(90, 1, 128, 128, 1, 32 * 32, 32)
    assert gpu_tune_table.distance(a, Shape(90, 1, 64, 128, 2, 32 * 32, 8)) == pytest.approx(1 + 1 + 2)


def test_targets_come_first():
    grid = gpu_tune.grid()
    assert tuple(grid[: len(gpu_tune.blocks.TARGETS)]) == gpu_tune.blocks.TARGETS
    assert len(grid) == len(set(grid)) == 3 * 13


def script(text: str) -> list[str]:
    return [sys.executable, "-u", "-c", text]


def test_lines_of_a_process_that_ends_and_of_one_that_hangs():
    lines = watched_lines(script("print(1); print(2)"), patience=60, seconds=60)
    assert [line.strip() for line in lines] == ["1", "2"]
    assert not lines.hung
    hanging = watched_lines(script("import time; print(1); time.sleep(60)"), patience=3, seconds=60)
    assert [line.strip() for line in hanging] == ["1"]
    assert hanging.hung
    assert hanging.seconds < 30
    late = watched_lines(script("import time; time.sleep(60)"), patience=60, seconds=1)
    assert list(late) == []
    assert not late.hung, "time was up, which is no fault of the kernel"
    with pytest.raises(gpu_tune.Dyn2trtError, match="exit code 3"):
        list(watched_lines(script("raise SystemExit(3)"), patience=60, seconds=60))


def test_a_variant_that_hangs_is_named_and_left_out(monkeypatch):
    """The first process hangs in the second variant; the next one is told to skip it."""
    (t,) = timings(128, 1, {"rows": (5, 6)})[:1]
    timing = json.dumps(vars(t))
    first = f"print('{json.dumps({'next': ['gated_basic_block', 128, 32, 1, 'rows']})}'); import time; time.sleep(60)"
    second = f"print('{timing}')"
    commands = iter((first, second))
    asked = []

    def watched(command, **options):
        asked.append(json.loads(command[command.index("--worker") + 1]))
        return watched_lines(script(next(commands)), patience=3, seconds=60)

    monkeypatch.setattr(gpu_tune, "watched_lines", watched)
    found, hung = gpu_tune.supervise(4, "fp16")
    assert hung == [["gated_basic_block", 128, 32, 1, "rows"]]
    assert asked == [[], hung]
    assert found == [t]


def test_a_table_from_a_record(tmp_path, capsys):
    measured = timings(128, 1, {"rows": (1, 2), "chain": (3, 4)})
    record, table = tmp_path / "tune.json", tmp_path / "table.inc"
    environment = {"gpu": "a GPU", "driver": "1.2"}
    record.write_text(json.dumps({"environment": environment, "timings": [vars(t) for t in measured]}))
    table.write_text("")
    gpu_tune.main(output=None, record=record, table=table)
    assert table.read_text().count('"rows"') == 1
    assert "geometric mean" in capsys.readouterr().out
