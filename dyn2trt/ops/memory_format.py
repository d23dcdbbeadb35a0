"""The memory format of the ops' dense outputs."""

from __future__ import annotations

import torch
from torch import Tensor


def output_format(like: Tensor) -> torch.memory_format:
    """Channels-last where ``like`` is stored so (and not contiguous as well), contiguous otherwise.

    Every implementation of an op, its fake included, gives its dense output this format, so that torch.compile may
    rely on it.
    """
    if like.is_contiguous() or not like.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last
