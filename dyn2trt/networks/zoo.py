"""The networks by name. Listing them imports no torch; building one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.options import Value, nearest
from dyn2trt.networks.registry import NetworkEntry
from dyn2trt.networks.table import read_table
from dyn2trt.networks.user import build_user_network

if TYPE_CHECKING:
    from torch import nn

NETWORKS: dict[str, NetworkEntry] = read_table()


def network_entry(name: str) -> NetworkEntry:
    """The network of the zoo with this name. Raises Dyn2trtError, naming the nearest, where there is none."""
    if name not in NETWORKS:
        raise Dyn2trtError(
            f"no network is named {name!r}{nearest(name, NETWORKS)}; there are {', '.join(NETWORKS)}, and your own as "
            "package.module:callable"
        )
    return NETWORKS[name]


def build_network(name: str, options: Mapping[str, Value] | None = None) -> nn.Module:
    """Build a network of the zoo, or a user's own by ``package.module:callable``, with random weights.

    Args:
        name: a key of `NETWORKS`, or ``package.module:callable`` where the callable takes the options as keywords
            and returns an ``nn.Module``; the module may lie in the working directory.
        options: values, or strings as typed on the command line.

    Raises:
        Dyn2trtError: an unknown network or option, or a value that the option refuses.
    """
    if ":" in name:
        return build_user_network(name, options or {})
    return network_entry(name).build(options or {})
