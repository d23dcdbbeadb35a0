"""Loss and score of classification."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dyn2trt.errors import Dyn2trtError
from dyn2trt.tasks.task import Outputs, Target, shown


def cross_entropy(smoothing: float) -> Callable[[Outputs, Target], Tensor]:
    """The mean cross-entropy of class scores [N, classes] against ``label`` int64 [N], as a task's loss.

    Args:
        smoothing: share of the target that is spread over all classes (Szegedy et al., CVPR 2016, section 7), 0 to 1.
    """

    def loss(outputs: Outputs, target: Target) -> Tensor:
        return F.cross_entropy(_scores(outputs).float(), target["label"], label_smoothing=smoothing)

    return loss


def check(classes: int) -> Callable[[Outputs], None]:
    """A task's check for labels from 0 to ``classes`` - 1."""

    def check_scores(outputs: Outputs) -> None:
        if not isinstance(outputs, Tensor) or outputs.ndim != 2:
            raise Dyn2trtError(f"classification takes a network with one output [N, classes], not {shown(outputs)}")
        if outputs.shape[1] < classes:
            raise Dyn2trtError(
                f"the data has {classes} classes, and the network scores {outputs.shape[1]}; give it as many, such as "
                f"classes = {classes} in [network.options]"
            )

    return check_scores


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
