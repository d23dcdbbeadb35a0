"""Training by several processes, as torchrun starts them: who this one is, and what the processes share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from dyn2trt.errors import Dyn2trtError


@dataclass(frozen=True)
class Process:
    """This process among those of the run.

    Attributes:
        rank: 0 to ``count`` − 1; rank 0 writes the files.
        count: number of processes.
        device: where it computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def writes(self) -> bool:
        return self.rank == 0


@contextmanager
def joined(device: str = "auto") -> Iterator[Process]:
    """Join the run that torchrun started (environment RANK, WORLD_SIZE, LOCAL_RANK), or be a run of one process.

    Processes talk through NCCL on GPUs and gloo on CPUs.

    Args:
        device: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.

    Raises:
        Dyn2trtError: a GPU was asked for and there is none for this process.
    """
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if count == 1:
        yield Process(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", rank=rank, world_size=count)
    try:
        yield Process(rank, count, chosen)
    finally:
        dist.destroy_process_group()


def _device(wanted: str, local_rank: int) -> torch.device:
    if wanted not in ("auto", "cpu", "cuda"):
        raise Dyn2trtError(f"--device is auto, cpu or cuda, not {wanted}")
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise Dyn2trtError(
            f"process {local_rank} of this machine has no GPU: torch sees {torch.cuda.device_count()}; start fewer "
            "processes or use --device cpu"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def summed(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over all processes, without a gradient; ``tensor`` itself in a run of one."""
    if not dist.is_initialized():
        return tensor.detach()
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def mean_with_local_gradient(tensor: Tensor) -> Tensor:
    """The mean of ``tensor`` over all processes, whose gradient is that of this process's own value.

    DistributedDataParallel averages the gradients of the processes. With f of the mean as the loss, every process
    then contributes f'(mean) · d own, and their average is the gradient of f(mean).
    """
    if not dist.is_initialized():
        return tensor
    return tensor + (summed(tensor) / dist.get_world_size() - tensor.detach())


def wait_for_all() -> None:
    """Return when every process has come here."""
    if dist.is_initialized():
        dist.barrier()
