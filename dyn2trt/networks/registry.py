"""Networks register themselves: ``@network`` next to a builder says what it is, and its signature what may be set.

A parameter of a builder is an option: ``depth: Annotated[int, Meaning("weighted layers", choices=(18, 50))] = 18``.
`dyn2trt.networks.table` collects all builders in the table that the command line reads without importing torch.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from dyn2trt.networks.options import Meaning, Option, Value, parse_options

if TYPE_CHECKING:
    from torch import nn

Dynamic = Literal["positions", "layers", "kernels"]
Task = Literal["classification", "pose", "segmentation"]
Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclass(frozen=True)
class NetworkEntry:
    """One network.

    Attributes:
        name: as on the command line.
        doc: one line.
        dynamic: what every image decides: ``positions``, ``layers`` or ``kernels``.
        task: ``classification``, ``pose`` or ``segmentation``.
        input_shape: default input, (N, C, H, W).
        options: what may be set.
        builder: ``module:function`` taking the options as keywords.
    """

    name: str
    doc: str
    dynamic: Dynamic
    task: Task
    input_shape: tuple[int, int, int, int]
    options: tuple[Option, ...]
    builder: str

    def build(self, options: Mapping[str, Value]) -> nn.Module:
        """Build the network with random weights. Raises Dyn2trtError for a wrong option."""
        keywords = parse_options(self.name, self.options, options)
        module, _, function = self.builder.partition(":")
        return getattr(importlib.import_module(module), function)(**keywords)


REGISTERED: dict[str, NetworkEntry] = {}
"""Of the modules that were imported so far, by name."""


def network(
    doc: str, *, dynamic: Dynamic, input_shape: tuple[int, int, int, int], task: Task = "classification"
) -> Callable[[Builder], Builder]:
    """Register a builder under its own name; the arguments are the fields of `NetworkEntry`.

    Raises:
        ValueError: the name is taken, or a parameter lacks a default or its `Meaning`.
    """

    def register(builder: Builder) -> Builder:
        name, where = builder.__name__, f"{builder.__module__}:{builder.__name__}"
        taken = REGISTERED.get(name)
        if taken is not None and taken.builder != where:
            raise ValueError(f"{where} and {taken.builder} both register a network named {name}; rename one")
        REGISTERED[name] = NetworkEntry(name, doc, dynamic, task, input_shape, options_of(builder), where)
        return builder

    return register


def options_of(builder: Callable[..., Any]) -> tuple[Option, ...]:
    """The options that a builder's signature declares, in its order.

    Raises:
        ValueError: a parameter lacks a default or its `Meaning`.
    """
    hints = get_type_hints(builder, include_extras=True)
    options = []
    for parameter in inspect.signature(builder).parameters.values():
        marks = getattr(hints.get(parameter.name), "__metadata__", ())
        meaning = next((mark for mark in marks if isinstance(mark, Meaning)), None)
        if meaning is None or parameter.default is parameter.empty:
            raise ValueError(
                f"{builder.__name__}: expected {parameter.name}: Annotated[TYPE, Meaning(...)] = DEFAULT, got "
                f"{parameter}; every parameter of a network's builder is one of its options"
            )
        options.append(
            Option(parameter.name, parameter.default, meaning.doc, choices=meaning.choices, above=meaning.above)
        )
    return tuple(options)
