"""Scores and executed multiply-accumulates of a network over a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from dyn2trt.gates import Decision, record_decisions
from dyn2trt.macs import MacReport
from dyn2trt.tasks.task import Task
from dyn2trt.train.precision import autocast
from dyn2trt.train.processes import Process, summed


@dataclass(frozen=True)
class Evaluation:
    """What a network achieved on one part of the data, and at what cost.

    Attributes:
        scores: by name, the task's main score first.
        loss: the task's loss.
        images: number of images.
        macs: multiply-accumulates an image, executed, gates included; all of them for a network that runs dense.
        executed: fraction of the gated blocks' multiply-accumulates that was executed.
        activity: by block, fraction of its positions that were active.
        on_object, object_area: fraction of executed positions on the object, and of the image that it covers; None
            for tasks that do not know the object. A position at a coarse grid is on the object by its nearest pixel.
    """

    scores: dict[str, float]
    loss: float
    images: int
    macs: float
    executed: float
    activity: dict[str, float]
    on_object: float | None
    object_area: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@torch.no_grad()
def evaluate(
    network: nn.Module, task: Task, loader: DataLoader, report: MacReport, process: Process, precision: str = "fp32"
) -> Evaluation:
    """Run ``network`` over ``loader``, which gives every process its part; leaves it in evaluation mode.

    Args:
        report: of the network at the size of the images.
    """
    network.eval()
    device = process.device
    score_sum: Tensor | None = None
    # Loss, images, executed gated and total multiply-accumulates; executed positions, of them on the object; pixels,
    # of them the object's.
    sums = torch.zeros(8, dtype=torch.float64)
    active = torch.zeros(len(report.blocks), dtype=torch.float64)
    for images, given in loader:
        target = {name: value.to(device) for name, value in given.items()}
        with record_decisions(network) as decisions, autocast(device, precision):
            outputs = network(images.to(device))
        counted = task.counts(outputs, target).cpu()
        score_sum = counted if score_sum is None else score_sum + counted
        sums[0] += task.loss(outputs, target).item() * len(images)
        sums[1] += len(images)
        if decisions:
            cost = report.active(decisions)
            sums[2] += cost.gated.sum().item()
            sums[3] += cost.total.sum().item()
            active += torch.stack([d.mask.double().mean() for d in decisions]).cpu() * len(images)
            if "object" in target:
                sums[4:] += _on_object(decisions, target["object"])
        else:
            sums[2] += report.macs_gated * len(images)
            sums[3] += report.macs_dense * len(images)
    assert score_sum is not None
    score_sum, sums, active = (summed(tensor.to(device)).cpu() for tensor in (score_sum, sums, active))
    loss, count, gated, total, positions, hits, pixels, covered = sums.tolist()
    return Evaluation(
        scores=task.scores(score_sum),
        loss=loss / count,
        images=int(count),
        macs=total / count,
        executed=gated / count / report.macs_gated if report.macs_gated else 1.0,
        activity={b.name: fraction for b, fraction in zip(report.blocks, (active / count).tolist(), strict=True)},
        on_object=hits / positions if positions else None,
        object_area=covered / pixels if pixels else None,
    )


def _on_object(decisions: Sequence[Decision], objects: Tensor) -> Tensor:
    """[executed positions, of them on the object, pixels, of them the object's], float64 on the CPU."""
    sums = torch.zeros(4, dtype=torch.float64)
    whole = objects[:, None].float()
    for decision in decisions:
        there = F.interpolate(whole, size=decision.mask.shape[2:], mode="nearest-exact")
        sums[0] += decision.mask.sum().item()
        sums[1] += (decision.mask * there).sum().item()
    sums[2] += objects.numel()
    sums[3] += whole.sum().item()
    return sums
