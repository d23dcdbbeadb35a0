"""What a comparison leaves behind for other tools: Polygraphy's files, and the masks for the report's pictures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from polygraphy.comparator import RunResults
from polygraphy.json import save_json

from dyn2trt.compare import runs
from dyn2trt.compare.comparison import Evidence
from dyn2trt.compare.names import COEFFICIENTS, MASK
from dyn2trt.files import replacing
from dyn2trt.images import to_pictures

ACTIVITY = "activity.npz"


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
    """Write the images, and what the reference decided on them, as .npz.

    ``images`` RGB uint8 [N, H, W, 3]; ``mask{i}`` bool [N, 1, Ho, Wo] of the gated blocks; ``coefficients{i}`` float32
    [N, size] of the predictors of dynamic kernels.
    """
    arrays: dict[str, Any] = {f"{MASK}{index}": mask for index, mask in enumerate(evidence.reference_masks)}
    arrays |= {f"{COEFFICIENTS}{index}": values for index, values in enumerate(evidence.reference_coefficients)}
    arrays["images"] = to_pictures(evidence.x, mean=mean, std=std)
    with replacing(path) as temporary, temporary.open("wb") as file:  # To a path NumPy would add .npz.
        np.savez_compressed(file, **arrays)
