"""A user's own network, named ``package.module:callable``."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.options import Value, nearest

if TYPE_CHECKING:
    from torch import nn


def build_user_network(name: str, options: Mapping[str, Value]) -> nn.Module:
    """Import and call ``package.module:callable`` with ``options`` as keywords; strings that are literals are parsed.

    Raises:
        Dyn2trtError: the module or the callable is not there, an option is unknown or missing, or what comes back is
            no ``nn.Module``. What the user's code raises itself passes through.
    """
    from torch import nn

    function = _import(name)
    keywords = {key: _literal(value) for key, value in options.items()}
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in keywords:
        if key not in parameters and not takes_any:
            raise Dyn2trtError(
                f"{name} has no option {key!r}{nearest(key, parameters)}; it has {', '.join(parameters) or 'none'}"
            )
    required = [p.name for p in parameters.values() if p.default is p.empty and p.kind not in (2, 4)]
    if missing := [p for p in required if p not in keywords]:
        raise Dyn2trtError(f"{name} wants {', '.join(missing)}; give --set {missing[0]}=VALUE")
    network = function(**keywords)
    if not isinstance(network, nn.Module):
        raise Dyn2trtError(f"{name} returned {type(network).__name__}; a network is a torch.nn.Module")
    return network


def _import(name: str) -> Callable[..., Any]:
    module_name, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A dependency that the user's module lacks is not a mistake in the name: show where it happened.
        if not error.name or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise Dyn2trtError(
            f"no module is named {error.name!r} (for {name}); run in its folder or put it on PYTHONPATH"
        ) from None
    except (ValueError, TypeError):
        raise Dyn2trtError(f"{name!r} is not of the form package.module:callable") from None
    finally:
        sys.path.remove(os.getcwd())
    function = getattr(module, attribute, None)
    if not callable(function):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise Dyn2trtError(f"{module_name} has no callable {attribute!r}{nearest(attribute, public)}")
    return function


def _literal(value: Value) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
    except (ValueError, SyntaxError):
        return value
