"""Checkpoints: loaded strictly, without running code from the file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dyn2trt.errors import Dyn2trtError

_SHOWN = 6


def load_checkpoint(network: nn.Module, path: str | os.PathLike[str], *, without: Sequence[str] = ()) -> None:
    """Load a checkpoint into ``network``, every weight or none.

    The file holds a state dict, bare or under ``state_dict``; a leading ``module.`` (DataParallel) is taken off.

    Args:
        without: prefixes of the file's keys that are left out.

    Raises:
        Dyn2trtError: the file is missing, truncated or needs code to load; keys are missing, unexpected or of
            another shape, all of them named by kind; a weight is NaN or infinite.
    """
    state = {k: v for k, v in read_state_dict(path).items() if not k.startswith(tuple(without))}
    expected = network.state_dict()
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


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint, on the CPU, without ``module.``.

    Raises:
        Dyn2trtError: the file is missing, truncated, needs code to load, or holds no state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise Dyn2trtError(f"no checkpoint at {path}") from None
    except pickle.UnpicklingError as error:
        raise Dyn2trtError(
            f"{path} is no checkpoint of plain tensors, and code in a checkpoint is not run; save the state_dict "
            f"alone ({_cause(error)})"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise Dyn2trtError(f"{path} is truncated or no checkpoint ({_first_line(error)})") from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not _is_state_dict(content):
        found = f"the keys {', '.join(map(str, list(content)[:_SHOWN]))}" if isinstance(content, Mapping) else "no dict"
        raise Dyn2trtError(f"{path} holds no state dict: expected parameter names with tensors, found {found}")
    prefix = "module." if all(key.startswith("module.") for key in content) else ""
    return {key.removeprefix(prefix): value for key, value in content.items()}


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _cause(error: pickle.UnpicklingError) -> str:
    """What the unpickler met, without torch's advice around it, which is to run the code after all."""
    _, _, after = str(error).partition("WeightsUnpickler error:")
    return (after.strip() or _first_line(error)).splitlines()[0].strip()


def _listed(kind: str, keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{kind} {', '.join(keys[:_SHOWN])}{more}"
