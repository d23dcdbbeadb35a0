"""Checkpoints: loaded strictly, whatever wrapped the network when it was saved."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor, nn

from dyn2trt.checkpoint_file import read_checkpoint_file
from dyn2trt.errors import Dyn2trtError

COUNTERS = ("total_ops", "total_params", "n_averaged")
"""Ends of keys that thop's profiler and ``torch.optim.swa_utils`` add to a network: single numbers, no weights."""

INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile and its siblings write into keys, wherever they wrapped a module."""

_SHOWN = 6


def load_checkpoint(network: nn.Module, path: str | os.PathLike[str], *, without: Sequence[str] = ()) -> None:
    """Load a checkpoint into ``network``, every weight or none.

    See `read_state_dict` for what the file may be.

    Args:
        without: prefixes of the file's keys that are left out.

    Raises:
        Dyn2trtError: the file is missing, truncated or needs code to load; keys are missing, unexpected or of
            another shape, all of them named by kind; a weight is NaN or infinite.
    """
    expected = network.state_dict()
    state = {k: v for k, v in read_state_dict(path, expected).items() if not k.startswith(tuple(without))}
    # BatchNorm counts batches since PyTorch 0.4.1; older files lack the count and nothing but training reads it.
    missing = [k for k in expected if k not in state and not k.endswith(".num_batches_tracked")]
    unexpected = [k for k in state if k not in expected]
    misshapen = [
        f"{k} {list(state[k].shape)} instead of {list(expected[k].shape)}"
        for k in expected
        if k in state and state[k].shape != expected[k].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    if problems := [_listed(kind, keys) for kind, keys in kinds.items() if keys]:
        raise Dyn2trtError(
            f"{path} does not fit {type(network).__name__}: {'; '.join(problems)}; check the network's options"
        )
    if broken := [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]:
        raise Dyn2trtError(f"{path} holds weights that are NaN or infinite, {_listed('in', broken)}; train again")
    network.load_state_dict(state, strict=False)


def read_state_dict(path: str | os.PathLike[str], expected: Collection[str] = ()) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint, on the CPU, with the names that the network itself gives its weights.

    Taken off are what wrappers put before all keys (``module.`` of DataParallel, ``model.`` of Lightning, any other,
    several in any order) and into them (`INSERTED`); left out are profilers' counters.

    Args:
        expected: the network's own names; of the prefixes that all keys share, the one goes without which most of the
            rest are among them. Without names, ``module.`` goes.

    Raises:
        Dyn2trtError: see `dyn2trt.checkpoint_file.read_checkpoint_file`.
    """
    state = {}
    for key, value in read_checkpoint_file(path).items():
        if value.numel() == 1 and key not in expected and key.rpartition(".")[2] in COUNTERS:
            continue
        for inserted in INSERTED if key not in expected else ():
            key = key.replace(inserted, "")
        state[key] = value
    prefixes = _shared_prefixes(list(state))
    fits = {prefix: sum(key.removeprefix(prefix) in expected for key in state) for prefix in prefixes}
    best = max(prefixes, key=lambda prefix: fits[prefix])  # The shortest of equals.
    if not fits[best]:
        best = max((prefix for prefix in prefixes if set(prefix.split(".")) <= {"module", ""}), key=len)
    return {key.removeprefix(best): value for key, value in state.items()}


def _shared_prefixes(keys: Sequence[str]) -> list[str]:
    """The prefixes of whole names that all keys share, the shortest, which is empty, first."""
    names = [same[0] for same in itertools.takewhile(lambda level: len(set(level)) == 1, _levels(keys))]
    return ["".join(f"{name}." for name in names[:count]) for count in range(len(names) + 1)]


def _levels(keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The first names of all keys, their second names, ..., as far as all have some before their last."""
    return zip(*(key.split(".")[:-1] for key in keys), strict=False)


def _listed(kind: str, keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{kind} {', '.join(keys[:_SHOWN])}{more}"
