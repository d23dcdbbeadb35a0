"""Bodies of the composites that choose, for every input, between the sparse and the dense way of the CPU.

The choice follows from the mask and the shapes alone. Costs are counted in multiply-accumulates; the constants below
say what the work that is none costs. They were fitted on two cores of an AVX-512 processor; they decide speed only.
"""

from __future__ import annotations

from dyn2trt.ops.bodies import bands, dense
from dyn2trt.ops.bodies.compositions import COMPOSITIONS, composition
from dyn2trt.ops.bodies.signature import EXPANDED_CHANNELS, SCHEDULE
from dyn2trt.ops.bodies.text import activation_constants, activation_kind, int_lists, is_attribute
from dyn2trt.ops.schema import Attribute

FIXED_MACS = 40_000_000
"""What gathering and scattering costs whatever the size of the map: some fifty small nodes."""
PERCENT_PER_SITE = 15
"""What it costs for every site of the map, in hundredths of that site's dense work: two transposes and a copy."""
BAND_SITE_HUNDREDTHS = 550
"""Dense sites that one column of a band costs, in hundredths: half the work on six lines, padded, half on four."""
ROW_PERCENT = 150
"""What a site costs in the composition, in hundredths of its dense work: neighbours are gathered one by one."""

_ACTIVE = """
    level = Constant <value_float: float = @threshold> ()
    active = GreaterOrEqual (mask, level)"""

_NUMBERS = int_lists(
    n_fixed=[FIXED_MACS * 100],
    n_site=[100 - PERCENT_PER_SITE],
    n_band=[BAND_SITE_HUNDREDTHS],
    n_row=[ROW_PERCENT],
    n9=[9],
)

_BAND_CHOICE = """
    c_2 = Mul (c, k2)
    c_2_9 = Add (c_2, n9)
    site_macs = Mul (e, c_2_9)
    dense_some = Mul (nhw, n_site)
    dense_all = Mul (dense_some, site_macs)
    dense_cost = Sub (dense_all, n_fixed)
    band_some = Mul (width, n_band)
    band_cost = Mul (band_some, site_macs)
    is_busy = Greater (band_cost, dense_cost)"""

_ROW_COUNTS = """
    marked = Cast <to = 1> (active)
    halo = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (marked)
    active_sum = ReduceSum <keepdims = 0> (marked)
    halo_sum = ReduceSum <keepdims = 0> (halo)
    active_count = Cast <to = 7> (active_sum)
    halo_count = Cast <to = 7> (halo_sum)
    out_sites = Size (mask)
    input_shape = Shape (x)
    input_n = Slice (input_shape, k0, k1)
    input_hw = Slice (input_shape, k2, k4)
    input_hw_n = Concat <axis = 0> (input_n, input_hw)
    input_sites = ReduceProd <keepdims = 0> (input_hw_n)"""

# Macs of a site before and after the halo: of the part that runs on the halo, and of the part at active sites alone.
_ROW_MACS = {
    "GatedBasicBlock": """
    halo_macs = Size (conv1_weight)
    active_macs = Size (conv2_weight)
    dense_halo_sites = Identity (out_sites)
    sparse_halo_sites = Identity (halo_count)""",
    "GatedBottleneck": """
    halo_macs = Size (conv1_weight)
    conv2_macs = Size (conv2_weight)
    conv3_macs = Size (conv3_weight)
    active_macs = Add (conv2_macs, conv3_macs)
    dense_halo_sites = Identity (input_sites)
    ratio = Div (input_sites, out_sites)
    sparse_halo_sites = Mul (halo_count, ratio)""",
}

_ROW_CHOICE = """
    dense_halo_macs = Mul (dense_halo_sites, halo_macs)
    dense_active_macs = Mul (out_sites, active_macs)
    dense_macs = Add (dense_halo_macs, dense_active_macs)
    dense_some = Mul (dense_macs, n_site)
    dense_cost = Sub (dense_some, n_fixed)
    row_halo_macs = Mul (sparse_halo_sites, halo_macs)
    row_active_macs = Mul (active_count, active_macs)
    row_macs = Add (row_halo_macs, row_active_macs)
    row_cost = Mul (row_macs, n_row)
    is_busy = Greater (row_cost, dense_cost)"""


_BUSY = """
    busy = Squeeze (is_busy)"""

# Of a node with schedule "dense" this is a constant: ONNX Runtime folds the choice, and drops the sparse way.
_BUSY_OR_DENSE = (
    is_attribute("is_dense", "schedule", "dense")
    + """
    busy = If (is_dense) <
      then_branch = always () => (busy_1) { busy_1 = Identity (is_dense) },
      else_branch = by_cost () => (busy_2) { busy_2 = Squeeze (is_busy) }
    >"""
)


def _finish(op: str, kind: str, sparse: str) -> str:
    """``y`` of the way that was chosen; ``sparse`` computes ``y_sparse``."""
    return f"""
    y = If (busy) <
      then_branch = finish_dense () => (y_dense) {{{dense.masked_sum(op, "y_dense", "dense_out", kind)}
      }},
      else_branch = finish_sparse () => (y_sparse) {{
{sparse}
      }}
    >"""


def _bands_or_dense(op: str, kind: str, busy: str) -> str:
    return (
        bands.CONSTANTS
        + bands.GEOMETRY
        + bands.STRIP_WEIGHT
        + bands.COLUMNS
        + _BAND_CHOICE
        + busy
        + bands.GATHER
        + bands.convolutions(kind)
        + dense.convolutions(op, "dense_out", "dense_x", kind)
        + bands.SCATTER
        + _finish(op, kind, "        y_sparse = Transpose <perm = [0, 3, 1, 2]> (written_last)")
    )


def _rows_or_dense(op: str, kind: str, busy: str) -> str:
    return (
        int_lists(k0=[0], k1=[1], k2=[2], k4=[4])
        + _ROW_COUNTS
        + _ROW_MACS[op]
        + _ROW_CHOICE
        + busy
        + """
    dense_x = If (busy) <
      then_branch = take_all () => (dense_x_1) { dense_x_1 = Identity (x) },
      else_branch = take_none () => (dense_x_2) { dense_x_2 = Slice (x, k0, k0, k0) }
    >"""
        + dense.convolutions(op, "dense_out", "dense_x", kind)
        + _finish(op, kind, composition(op, "y_sparse"))
    )


def adaptive_body(op: str, activations: set[str], schedules: set[str]) -> str:
    """The body for nodes that between them have these activations and schedules."""
    kind = activation_kind(activations)
    head = activation_constants(kind) + _NUMBERS + dense.WEIGHTS[op] + _ACTIVE
    if schedules == {"dense"}:
        return head + dense.convolutions(op, "dense_out", "x", kind) + dense.masked_sum(op, "y", "dense_out", kind)
    busy = _BUSY_OR_DENSE if "dense" in schedules else _BUSY
    choose = _bands_or_dense if op == "GatedInvertedResidual" else _rows_or_dense
    return head + choose(op, kind, busy)


HINTS: dict[str, tuple[Attribute, ...]] = {
    op: (SCHEDULE, EXPANDED_CHANNELS) if op == "GatedInvertedResidual" else (SCHEDULE,) for op in COMPOSITIONS
}
HINT_NAMES = (SCHEDULE.name, EXPANDED_CHANNELS.name)
