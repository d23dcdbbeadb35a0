"""Human pose by heat maps: targets, loss, and PCKh over MPII's 16 joints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dyn2trt.errors import Dyn2trtError
from dyn2trt.tasks.task import Outputs, Target, shown

JOINTS = (
    *("right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle", "pelvis", "thorax"),
    *("upper neck", "head top", "right wrist", "right elbow", "right shoulder"),
    *("left shoulder", "left elbow", "left wrist"),
)
MIRRORED = (5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10)
"""The joint that each becomes in the mirror."""
PARTS = {
    "head": (9,),
    "shoulder": (12, 13),
    "elbow": (11, 14),
    "wrist": (10, 15),
    "hip": (2, 3),
    "knee": (1, 4),
    "ankle": (0, 5),
}
UNCOUNTED = (6, 7)
"""Pelvis and thorax, which MPII's mean leaves out."""
STRIDE = 4
"""Of the heat maps against the input."""
SIGMA = 2.0


def heat_maps(
    joints: NDArray[np.float64], visible: NDArray[np.bool_], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Targets of a network with heat maps of ``size`` (H, W): a Gaussian of peak 1 and sigma 2 at each joint.

    As in the authors' code the peak sits at the nearest position and the Gaussian is cut at 3 sigma.

    Args:
        joints: [16, 2], x and y in the input, pixel centres at whole numbers.
        visible: bool [16].

    Returns:
        float32 [16, H, W], and bool [16]: the joints that are visible and touch the heat map.
    """
    centres = np.floor(joints / STRIDE + 0.5)
    reach = 3 * SIGMA
    limits = np.array([size[1], size[0]])
    there = visible & (centres + reach >= 0).all(axis=1) & (centres - reach < limits).all(axis=1)
    dx = np.arange(size[1])[None, None, :] - centres[:, 0, None, None]
    dy = np.arange(size[0])[None, :, None] - centres[:, 1, None, None]
    maps = np.exp(-(dx**2 + dy**2) / (2 * SIGMA**2)) * (np.abs(dx) <= reach) * (np.abs(dy) <= reach)
    return (maps * there[:, None, None]).astype(np.float32), there


def check(size: tuple[int, int]) -> Callable[[Outputs], None]:
    """A task's check for inputs of ``size`` (H, W)."""
    wanted = (len(JOINTS), size[0] // STRIDE, size[1] // STRIDE)

    def check_maps(outputs: Outputs) -> None:
        stacks = (outputs,) if isinstance(outputs, Tensor) else outputs
        if any(tuple(stack.shape[1:]) != wanted for stack in stacks):
            raise Dyn2trtError(
                f"pose takes a network with heat maps [N, {', '.join(map(str, wanted))}], one a stack, not "
                f"{shown(outputs)}; the hourglass gives them with joints = {len(JOINTS)} in [network.options]"
            )

    return check_maps


def loss(outputs: Outputs, target: Target) -> Tensor:
    """Half the mean squared error of the visible joints' heat maps, summed over the stacks."""
    weight = target["visible"][:, :, None, None].float()
    wanted = target["heat_maps"]
    stacks = (outputs,) if isinstance(outputs, Tensor) else outputs
    return torch.stack([0.5 * (weight * (stack.float() - wanted)).square().mean() for stack in stacks]).sum()


def positions(maps: Tensor) -> Tensor:
    """The peaks of heat maps [N, J, H, W], as x and y float32 [N, J, 2].

    A peak away from the border is moved by a quarter of a position towards its higher neighbour, in x and in y
    (Newell et al., ECCV 2016, section 3.1).
    """
    _, _, height, width = maps.shape
    flat = maps.flatten(2).argmax(dim=2)
    x, y = flat % width, flat // width
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    found = torch.stack([x, y], dim=2).float()
    for axis, (dx, dy) in enumerate(((1, 0), (0, 1))):
        ahead = (y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1)
        behind = (y - dy).clamp(0, height - 1) * width + (x - dx).clamp(0, width - 1)
        values = maps.flatten(2)
        slope = values.gather(2, ahead[:, :, None]) - values.gather(2, behind[:, :, None])
        found[:, :, axis] += 0.25 * torch.sign(slope[:, :, 0]) * inside
    return found


def counts(outputs: Outputs, target: Target) -> Tensor:
    """[visible joints, of them within 0.5 and within 0.1 of the head's size], float64 [3 · 16].

    ``to_picture`` [N, 2, 3] maps positions in the heat map to the picture that ``joints`` [N, 16, 2] are given in,
    and ``head`` [N] is the length that the distances are measured in.
    """
    last = outputs if isinstance(outputs, Tensor) else outputs[-1]
    found = positions(last.float()).double()
    matrix = target["to_picture"].double()
    found = found @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]
    distance = (found - target["joints"].double()).norm(dim=2) / target["head"].double()[:, None]
    visible = target["annotated"]
    hits = [(visible & (distance <= limit)).sum(dim=0) for limit in (0.5, 0.1)]
    return torch.cat([visible.sum(dim=0), *hits]).double()


def scores(total: Tensor) -> dict[str, float]:
    """PCKh@0.5 and @0.1 over all joints but pelvis and thorax, then PCKh@0.5 of each part.

    Percentage of correct keypoints by head size (Andriluka et al., CVPR 2014, section 4), as a fraction; a part is
    the mean of its left and right joint. The authors' script prints as "Mean@0.1" what is within 0.11; this is 0.1.
    """
    visible, half, tenth = total.view(3, len(JOINTS)).tolist()
    counted = [joint for joint in range(len(JOINTS)) if joint not in UNCOUNTED]

    def fraction(hits: list[float], joints: list[int]) -> float:
        seen = sum(visible[joint] for joint in joints)
        return sum(hits[joint] for joint in joints) / seen if seen else float("nan")

    parts = {part: sum(fraction(half, [joint]) for joint in joints) / len(joints) for part, joints in PARTS.items()}
    return {"pckh@0.5": fraction(half, counted), "pckh@0.1": fraction(tenth, counted), **parts}
