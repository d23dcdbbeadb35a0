"""What feeds what in a network: the operations of one forward pass, in order, with their very tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def without_arithmetic() -> FakeTensorMode:
    """A context in which tensors have shapes, types and devices but no values, as while ``torch.export`` traces."""
    return FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv())


def empty_input(network: nn.Module, input_shape: Sequence[int]) -> Tensor:
    """An input without values, on the device and of the type of the network's parameters."""
    like = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
    return torch.empty(*input_shape, dtype=like.dtype, device=like.device)


@dataclass(frozen=True)
class Call:
    """One operation of ATen, or one call of a module that is taken as a whole.

    Attributes:
        op: its name without overload and namespace, such as ``convolution``; the class of a module taken as a whole.
        args: positional arguments; tensors are the same objects in every call that takes or gives them.
        output: what it returned.
        module: the innermost module that was running.
    """

    op: str
    args: tuple[Any, ...]
    output: Any
    module: nn.Module | None


class Recorder(TorchDispatchMode):
    """Records what runs while it is entered.

    Args:
        whole: modules to take as a whole: their operations are left out, and one call stands for them.
    """

    def __init__(self, whole: Callable[[nn.Module], bool] = lambda _: False) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.entered: Counter[nn.Module] = Counter()
        """How often each module was called."""
        self._whole = whole
        self._running: list[nn.Module] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        # ``prim`` asks for a tensor's device and the like.
        if func.namespace != "prim" and not any(map(self._whole, self._running)):
            values = (*args, *(kwargs or {}).values())
            name = func._schema.name.rpartition("::")[2]
            self.calls.append(Call(name, values, output, self._running[-1] if self._running else None))
        return output

    def uses(self) -> Counter[int]:
        """How many arguments of calls each tensor is, by its ``id``; the calls keep the tensors alive."""
        return Counter(id(leaf) for call in self.calls for leaf in tree_leaves(call.args) if isinstance(leaf, Tensor))

    @contextmanager
    def watching_modules(self) -> Iterator[None]:
        """Know the running module, for calls while this lasts."""

        def enter(module: nn.Module, _args: Any) -> None:
            self.entered[module] += 1
            self._running.append(module)

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self._running.pop()
            if self._whole(module):
                parameters = tuple(module._parameters.values())
                self.calls.append(Call(type(module).__name__, (*args, *parameters), output, module))

        hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def observe(
    network: nn.Module, input_shape: Sequence[int], whole: Callable[[nn.Module], bool] = lambda _: False
) -> Recorder:
    """Run ``network`` without arithmetic on an input of ``input_shape``; what it returns counts as used."""
    recorder = Recorder(whole)
    with torch.no_grad(), without_arithmetic(), recorder, recorder.watching_modules():
        output = network(empty_input(network, input_shape))
    recorder.calls.append(Call("return", (output,), None, None))
    return recorder
