"""What a run left in its folder: records of benchmarks, comparisons, masks and pictures, in whatever part it got to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyn2trt.activity.archive import Decisions, read_activity
from dyn2trt.bench.record import NotRun, Record, read_record
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata, parse_metadata, read_metadata

COMPARISON_FORMAT = 1
"""Of `dyn2trt.compare.result.Comparison`."""


@dataclass(frozen=True)
class RunFolder:
    path: Path
    metadata: ExportMetadata | None
    benches: tuple[Record, ...]
    comparison: dict[str, Any] | None
    """The JSON document of `dyn2trt.compare.result.Comparison`."""
    activity: Decisions | None
    missing: tuple[NotRun, ...]
    """Parts that the folder lacks."""


def read_run_folder(folder: str | os.PathLike[str]) -> RunFolder:
    """Read ``bench*.json``, ``compare.json``, ``activity.npz`` and the metadata of the model in ``folder``.

    Raises:
        Dyn2trtError: there is no such folder, it has neither a benchmark nor a comparison, or a file is damaged.
    """
    path = Path(folder)
    if not path.is_dir():
        raise Dyn2trtError(f"no such folder: {path}; dyn2trt run makes one, dyn2trt bench and compare fill one")
    benches = tuple(read_record(file) for file in sorted(path.glob("bench*.json")))
    comparison = _comparison(path / "compare.json")
    if not benches and comparison is None:
        raise Dyn2trtError(
            f"nothing to report in {path}: expected bench.json (dyn2trt bench) or compare.json (dyn2trt compare)"
        )
    archive = path / "activity.npz"
    activity = read_activity(archive) if archive.exists() else None
    missing = []
    if not benches:
        missing.append(NotRun("benchmark", f"{path.name} has no bench.json; dyn2trt bench writes it"))
    if comparison is None:
        missing.append(NotRun("accuracy comparison", f"{path.name} has no compare.json; dyn2trt compare writes it"))
    if activity is None:
        missing.append(NotRun("pictures", f"{path.name} has no activity.npz; dyn2trt bench writes it"))
    return RunFolder(path, _metadata(path), benches, comparison, activity, tuple(missing))


def _comparison(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Dyn2trtError(f"cannot read {file}: {error}; write it again with dyn2trt compare") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != COMPARISON_FORMAT:
        raise Dyn2trtError(
            f"{file} has format {found}, expected {COMPARISON_FORMAT}; write it again with dyn2trt compare"
        )
    return document


def _metadata(path: Path) -> ExportMetadata | None:
    """From ``metadata.json``, else from the first ONNX file that has any."""
    written = path / "metadata.json"
    if written.exists():
        return parse_metadata(written.read_text(encoding="utf-8"), str(written))
    files: Iterable[Path] = sorted(path.glob("*.onnx"), key=lambda file: (file.name != "model.onnx", file.name))
    for file in files:
        try:
            metadata = read_metadata(file)
        except Dyn2trtError:
            continue
        if metadata.blocks or metadata.kernels:
            return metadata
    return None
