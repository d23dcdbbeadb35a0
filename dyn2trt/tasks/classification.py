"""Loss and score of classification."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dyn2trt.tasks.task import Outputs, Target


def cross_entropy(smoothing: float) -> Callable[[Outputs, Target], Tensor]:
    """The mean cross-entropy of class scores [N, classes] against ``label`` int64 [N], as a task's loss.

    Args:
        smoothing: share of the target that is spread over all classes (Szegedy et al., CVPR 2016, section 7), 0 to 1.
    """

    def loss(outputs: Outputs, target: Target) -> Tensor:
        return F.cross_entropy(_scores(outputs).float(), target["label"], label_smoothing=smoothing)

    return loss


def counts(outputs: Outputs, target: Target) -> Tensor:
    """[images, right at first guess, right among the first five]."""
    label = target["label"]
    ranked = _scores(outputs).topk(min(5, _scores(outputs).shape[1]), dim=1).indices
    hits = ranked == label[:, None]
    return torch.stack([torch.tensor(len(label)).to(label.device), hits[:, 0].sum(), hits.sum()]).double()


def scores(total: Tensor) -> dict[str, float]:
    """Accuracy at the first guess and among the first five."""
    images, first, five = total.tolist()
    return {"accuracy": first / images, "top5": five / images}


def _scores(outputs: Outputs) -> Tensor:
    assert isinstance(outputs, Tensor)
    return outputs
