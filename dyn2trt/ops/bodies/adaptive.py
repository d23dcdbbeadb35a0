"""Bodies of the composites that choose, for every input, between the sparse and the dense way of the CPU.

The choice follows from the mask and the shapes alone. Costs are counted in multiply-accumulates; the constants below
say what the work that is none costs. They were fitted on two cores of an AVX-512 processor; they decide speed only.
"""

from __future__ import annotations

from dyn2trt.contract import Attribute, BlockKind
from dyn2trt.contract.blocks import INVERTED_RESIDUAL
from dyn2trt.ops.bodies import bands, dense
from dyn2trt.ops.bodies.compositions import composition
from dyn2trt.ops.bodies.signature import EXPANDED_CHANNELS, SCHEDULE
from dyn2trt.ops.bodies.text import activation_constants, activation_kind, int_lists, is_attribute

FIXED_MACS = 15_000_000
"""What gathering and scattering costs whatever the size of the map: some fifty small nodes."""
VALUE_MACS = {"InvertedResidual": 95, "BasicBlock": 230, "Bottleneck": 40}
"""What it costs for every value of the output map: two transposes and a copy. Of others, the largest."""
BAND_PERCENT = 520
"""What one column of a band costs, in hundredths of a site's dense work: six sites high, four without the halo ..."""
BAND_THIN_PERCENT = 7_500
"""... and what that is more with few channels, to be divided by their number."""
ROW_PERCENT = 125
"""What a site costs in the composition, in hundredths of its dense work ..."""
ROW_THIN_PERCENT = 3_300
"""... and what gathering its neighbours one by one adds, to be divided by the channels that the 3×3 reads."""
DEPTHWISE_ROW_PERCENT = 335
"""The same for an inverted residual at an active site, whose nine wide neighbours are gathered ..."""
DEPTHWISE_HALO_PERCENT = 35
"""... and at a site of the halo, where only the expansion runs."""

_ACTIVE = """
    level = Constant <value_float: float = @threshold> ()
    active = GreaterOrEqual (mask, level)"""

# Beside what reads it: ONNX Runtime warns of a value that only subgraphs read and that it would rather fold.
_MARKED = """
    marked = Cast <to = 1> (active)"""

_BAND_NUMBERS = int_lists(
    n_band=[BAND_PERCENT],
    n_thin=[BAND_THIN_PERCENT],
    n_row_active=[DEPTHWISE_ROW_PERCENT],
    n_row_halo=[DEPTHWISE_HALO_PERCENT],
    n9=[9],
)
_ROW_NUMBERS = int_lists(n_row=[ROW_PERCENT], n_thin=[ROW_THIN_PERCENT])

_BAND_CHOICE = """
    c_2 = Mul (c, k2)
    c_2_9 = Add (c_2, n9)
    site_macs = Mul (e, c_2_9)
    site_cost = Mul (site_macs, n_percent)
    site_moves = Mul (c, n_value)
    site_gain = Sub (site_cost, site_moves)
    dense_gain = Mul (nhw, site_gain)
    dense_cost = Sub (dense_gain, n_fixed)
    band_thin = Div (n_thin, c)
    band_percent = Add (n_band, band_thin)
    touched_sum = ReduceSum <keepdims = 0> (touched)
    touched_total = Cast <to = 7> (touched_sum)
    band_sites = Mul (touched_total, band_percent)
    row_active = Mul (active_total, n_row_active)
    row_halo = Mul (halo_total, n_row_halo)
    row_sites = Add (row_active, row_halo)
    sparse_sites = Min (band_sites, row_sites)
    sparse_cost = Mul (sparse_sites, site_macs)
    is_busy = Greater (sparse_cost, dense_cost)
    busy = Squeeze (is_busy)
    is_scattered = Less (row_sites, band_sites)
    scattered = Squeeze (is_scattered)"""

_COUNTS = """
    halo = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (marked)
    active_sum = ReduceSum <keepdims = 0> (marked)
    halo_sum = ReduceSum <keepdims = 0> (halo)
    active_total = Cast <to = 7> (active_sum)
    halo_total = Cast <to = 7> (halo_sum)"""

_SITES = """
    out_sites = Size (mask)
    input_shape = Shape (x)
    input_n = Slice (input_shape, k0, k1)
    input_hw = Slice (input_shape, k2, k4)
    input_hw_n = Concat <axis = 0> (input_n, input_hw)
    input_sites = ReduceProd <keepdims = 0> (input_hw_n)"""


def _row_macs(block: BlockKind) -> str:
    """Macs of a site of the part that runs on the halo, and of the part at active sites alone."""
    indices = range(len(block.convolutions))
    names = [convolution.name for convolution in block.convolutions]
    text = _sum_of_sizes("halo_macs", [names[i] for i in indices if block.is_on_halo(i)])
    text += _sum_of_sizes("active_macs", [names[i] for i in indices if not block.is_on_halo(i)])
    reader = block.halo_reader
    if reader is None or not reader.strided:
        return (
            text
            + """
    dense_halo_sites = Identity (out_sites)
    sparse_halo_sites = Identity (halo_total)"""
        )
    return (
        text
        + """
    dense_halo_sites = Identity (input_sites)
    ratio = Div (input_sites, out_sites)
    sparse_halo_sites = Mul (halo_total, ratio)"""
    )


def _sum_of_sizes(result: str, names: list[str]) -> str:
    """``result`` = the number of weights of these convolutions."""
    text, total = f"\n    {result}_0 = Constant <value_int = 0> ()", f"{result}_0"
    for index, name in enumerate(names):
        before, total = total, result if name is names[-1] else f"{result}_{index + 1}"
        text += f"\n    {name}_macs = Size ({name}_weight)\n    {total} = Add ({before}, {name}_macs)"
    return text if names else f"{text}\n    {result} = Identity ({total})"


_ROW_CHOICE = """
    dense_halo_macs = Mul (dense_halo_sites, halo_macs)
    dense_active_macs = Mul (out_sites, active_macs)
    dense_macs = Add (dense_halo_macs, dense_active_macs)
    dense_all = Mul (dense_macs, n_percent)
    out_values = Size (identity)
    moves = Mul (out_values, n_value)
    dense_gain = Sub (dense_all, moves)
    dense_cost = Sub (dense_gain, n_fixed)
    row_halo_macs = Mul (sparse_halo_sites, halo_macs)
    row_active_macs = Mul (active_total, active_macs)
    row_macs = Add (row_halo_macs, row_active_macs)
    read_channels = Shape <start = {axis}> ({reader}_weight)
    row_thin = Div (n_thin, read_channels)
    row_percent = Add (n_row, row_thin)
    row_cost = Mul (row_macs, row_percent)
    is_busy = Greater (row_cost, dense_cost)
    busy = Squeeze (is_busy)"""


def _row_choice(block: BlockKind) -> str:
    reader = block.halo_reader or block.convolutions[-1]
    return _ROW_CHOICE.format(axis=2 if reader.depthwise else 3, reader=reader.name)


def _finish(block: BlockKind, kind: str, sparse: str) -> str:
    """``y_chosen`` of the way that was chosen; ``sparse`` computes ``y_sparse``."""
    return f"""
    y_chosen = If (busy) <
      then_branch = finish_dense () => (y_dense) {{{dense.masked_sum(block, "y_dense", "dense_out", kind)}
      }},
      else_branch = finish_sparse () => (y_sparse) {{
{sparse}
      }}
    >"""


_BANDS_OR_ROWS = f"""
        y_sparse = If (scattered) <
          then_branch = run_rows () => (y_rows) {{
{composition(INVERTED_RESIDUAL, "y_rows")}
          }},
          else_branch = finish_bands () => (y_bands) {{{bands.FINISH}
          }}
        >"""


def _numbers(block: BlockKind) -> str:
    value = VALUE_MACS.get(block.name, max(VALUE_MACS.values()))
    return int_lists(n_fixed=[FIXED_MACS * 100], n_value=[value * 100], n_percent=[100])


def _bands_or_dense(block: BlockKind, kind: str) -> str:
    return (
        _BAND_NUMBERS
        + "\n"
        + bands.SIZES
        + bands.STRIP_WEIGHT
        + bands.TOUCHED
        + _COUNTS
        + _BAND_CHOICE
        + "\n    without_bands = Or (busy, scattered)"
        + bands.GATHER
        + bands.convolutions(kind)
        + dense.convolutions(block, "dense_out", "dense_x", kind)
        + bands.SCATTER
        + _finish(block, kind, _BANDS_OR_ROWS)
    )


def _rows_or_dense(block: BlockKind, kind: str) -> str:
    return (
        _ROW_NUMBERS
        + "\n"
        + int_lists(k0=[0], k1=[1], k2=[2], k4=[4])
        + _COUNTS
        + _SITES
        + _row_macs(block)
        + _row_choice(block)
        + """
    dense_x = If (busy) <
      then_branch = take_all () => (dense_x_1) { dense_x_1 = Identity (x) },
      else_branch = take_none () => (dense_x_2) { dense_x_2 = Slice (x, k0, k0, k0) }
    >"""
        + dense.convolutions(block, "dense_out", "dense_x", kind)
        + _finish(block, kind, composition(block, "y_sparse"))
    )


def _always_dense(block: BlockKind, kind: str, result: str) -> str:
    prefix = "always_"
    out = f"{prefix}out"
    return dense.convolutions(block, out, "x", kind, prefix) + dense.masked_sum(block, result, out, kind, prefix)


def adaptive_body(block: BlockKind, activations: set[str], schedules: set[str]) -> str:
    """The body for nodes that between them have these activations and schedules."""
    kind = activation_kind(activations)
    head = activation_constants(kind) + dense.weights(block) + _ACTIVE
    if schedules == {"dense"}:
        return head + _always_dense(block, kind, "y")
    choose = _bands_or_dense if block is INVERTED_RESIDUAL else _rows_or_dense
    chosen = _numbers(block) + _MARKED + "\n" + choose(block, kind)
    if "dense" not in schedules:
        return f"{head}{chosen}\n    y = Identity (y_chosen)"
    # A constant for each node. ONNX Runtime folds it and drops the other way whole: what is merely unused would run.
    return f"""{head}{is_attribute("is_dense", "schedule", "dense")}
    y = If (is_dense) <
      then_branch = run_dense () => (y_always) {{{_always_dense(block, kind, "y_always")}
      }},
      else_branch = choose () => (y_chosen) {{
{chosen}
      }}
    >"""


def hints_of(block: BlockKind) -> tuple[Attribute, ...]:
    """What nodes of a block's composites tell an adaptive body."""
    depthwise = any(convolution.depthwise for convolution in block.convolutions)
    return (SCHEDULE, EXPANDED_CHANNELS) if depthwise else (SCHEDULE,)


HINT_NAMES = (SCHEDULE.name, EXPANDED_CHANNELS.name)
