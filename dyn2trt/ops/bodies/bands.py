"""GatedInvertedResidual over bands of lines, in ONNX text: the sparse path that is quick on a CPU.

The image is cut into bands of four lines. Of each band only the columns with an active site, and their neighbours, are
gathered, six lines high (the halo of four), and all of them stand side by side as one short and very wide image. The
three convolutions of the block run on it as they would on any image, in ONNX Runtime's blocked layout, without a
reordering between them; the active sites are then picked out. Against gathering the exact halo this computes about
two thirds more positions in blobs, but the wide tensor (E channels) is never gathered, which costs more.

Two details. A position outside the image must read zero after the expansion and its activation, not act(bias): so the
bias is the weight of a further input channel, which is one inside the image, and the whole row is zero outside.
Channels come in multiples of 16 because only then does ONNX Runtime choose the blocked layout. And one column of
nothing is always there, for convolutions refuse an empty image.

Convolutions stand outside of every ``If``, as ONNX Runtime uses the blocked layout in the main graph only; what is not
wanted gets an empty batch or that one column. All else stands inside where it can: ONNX Runtime plans the memory of a
graph in time quadratic in its tensors of unknown shape, since it searches those already free for one to use again.
"""

from __future__ import annotations

from dyn2trt.ops.bodies.text import activation, int_lists

BAND_HEIGHT = 4

_CONSTANTS = int_lists(
    k0=[0],
    k1=[1],
    k2=[2],
    k_band=[BAND_HEIGHT],
    k_below=[BAND_HEIGHT - 1],
    k_lines=[BAND_HEIGHT + 2],
    k_end=[BAND_HEIGHT + 1],
    k16=[16],
    k_any=[-1],
    k_column=[-1, 1],
)

SIZES = (
    _CONSTANTS
    + """
    n = Shape <start = 0, end = 1> (x)
    c = Shape <start = 3> (expand_weight)
    h = Shape <start = 2, end = 3> (x)
    w = Shape <start = 3, end = 4> (x)
    hw = Mul (h, w)
    nhw = Mul (n, hw)
    h_up = Add (h, k_below)
    bands = Div (h_up, k_band)
    h_bands = Mul (bands, k_band)
    spare_lines = Sub (h_bands, h)"""
)

_TABLE = """
        zero_0d = Constant <value_int = 0> ()
        one_0d = Constant <value_int = 1> ()
        nhw_0d = Squeeze (nhw)
        ids_64 = Range (zero_0d, nhw_0d, one_0d)
        ids_flat = Cast <to = 6> (ids_64)
        nhw_shape = Concat <axis = 0> (n, h, w)
        ids = Reshape (ids_flat, nhw_shape)
        spare_lines_1 = Add (spare_lines, k1)
        ids_pads = Concat <axis = 0> (k0, k1, k1, k0, spare_lines_1, k1)
        ids_framed = Pad (ids, ids_pads, absent)
        bands_0d = Squeeze (bands)
        band = Range (zero_0d, bands_0d, one_0d)
        band_top = Mul (band, k_band)
        lines_0d = Squeeze (k_lines)
        line = Range (zero_0d, lines_0d, one_0d)
        line_column = Reshape (line, k_column)
        band_lines = Add (line_column, band_top)
        by_image = Gather <axis = 1> (ids_framed, band_lines)
        by_line = Transpose <perm = [1, 0, 2, 3]> (by_image)
        by_line_shape = Concat <axis = 0> (k_lines, k_any)
        table_some = Reshape (by_line, by_line_shape)
        table_pads = Concat <axis = 0> (k0, k0, k0, k1)
        table_2d = Pad (table_some, table_pads, absent)
        table = Unsqueeze (table_2d, k0)
        nothing_column = Shape <start = 1> (table_some)"""
"""``table`` int32[1, lines, all columns of all bands and one of nothing]: site id, −1 outside the image; constant for a
static shape."""

STRIP_WEIGHT = """
    e = Shape (expand_bias)
    c_up = Add (c, k16)
    c_blocks = Div (c_up, k16)
    c_strip = Mul (c_blocks, k16)
    c_spare = Sub (c_strip, c)
    c_unused = Sub (c_spare, k1)
    expand_2d_shape = Concat <axis = 0> (e, c)
    expand_2d = Reshape (expand_weight, expand_2d_shape)
    expand_bias_column = Unsqueeze (expand_bias, k1)
    unused_shape = Concat <axis = 0> (e, c_unused)
    unused_f = ConstantOfShape (unused_shape)
    unused = CastLike (unused_f, expand_weight)
    strip_2d = Concat <axis = 1> (expand_2d, expand_bias_column, unused)
    strip_4d_shape = Concat <axis = 0> (e, c_strip, k1, k1)
    strip_conv = Reshape (strip_2d, strip_4d_shape)
    spare_pads = Concat <axis = 0> (k0, k0, k0, k0, k0, k0, k0, c_spare)
    unit_f = Constant <value_float = 1.0> ()
    unit = CastLike (unit_f, expand_weight)"""

TOUCHED = """
    mark_pads = Concat <axis = 0> (k0, k0, k0, k2, k0, k0, spare_lines, k2)
    marked_framed = Pad (marked, mark_pads)
    touched = MaxPool <kernel_shape = [4, 3], strides = [4, 1]> (marked_framed)"""
"""``touched`` [N, 1, bands, columns]: one where the column of that band has an active site in or beside it."""

_COLUMNS = """
        touched_flat = Reshape (touched, k_any)
        touched_found = NonZero (touched_flat)
        touched_columns = Reshape (touched_found, k_any)
        columns = Concat <axis = 0> (touched_columns, nothing_column)
        strip_ids = Gather <axis = 2> (table, columns)"""
"""``strip_ids`` int32[1, lines, columns]: what the table has of the touched columns, and of the one of nothing."""

_PICKS = """
        out_ids_3d = Slice (strip_ids, k1, k_end, k1)
        out_ids = Reshape (out_ids_3d, k_any)
        out_inside = Greater (out_ids, absent)
        active_flat = Reshape (active, k_any)
        out_active = Gather (active_flat, out_ids)
        out_wanted = And (out_inside, out_active)
        picks_2d = NonZero (out_wanted)
        picks_2 = Reshape (picks_2d, k_any)
        picked_ids = Gather (out_ids, picks_2)
        picked_ids_64 = Cast <to = 7> (picked_ids)
        picked_sites_2 = Reshape (picked_ids_64, k_column)"""

GATHER = f"""
    absent = Constant <value = int32 {{-1}}> ()
    dense_x, last_sites, strips_last, picks, picked_sites = If (without_bands) <
      then_branch = gather_none () => (dense_x_1, last_sites_1, strips_last_1, picks_1, picked_sites_1) {{
        images = Where (busy, n, k0)
        dense_x_1 = Slice (x, k0, images, k0)
        no_sites = Concat <axis = 0> (k0, c)
        no_sites_f = ConstantOfShape (no_sites)
        last_sites_1 = CastLike (no_sites_f, x)
        strips_1_shape = Concat <axis = 0> (k1, k_lines, k1, c_strip)
        strips_1_f = ConstantOfShape (strips_1_shape)
        strips_last_1 = CastLike (strips_1_f, x)
        picks_1 = Slice (k0, k0, k0, k0)
        picked_sites_1 = Unsqueeze (picks_1, k1)
      }},
      else_branch = gather_bands () => (dense_x_2, last_sites_2, strips_last_2, picks_2, picked_sites_2) {{
        dense_x_2 = Slice (x, k0, k0, k0)
        last = Transpose <perm = [0, 2, 3, 1]> (x)
        sites_shape = Concat <axis = 0> (nhw, c)
        last_sites_2 = Reshape (last, sites_shape){_TABLE}{_COLUMNS}
        gathered = Gather (last_sites_2, strip_ids)
        gathered_wide = Pad (gathered, spare_pads, unit)
        is_inside = Greater (strip_ids, absent)
        is_inside_4d = Unsqueeze (is_inside, k_any)
        inside = CastLike (is_inside_4d, x)
        strips_last_2 = Mul (gathered_wide, inside){_PICKS}
      }}
    >"""
"""``dense_x``: all of x for the dense way, or no image. ``strips_last``: strips [1, lines, columns, channels], or that
one column. The rows ``picks`` of the strips' output go to ``picked_sites`` of ``last_sites`` [N·H·W, C], which is x
channels-last."""


def convolutions(kind: str) -> str:
    """``strip_out_last`` = the block's convolutions of the strips, after `STRIP_WEIGHT` and the dense weights."""
    expand = activation("strip_expand", "strip_expand_linear", kind)
    depthwise = activation("strip_depthwise", "strip_depthwise_linear", kind)
    return f"""
    strips = Transpose <perm = [0, 3, 1, 2]> (strips_last)
    strip_expand_linear = Conv (strips, strip_conv){expand}
    strip_depthwise_linear = Conv <group: int = @expanded_channels, pads = [0, 1, 0, 1]> (
      strip_expand, depthwise_conv, depthwise_bias){depthwise}
    strip_out = Conv (strip_depthwise, project_conv, project_bias)
    strip_out_last = Transpose <perm = [0, 2, 3, 1]> (strip_out)"""


SCATTER = """
    strip_rows_shape = Concat <axis = 0> (k_any, c)
    strip_rows = Reshape (strip_out_last, strip_rows_shape)
    picked_rows = Gather (strip_rows, picks)
    picked_x = GatherND (last_sites, picked_sites)
    picked_y = Add (picked_x, picked_rows)
    written = ScatterND (last_sites, picked_sites, picked_y)"""
"""``written`` [N·H·W, C] = x plus the strips' rows at the active sites."""

FINISH = """
            last_shape = Concat <axis = 0> (n, h, w, c)
            written_last = Reshape (written, last_shape)
            y_bands = Transpose <perm = [0, 3, 1, 2]> (written_last)"""
