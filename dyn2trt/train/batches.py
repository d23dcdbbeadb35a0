"""The order of the data: the same global batches for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dyn2trt.errors import Dyn2trtError
from dyn2trt.tasks.task import EpochDataset
from dyn2trt.train.processes import Process


class GlobalBatches(Sampler[list[int]]):
    """Batches of a shuffled epoch; each process takes its own equal part of every batch.

    What is left over when the batches are full is left out of that epoch.

    Raises:
        Dyn2trtError: the batch does not divide by the number of processes, or is larger than the data.
    """

    def __init__(self, length: int, batch_size: int, seed: int, process: Process) -> None:
        if batch_size % process.count:
            raise Dyn2trtError(f"a batch of {batch_size} does not divide among {process.count} processes")
        if batch_size > length:
            raise Dyn2trtError(f"a batch of {batch_size} is larger than the training data, {length} images")
        self._length, self._batch_size, self._seed, self._process = length, batch_size, seed, process
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length // self._batch_size

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(self._length, generator=generator).tolist()
        part = self._batch_size // self._process.count
        for batch in range(len(self)):
            first = batch * self._batch_size + self._process.rank * part
            yield order[first : first + part]


def training_loader(data: EpochDataset, batches: GlobalBatches, workers: int, device: torch.device) -> DataLoader:
    """Load the batches of one epoch after the other; set the epoch on ``data`` and ``batches`` first."""
    return DataLoader(_typed(data), batch_sampler=batches, num_workers=workers, pin_memory=device.type == "cuda")


def evaluation_loader(data: EpochDataset, batch_size: int, process: Process, workers: int) -> DataLoader:
    """Load all of ``data`` once, in order, each process its own contiguous part."""
    bounds = [len(data) * rank // process.count for rank in (process.rank, process.rank + 1)]
    return DataLoader(
        _typed(data),
        batch_size=batch_size,
        sampler=range(*bounds),
        num_workers=workers,
        pin_memory=process.device.type == "cuda",
    )


def _typed(data: EpochDataset) -> Dataset:
    return data  # type: ignore[return-value]
