"""What a comparison leaves behind for other tools: Polygraphy's files, and the masks for the report's pictures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from polygraphy.comparator import RunResults
from polygraphy.json import save_json

from dyn2trt.activity.archive import write_activity
from dyn2trt.compare import runs
from dyn2trt.compare.comparison import Evidence
from dyn2trt.files import replacing
from dyn2trt.images import to_pictures


def save_runs(evidence: Evidence, folder: Path) -> list[Path]:
    """Write inputs and outputs as Polygraphy reads them with ``--load-inputs`` and ``--load-outputs``.

    ``inputs.json`` and ``outputs.json`` are of the model as it is, ``forced_inputs.json`` and ``forced_outputs.json``
    with the reference's masks forced. Returns the files.
    """
    files = []
    pairs = [("", evidence.feeds, evidence.free), ("forced_", evidence.forced_feeds, evidence.forced)]
    for prefix, feeds, results in pairs:
        if not results:
            continue
        with runs.quiet(), replacing(folder / f"{prefix}inputs.json") as path:
            save_json([OrderedDict(feed) for feed in feeds], str(path))
        with runs.quiet(), replacing(folder / f"{prefix}outputs.json") as path:
            RunResults(list(results.items())).save(str(path))
        files += [folder / f"{prefix}inputs.json", folder / f"{prefix}outputs.json"]
    return files


def save_activity(evidence: Evidence, path: Path, *, mean: Sequence[float], std: Sequence[float]) -> None:
    """Write the images, and what the reference decided on them, for a report (`dyn2trt.activity.archive`)."""
    pictures = to_pictures(evidence.x, mean=mean, std=std)
    write_activity(path, pictures, evidence.reference_masks, evidence.reference_coefficients)
