"""What training writes down: one row of CSV an epoch, and TensorBoard events where they are wanted."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyn2trt.errors import MissingDependency
from dyn2trt.files import replacing


class EpochLog:
    """A CSV file with one row an epoch, rewritten whole; resuming takes off the rows of epochs that run again.

    Args:
        path: the file; created with the first row.
        first_epoch: rows from this epoch (counted from 1, as written) on are dropped.
    """

    def __init__(self, path: Path, first_epoch: int) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []
        if path.exists() and first_epoch > 1:
            with path.open(newline="", encoding="utf-8") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < first_epoch]

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row; it holds ``epoch`` and the same keys every time; columns of earlier rows that it lacks go."""
        self._rows.append({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
        with replacing(self._path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row), extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)


class TensorBoardLog:
    """The same rows, and pictures, as TensorBoard events.

    Raises:
        MissingDependency: the tensorboard package is not installed.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependency("--tensorboard needs the tensorboard package; pip install tensorboard") from error
        self._writer = SummaryWriter(str(folder), purge_step=first_epoch)

    def add(self, row: Mapping[str, float]) -> None:
        for key, value in row.items():
            if key != "epoch":
                self._writer.add_scalar(key, value, int(row["epoch"]))
        self._writer.flush()

    def add_picture(self, name: str, picture: Any, epoch: int) -> None:
        """``picture`` is RGB uint8 [H, W, 3]."""
        self._writer.add_image(name, picture, epoch, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
