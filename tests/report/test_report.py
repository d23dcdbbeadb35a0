"""The report: self-contained, themable, whole or with parts missing, and honest about what was not run."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from handmade_model import METADATA
from PIL import Image
from typer.testing import CliRunner

from dyn2trt.activity.archive import Decisions, write_activity
from dyn2trt.activity.summary import summarise_activity
from dyn2trt.bench.record import (
    Batch,
    BlockTiming,
    Environment,
    Memory,
    Mode,
    Model,
    NotRun,
    Record,
    Settings,
    SweepPoint,
)
from dyn2trt.bench.timing.break_even import break_even, verdict
from dyn2trt.bench.timing.latency import Interval, summarise
from dyn2trt.cli.report import report
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import write_text
from dyn2trt.heat import enlarge, heat_map, overlay
from dyn2trt.report.findings import read_findings
from dyn2trt.report.svg import DARK, INKS, LIGHT
from dyn2trt.report.write import write_report

RATIOS = (0.125, 0.5, 1.0)


def masks() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    return tuple(rng.random((2, 1, *block.grid)) < 0.4 for block in METADATA.blocks)


def latency(median: float) -> Any:
    return summarise([median * 1e-3 * f for f in (0.98, 1.0, 1.01, 1.05)], 1)


def record(slope: float = 1.2) -> Record:
    """Dense 10 ms; sparse 4 ms plus ``slope``·10 ms a unit of active ratio."""

    def at(ratio: float) -> tuple[Any, Interval]:
        relative = 0.4 + slope * ratio
        return latency(10 * relative), Interval(1 / relative, 0.97 / relative, 1.03 / relative)

    sweep = tuple(SweepPoint(pattern, r, *at(r)) for pattern in ("blobs", "independent") for r in RATIOS)
    activity = summarise_activity(METADATA.blocks, masks())
    own, own_speedup = at(activity.ratio)
    batch = Batch(
        batch=1,
        dense=latency(10),
        own=own,
        speedup=own_speedup,
        verdict=verdict(own_speedup),
        sweep=sweep,
        break_even=tuple(
            break_even(pattern, RATIOS, [p.speedup for p in sweep if p.pattern == pattern])
            for pattern in ("blobs", "independent")
        ),
    )
    return Record(
        version="0.0.0",
        date="2026-01-02T03:04:05+00:00",
        model=Model("model.onnx", "ab" * 32, "handmade", {"width": 8}, "fp32", "composite", (1, 3, 12, 10)),
        mode=Mode("onnxruntime", "CPUExecutionProvider", 2, None, None, "wall clock around the call"),
        environment=Environment(
            "A <processor> & more", 2, 0.1, "Linux", "3.12", {"onnxruntime": "1.2.3"}, None, None, None, "0123abc"
        ),
        settings=Settings("photographs", 0, 3, 4, 4, 1.0, 4),
        activity=activity,
        batches=(batch,),
        blocks=(BlockTiming("stage.0", "GatedInvertedResidual", 0.4, latency(2), latency(1), Interval(2, 1.9, 2.1)),),
        memory=(Memory("dense", 2**26, 2**25, None, None), Memory("own", 2**27, 2**25, None, None)),
        not_run=(NotRun("batch 8", "the model has a fixed batch of 1"),),
    )


def comparison() -> dict[str, Any]:
    """As `dyn2trt.compare.result.Comparison` writes it, one backend passed, one failed, one not run."""
    from dyn2trt.compare.gates import GateStatistics, compare_gates
    from dyn2trt.compare.result import BackendResult, Cause, Comparison, GateResult, OutputResult

    logits = np.linspace(-1, 1, 120, dtype=np.float32).reshape(1, 1, 12, 10)
    gate: GateStatistics = compare_gates("stage.0", logits, logits=logits + np.float32(0.01))
    assert gate.flipped == 1
    good = OutputResult("out0", 1e-7, 1e-5, 1e-6, 0, True)
    bad = OutputResult("out|1", float("nan"), 1e-5, 1.0, 0, False)
    gates = (GateResult(gate, 1e-4, True),)
    passed = BackendResult(
        "onnxruntime", "1.2.3", gates=gates, forced_gates=gates, outputs=(good,), forced_outputs=(good,)
    )
    failed = BackendResult(
        "tensorrt", "11.4", gates=gates, outputs=(replace(bad, judged=False),), forced_outputs=(bad,),
        causes=(Cause("numbers", "out1 differs"),), notes=("a note",),
    )  # fmt: skip
    absent = BackendResult("other", "", not_run="nobody installed it")
    return json.loads(  # type: ignore[no-any-return]
        Comparison(
            model="model.onnx",
            model_sha256="ab" * 32,
            network="handmade",
            precision="fp32",
            reference="torch",
            reference_detail="masked dense",
            images=2,
            inputs="photographs",
            batch_size=1,
            yardstick="1e-5 for fp32",
            backends=(passed, failed, absent),
        ).to_json()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "run")


def fill(run: Path) -> Path:
    write_text(run / "bench.json", record().to_json())
    write_text(run / "compare.json", json.dumps(comparison()))
    write_text(run / "metadata.json", METADATA.to_json())
    pictures = np.random.default_rng(0).integers(0, 255, (2, 24, 20, 3), np.uint8)
    write_activity(run / "activity.npz", pictures, masks())
    return run


def test_what_to_know_before_reading_the_times_stands_above_them(folder: Path) -> None:
    found = record()
    busy = replace(found.environment, load_average=3.0)
    told = replace(found, environment=busy, mode=replace(found.mode, computed_whole=2))
    write_text(folder / "bench.json", told.to_json())
    page, _, markdown = read(folder)
    for text in (page.text, markdown):
        assert "The machine was busy (load 3.0 on 2 cores)" in text
        assert "judged too small to gain in ONNX Runtime (by one image, where the batch is dynamic): 2." in text


class Page(HTMLParser):
    """What a test asks of a page: its text, its tags with attributes, and that tags close in order."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(folder: Path, **options: Any) -> tuple[Page, str, str]:
    html, markdown = write_report(folder, folder / "report.html", **options)
    text = html.read_text()
    return Page(text), text, markdown.read_text()


@dataclass(frozen=True)
class Written:
    page: Page
    text: str
    markdown: str
    folder: Path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The report on a run of which nothing is missing."""
    folder = fill(tmp_path_factory.mktemp("whole"))
    return Written(*read(folder), folder)


def test_the_page_needs_nothing_beside_it(whole: Written) -> None:
    page, text = whole.page, whole.text
    addresses = [
        value
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "srcset")
    ]
    assert addresses
    assert all(value and value.startswith(("data:image/", "#")) for value in addresses)
    assert not re.search(r"@import|url\((?!#)|<script|<link", text)


def test_everything_that_was_measured_is_on_the_page(whole: Written) -> None:
    page, markdown = whole.page, whole.markdown
    for words in (
        "Sparse recommended",
        "50% active",  # break-even
        "10.05",  # dense median
        "CPUExecutionProvider",
        "A <processor> & more",
        "sha256 abababab",
        "commit 0123abc",
        "stage.2",
        "80.6 k",
        "128.0 MiB",
        "1.0e-07",
        "not finite",
        "decisions flipped, not judged",
        "nobody installed it",
        "the model has a fixed batch of 1",
        "no GPU on the machine that measured",
        "2 of 240 gate decisions differ from torch" if False else "of 240 gate decisions differ from torch",
    ):
        assert words in page.text
    for words in ("Sparse recommended", "50% active", "10.05", "stage.2", "nobody installed it", "## Accuracy"):
        assert words in markdown


def test_failures_are_marked(whole: Written) -> None:
    page = whole.page
    assert "Failed. 11.4; out1 differs" in page.text.replace(" .", ".")
    assert sum(attributes.get("class") == "failed" for tag, attributes in page.tags if tag == "tr") == 1


def test_pictures_have_words_and_plots_have_titles(whole: Written) -> None:
    page, text = whole.page, whole.text
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 4 + len(METADATA.blocks)
    assert all(attributes.get("alt") for attributes in images)
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 4
    for drawing in drawings:
        root = ET.fromstring(drawing)
        assert root.get("role") == "img"
        assert root.get("aria-label")


def test_the_plots_take_their_colours_from_the_page(whole: Written) -> None:
    text = whole.text
    body = text[text.index("<body>") :]
    assert not any(ink in text for ink in INKS.values())
    drawn = "".join(re.findall(r"<svg.*?</svg>", body, flags=re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}\b", drawn)
    assert {f"--{name}" for name in INKS} >= set(re.findall(r"var\((--[a-z]+)\)", text))
    ids = re.findall(r'\bid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", body)) | set(re.findall(r'xlink:href="#([^"]+)"', body)) <= set(ids)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_words_and_lines_stand_out_from_the_paper(palette: dict[str, str]) -> None:
    """WCAG 2.2: a contrast of 4.5 for text, 3 for graphics; every ink but the grid's is used for text or both."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert palette.keys() == INKS.keys()
    paper = luminance(palette["paper"])
    for name in palette.keys() - {"paper", "grid"}:
        light, dark = sorted((luminance(palette[name]), paper), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name


@pytest.mark.parametrize(
    ("gone", "kept", "named"),
    [
        (("bench.json",), "Accuracy", "no bench.json; dyn2trt bench writes it"),
        (("compare.json",), "Break-even", "no compare.json; dyn2trt compare writes it"),
        (("activity.npz",), "Break-even", "no activity.npz"),
        (("metadata.json", "activity.npz", "compare.json"), "Break-even", "no compare.json"),
    ],
)
def test_parts_that_are_missing_are_named(folder: Path, gone: tuple[str, ...], kept: str, named: str) -> None:
    for name in gone:
        (folder / name).unlink()
    page, _, markdown = read(folder)
    assert kept in page.text
    assert named in page.text
    assert named in markdown.replace("\\", "")


def test_without_metadata_the_pictures_remain(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    page, _, _ = read(folder)
    assert "How many of the 3 gated blocks are active" in page.text
    assert "gate 2" in page.text


def test_a_break_even_that_is_none_is_said(folder: Path) -> None:
    write_text(folder / "bench.json", record(slope=0.1).to_json())
    assert "sparse is faster at every ratio measured, up to 100%" in read(folder)[0].text
    write_text(folder / "bench.json", record(slope=6).to_json())
    page = read(folder)[0]
    assert "sparse is slower at every ratio measured" in page.text
    assert "Sparse not recommended" in page.text


def test_several_benchmarks_stand_side_by_side(folder: Path) -> None:
    other = replace(
        record(),
        mode=Mode("tensorrt", "tensorrt 11.4", None, True, False, "CUDA events on the stream"),
        environment=replace(record().environment, gpu="GPU X", driver="600.1", cuda="13.0"),
        memory=(Memory("dense", None, None, 2**30, 2**20),),
    )
    write_text(folder / "bench-tensorrt.json", other.to_json())
    page, _, _ = read(folder)
    for words in ("ONNX Runtime, 2 threads", "TensorRT, GPU X", "CUDA graphs on", "not in the times", "1,024.0 MiB"):
        assert words in page.text
    assert "latency in TensorRT" not in page.text


def test_the_markdown_has_its_figures_beside_it(whole: Written) -> None:
    folder, markdown = whole.folder, whole.markdown
    linked = re.findall(r"\]\(([^)]+)\)", markdown)
    assert len(linked) == 2 + 4
    for name in linked:
        assert (folder / name).stat().st_size > 500
    ET.parse(folder / "report-figures" / "activity.svg")
    assert "out\\|1" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    tables = "\n".join(rows).replace("\\|", "")
    widths = [line.count("|") for line in tables.splitlines()]
    assert min(widths) >= 3


def test_heat_counts_blocks_or_weighs_them() -> None:
    fine = np.zeros((1, 1, 4, 4), bool)
    fine[0, 0, 0, 0] = True
    coarse = np.ones((1, 1, 2, 2), bool)
    counted = heat_map([fine, coarse], 0, (8, 8))
    assert counted.full == 2
    assert counted.values[:2, :2].tolist() == [[2, 2], [2, 2]]
    assert counted.values.sum() == 64 + 4
    weighed = heat_map([fine, coarse], 0, (8, 8), [10.0, 1.0])
    assert (weighed.full, weighed.values.max(), weighed.values.min()) == (11, 11, 1)


def test_masks_grow_without_blurring_whatever_the_sizes() -> None:
    mask = np.array([[True, False, True], [False, True, False]])
    grown = enlarge(mask, (7, 10))
    assert grown.shape == (7, 10)
    assert grown[:4, :4].all()
    assert not grown[4:, :4].any()
    assert np.array_equal(enlarge(mask, (4, 6)), mask.repeat(2, 0).repeat(2, 1))


def test_the_overlay_is_brightest_where_most_was_computed() -> None:
    photograph = np.full((4, 4, 3), 128, np.uint8)
    heat = heat_map([np.array([[[[True, False], [False, False]]]])], 0, (4, 4))
    blended = overlay(photograph, heat, 1.0).astype(int).sum(axis=2)
    assert blended[:2, :2].min() > 2 * blended[2:, 2:].max()
    assert blended[2:, 2:].min() > 0


def test_heat_can_show_work_in_place_of_blocks(folder: Path) -> None:
    assert "Multiply-accumulates of the 3 gated blocks" in read(folder, weight="macs")[0].text


def test_pictures_beyond_the_limit_are_counted(folder: Path) -> None:
    page, _, _ = read(folder, pictures=1)
    assert "1 further images are left out" in page.text


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("bench.json", b"{", "cannot read .*bench.json"),
        ("compare.json", b"[]", "compare.json has format None, expected 1"),
        ("activity.npz", b"PK", "cannot read .*activity.npz"),
        ("metadata.json", b"{}", "damaged dyn2trt metadata"),
    ],
)
def test_damaged_parts_are_errors_that_name_the_file(folder: Path, name: str, data: bytes, message: str) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(Dyn2trtError, match=message):
        read_findings(folder)


def test_an_empty_folder_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(Dyn2trtError, match=r"nothing to report in .*: expected bench.json"):
        read_findings(tmp_path)
    with pytest.raises(Dyn2trtError, match="no such folder"):
        read_findings(tmp_path / "none")


def test_activity_of_other_sizes_is_refused(folder: Path) -> None:
    write_activity(folder / "activity.npz", np.zeros((3, 4, 4, 3), np.uint8), masks())
    with pytest.raises(Dyn2trtError, match=r"masks of 2 images, but 3 pictures"):
        read_findings(folder)


def command(*words: str) -> Any:
    app = typer.Typer()
    app.command()(report)
    return CliRunner().invoke(app, list(words))


def test_the_command_prints_the_paths(folder: Path) -> None:
    done = command(str(folder))
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(folder / "report.html"), str(folder / "report.md")]
    done = command(str(folder), "-o", str(folder / "other.html"), "--json", "--heat", "macs")
    assert json.loads(done.stdout)["html"] == str(folder / "other.html")
    assert (folder / "other.md").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--heat", "warm"), "--heat is blocks or macs, not warm"), (("-o", "report.pdf"), "names the HTML page")],
)
def test_wrong_options_say_what_is_right(folder: Path, words: tuple[str, ...], message: str) -> None:
    done = command(str(folder), *words)
    assert isinstance(done.exception, Dyn2trtError)
    assert message in str(done.exception)


def test_photographs_stay_photographs(whole: Written) -> None:
    with Image.open(whole.folder / "report-figures" / "input-1.jpg") as picture:
        assert picture.size == (460, 552)
    shown = read_findings(whole.folder).activity
    assert isinstance(shown, Decisions)
    assert shown.images.shape == (2, 24, 20, 3)
