"""Loss and score of classification."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dyn2trt.tasks.task import Outputs, Target


def loss(outputs: Outputs, target: Target) -> Tensor:
    """Mean cross-entropy of class scores [N, classes] against ``label`` int64 [N]."""
    return F.cross_entropy(_scores(outputs).float(), target["label"])


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
