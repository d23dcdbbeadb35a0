"""What a run left in its folder: records of benchmarks, comparisons, masks and pictures, in whatever part it got to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dyn2trt.activity.archive import Decisions, read_activity
from dyn2trt.bench.record import NotRun, Record, read_record
from dyn2trt.compare.result import Comparison, read_comparison
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata, parse_metadata, read_metadata
from dyn2trt.run_folder import RunFolder


@dataclass(frozen=True)
class Findings:
    """What a run found; None and empty where it did not get to it."""

    name: str
    """Of the folder."""
    metadata: ExportMetadata | None
    benches: tuple[Record, ...]
    comparison: Comparison | None
    activity: Decisions | None
    missing: tuple[NotRun, ...]
    """Parts that the folder lacks."""


def read_findings(path: str | os.PathLike[str]) -> Findings:
    """Read the records of benchmarks, the comparison, the decisions and the model's metadata in a run's folder.

    Raises:
        Dyn2trtError: there is no such folder, it has neither a benchmark nor a comparison, or a file is damaged.
    """
    folder = RunFolder(Path(path))
    name = folder.path.name
    if not folder.path.is_dir():
        raise Dyn2trtError(f"no such folder: {path}; dyn2trt run makes one, dyn2trt bench and compare fill one")
    benches = tuple(map(read_record, folder.benches))
    comparison = read_comparison(folder.comparison) if folder.comparison.exists() else None
    if not benches and comparison is None:
        raise Dyn2trtError(
            f"nothing to report in {path}: expected bench.json (dyn2trt bench) or compare.json (dyn2trt compare)"
        )
    activity = read_activity(folder.activity) if folder.activity.exists() else None
    missing = []
    if not benches:
        missing.append(NotRun("benchmark", f"{name} has no bench.json; dyn2trt bench writes it"))
    if comparison is None:
        missing.append(NotRun("accuracy comparison", f"{name} has no compare.json; dyn2trt compare writes it"))
    if activity is None:
        missing.append(NotRun("pictures", f"{name} has no activity.npz; dyn2trt bench writes it"))
    return Findings(name, _metadata(folder), benches, comparison, activity, tuple(missing))


def _metadata(folder: RunFolder) -> ExportMetadata | None:
    """From ``metadata.json``, else from the first ONNX file that has any."""
    written = folder.metadata
    if written.exists():
        return parse_metadata(written.read_text(encoding="utf-8"), str(written))
    files: Iterable[Path] = sorted(folder.path.glob("*.onnx"), key=lambda file: (file != folder.model, file.name))
    for file in files:
        try:
            metadata = read_metadata(file)
        except Dyn2trtError:
            continue
        if metadata.blocks or metadata.kernels:
            return metadata
    return None
