"""A picture of where the network computes, to look at while it trains."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dyn2trt.gates import record_decisions
from dyn2trt.heat import heat_map, overlay
from dyn2trt.images import to_pictures
from dyn2trt.tasks.task import EpochDataset, Task

ROWS, COLUMNS = 4, 4


def sample_images(data: EpochDataset, count: int = ROWS * COLUMNS) -> Tensor:
    """Images spread over ``data``, float32 [count or fewer, 3, H, W]."""
    chosen = np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).astype(int))
    return torch.stack([data[int(index)][0] for index in chosen])


@torch.no_grad()
def heat_map_sheet(network: nn.Module, images: Tensor, task: Task) -> NDArray[np.uint8]:
    """A sheet of the images, each beside its heat map, RGB uint8 [H, W, 3]: the brighter, the more blocks computed,
    on one scale for the sheet.

    Leaves the network in evaluation mode.
    """
    network.eval()
    device = next(network.parameters()).device
    with record_decisions(network) as decisions:
        network(images.to(device))
    pictures = to_pictures(images.numpy(), mean=task.mean, std=task.std)
    masks = [(decision.mask != 0).cpu().numpy() for decision in decisions]
    heats = [heat_map(masks, index, picture.shape[:2]) for index, picture in enumerate(pictures)]
    top = max(heat.values.max() for heat in heats)
    pairs = zip(pictures, heats, strict=True)
    tiles = [np.concatenate([picture, overlay(picture, heat, top)], axis=1) for picture, heat in pairs]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in range(0, len(tiles), COLUMNS)]
    return np.concatenate(rows)
