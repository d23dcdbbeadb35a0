"""``[train]``: the options of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dyn2trt.recipe.sections import Section
from dyn2trt.recipe.values import FilePath, Fraction, Positive, Rates

CRITERIA = ("budget", "target_rate", "ponder")
"""Keys of ``[train]`` of which each is one way of training gates."""


class TrainSection(Section):
    """``[train]``: how ``dyn2trt train`` trains the network; the recipe's input shape is the size trained at."""

    task: Literal["digits", "figures", "cifar10", "imagenet", "mpii"]
    """digits and figures are made from scikit-learn's bundled images and need no download."""
    data: FilePath | None = None
    """Folder of the data set, for cifar10, imagenet and mpii."""
    samples: Positive | None = None
    """Images an epoch, for digits and figures."""
    start: FilePath | None = None
    """A checkpoint of the same network to fine-tune; a dense one, without gates, gets gates that begin open."""

    budget: Fraction | None = None
    """Fraction of the gated blocks' multiply-accumulates to execute. Without one, and without the two that follow, the
    network trains dense, ungated."""
    target_rate: Rates | None = None
    """How often each layer executes, for gates that skip whole layers (ConvNet-AIG); in place of a budget. One number
    for all gated layers, or a list of one for each, in order of execution."""
    ponder: Annotated[float, Field(ge=0)] | None = None
    """Weight of the ponder cost, for networks whose positions halt (SACT); in place of a budget. The paper's τ, 0.001
    to 0.01."""
    alpha: Annotated[float, Field(ge=0)] | None = None
    """Weight of the criterion of budget or target_rate. Left out, it is 10 for a budget, which is right beside a
    cross-entropy (0.01 is beside the mean squared error of heat maps), and 2 for a target rate, its authors' value for
    CIFAR-10 (for ImageNet they have 1)."""
    anneal: Annotated[float, Field(gt=0, le=1)] = 1 / 3
    """Fraction of training over which the blocks' bounds widen."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Of the Gumbel-Softmax."""
    noise_until: Fraction = 0.8
    """Fraction of training after which the Gumbel noise is off; the best epoch is sought after it, with any network."""

    epochs: Positive
    batch_size: Positive
    """Of all processes together."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of sgd."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of the cross-entropy of classification, in training and in the losses that validation reports."""
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[Positive, ...] = ()
    """Epochs at which schedule step multiplies the learning rate by 0.1."""
    warmup: Annotated[float, Field(ge=0)] = 0.0
    """Epochs over which the learning rate rises from 0."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Of the arithmetic (automatic mixed precision); weights, gates and losses stay fp32."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of initial weights, order, augmentation and Gumbel noise."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load data, for each training process."""
    pictures: Annotated[int, Field(ge=0)] = 0
    """Epochs between heat-map pictures; 0 for none."""

    @model_validator(mode="after")
    def _consistent(self) -> TrainSection:
        made = self.task in ("digits", "figures")
        if not made and self.data is None:
            raise ValueError(f"task {self.task} needs data, the folder of the data set")
        if not made and self.samples is not None:
            raise ValueError(f"samples is for digits and figures; {self.task} has as many images as its folder")
        if self.label_smoothing and self.task in ("figures", "mpii"):
            raise ValueError(f"label_smoothing is for classification; {self.task} has no classes")
        if len(given := [key for key in CRITERIA if getattr(self, key) is not None]) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one (--set {given[0]}=none unsets a key)")
        if self.ponder is not None and self.alpha is not None:
            raise ValueError(
                "alpha does nothing beside ponder, a weight itself; leave it out (--set alpha=none unsets it)"
            )
        if self.budget is None and "anneal" in self.model_fields_set:
            raise ValueError("anneal does nothing without a budget; leave it out (--set anneal=none unsets it)")
        if self.milestones and self.schedule != "step":
            raise ValueError(f"milestones belong to schedule step, not {self.schedule}")
        return self
