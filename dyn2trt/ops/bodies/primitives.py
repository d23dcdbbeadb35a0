"""Bodies of the primitives, in ONNX text. They are exact: P is the number of sites, rows in row-major order of them.

Every choice that depends on attributes alone is an ``If`` on constants, which ONNX Runtime folds away.
"""

from __future__ import annotations

from dyn2trt.ops.bodies.text import activation, activation_constants, activation_kind, fitted, int_lists, is_attribute

# The input sites that active sites read: a transposed convolution of the activity with a kernel of ones, cropped to
# the grid of x (a negative pad crops).
_MASK_GATHER = (
    int_lists(k0=[0], k1=[1], k2=[2], k_any=[-1], k_1_1=[1, 1], k_0_0=[0, 0], k_axes=[1, 2, 3])
    + """
    zero_f = Constant <value_float = 0.0> ()
    zero_0d = Constant <value_int = 0> ()
    one_0d = Constant <value_int = 1> ()
    level = Constant <value_float: float = @threshold> ()
    active = GreaterOrEqual (mask, level)
    marked = Cast <to = 1> (active)
    kernel = Constant <value_ints: ints = @kernel_shape> ()
    kernel_4d = Concat <axis = 0> (k_1_1, kernel)
    ones = ConstantOfShape <value = float[1] {1.0}> (kernel_4d)
    spread = ConvTranspose <strides: ints = @strides, dilations: ints = @dilations> (marked, ones)
    pads = Constant <value_ints: ints = @pads> ()
    before = Slice (pads, k0, k2)
    size = Shape <start = 2> (x)
    spread_size = Shape <start = 2> (spread)
    tail = Sub (size, spread_size)
    after = Add (tail, before)
    before_crop = Neg (before)
    crop = Concat <axis = 0> (k_0_0, before_crop, k_0_0, after)
    read = Pad (spread, crop)
    member = Greater (read, zero_f)

    flat = Reshape (member, k_any)
    found = NonZero (flat)
    sites_64 = Reshape (found, k_any)
    sites = Cast <to = 6> (sites_64)
    cells = Shape (flat)
    no_slots = ConstantOfShape <value = int32[1] {-1}> (cells)
    p = Size (sites_64)
    order_64 = Range (zero_0d, p, one_0d)
    order = Cast <to = 6> (order_64)
    slots_flat = ScatterElements (no_slots, sites_64, order)
    n = Shape <start = 0, end = 1> (x)
    slots_shape = Concat <axis = 0> (n, size)
    slots = Reshape (slots_flat, slots_shape)
    member_32 = Cast <to = 6> (member)
    count = ReduceSum <keepdims = 0> (member_32, k_axes)

    last = Transpose <perm = [0, 2, 3, 1]> (x)
    c = Shape <start = 1, end = 2> (x)
    table_shape = Concat <axis = 0> (cells, c)
    table = Reshape (last, table_shape)
    rows = Gather (table, sites)"""
)

# The row of every tap at every output site: slots, padded by −1, read at (site · stride + tap · dilation).
_NEIGHBOURS = """
            size = Shape <start = 1> (slots)
            padded_some = Add (size, begin)
            padded_size = Add (padded_some, end)
            kernel_less = Sub (kernel, k1)
            extent = Mul (kernel_less, dilation)
            room = Sub (padded_size, extent)
            room_less = Sub (room, k1)
            steps = Div (room_less, stride)
            out_size = Add (steps, k1)
            ho = Slice (out_size, k0, k1)
            wo = Slice (out_size, k1, k2)
            hp = Slice (padded_size, k0, k1)
            wp = Slice (padded_size, k1, k2)
            slot_pads = Concat <axis = 0> (k0, begin, k0, end)
            absent = Constant <value = int32 {-1}> ()
            padded = Pad (slots, slot_pads, absent)
            padded_flat = Reshape (padded, k_any)

            sites_64 = Cast <to = 7> (sites)
            image_cells = Mul (ho, wo)
            image = Div (sites_64, image_cells)
            within = Mod (sites_64, image_cells)
            site_row = Div (within, wo)
            site_column = Mod (within, wo)
            sh = Slice (stride, k0, k1)
            sw = Slice (stride, k1, k2)
            image_top = Mul (image, hp)
            row_top = Mul (site_row, sh)
            top = Add (image_top, row_top)
            top_cell = Mul (top, wp)
            left = Mul (site_column, sw)
            corner = Add (top_cell, left)
            corner_2d = Unsqueeze (corner, k1)

            kw = Slice (kernel, k1, k2)
            dh = Slice (dilation, k0, k1)
            dw = Slice (dilation, k1, k2)
            taps_0d = Squeeze (taps)
            tap = Range (zero_0d, taps_0d, one_0d)
            tap_row = Div (tap, kw)
            tap_column = Mod (tap, kw)
            tap_y = Mul (tap_row, dh)
            tap_cell = Mul (tap_y, wp)
            tap_x = Mul (tap_column, dw)
            tap_offset = Add (tap_cell, tap_x)
            cell = Add (corner_2d, tap_offset)
            neighbours = Gather (padded_flat, cell)

            zero_shape = Concat <axis = 0> (k1, cin)
            zero_f = ConstantOfShape (zero_shape)
            zero_row = CastLike (zero_f, rows)
            table = Concat <axis = 0> (rows, zero_row)
            gathered = Gather (table, neighbours)
            po = Shape (sites)"""

_SPARSE_CONV = (
    int_lists(k0=[0], k1=[1], k2=[2], k4=[4], k_any=[-1])
    + """
    zero_0d = Constant <value_int = 0> ()
    one_0d = Constant <value_int = 1> ()
    kernel = Constant <value_ints: ints = @kernel_shape> ()
    stride = Constant <value_ints: ints = @strides> ()
    pads = Constant <value_ints: ints = @pads> ()
    dilation = Constant <value_ints: ints = @dilations> ()
    groups = Constant <value_int: int = @group> ()
    begin = Slice (pads, k0, k2)
    end = Slice (pads, k2, k4)
    taps = ReduceProd <keepdims = 1> (kernel)
    cin = Shape <start = 1> (rows)
    cout = Shape (bias)

    is_full = Equal (groups, one_0d)
    taps_0 = Squeeze (taps)
    stride_0 = ReduceProd <keepdims = 0> (stride)
    pads_0 = ReduceSum <keepdims = 0> (pads)
    one_tap = Equal (taps_0, one_0d)
    one_step = Equal (stride_0, one_0d)
    no_pads = Equal (pads_0, zero_0d)
    keeps_grid = And (one_step, no_pads)
    keeps_sites = And (one_tap, keeps_grid)
    is_pointwise = And (keeps_sites, is_full)
    full_flag = Cast <to = 7> (is_full)
    point_flag = Cast <to = 7> (is_pointwise)
    full_cout = Mul (cout, full_flag)
    point_cout = Mul (cout, point_flag)

    linear = If (is_pointwise) <
      then_branch = pointwise () => (pointwise_y) {
        point_shape = Concat <axis = 0> (point_cout, cin)"""
    + fitted("point_weight", "weight", "point_shape")
    + fitted("point_bias", "bias", "point_cout")
    + """
        point_matrix = Transpose <perm = [1, 0]> (point_weight)
        point_product = MatMul (rows, point_matrix)
        pointwise_y = Add (point_product, point_bias)
      },
      else_branch = gathering () => (gathering_y) {"""
    + _NEIGHBOURS
    + """
        gathering_y = If (is_full) <
          then_branch = full () => (full_y) {
            depth = Mul (taps, cin)
            full_shape = Concat <axis = 0> (full_cout, depth)"""
    + fitted("full_weight", "weight", "full_shape")
    + fitted("full_bias", "bias", "full_cout")
    + """
            patch_shape = Concat <axis = 0> (po, depth)
            patches = Reshape <allowzero = 1> (gathered, patch_shape)
            full_matrix = Transpose <perm = [1, 0]> (full_weight)
            full_product = MatMul (patches, full_matrix)
            full_y = Add (full_product, full_bias)
          },
          else_branch = depthwise () => (depthwise_y) {
            depthwise_shape = Concat <axis = 0> (taps, cin)"""
    + fitted("depthwise_weight", "weight", "depthwise_shape")
    + fitted("depthwise_bias", "bias", "cin")
    + """
            scaled = Mul (gathered, depthwise_weight)
            tap_sum = ReduceSum <keepdims = 0> (scaled, k1)
            depthwise_y = Add (tap_sum, depthwise_bias)
          }
        >
      }
    >"""
)

# Not ScatterND's own reduction, which ONNX Runtime's CPU provider lacks for float16.
_MASK_SCATTER = (
    int_lists(k_any=[-1])
    + """
    last = Transpose <perm = [0, 2, 3, 1]> (base)
    c = Shape <start = 1, end = 2> (base)
    table_shape = Concat <axis = 0> (k_any, c)
    table = Reshape (last, table_shape)
    sites_64 = Cast <to = 7> (sites)
    index = Unsqueeze (sites_64, k_any)"""
    + is_attribute("is_adding", "reduction", "add")
    + """
    wanted = If (is_adding) <
      then_branch = add () => (wanted_1) { kept = Gather (table, sites_64) wanted_1 = Add (kept, rows) },
      else_branch = replace () => (wanted_2) { wanted_2 = Identity (rows) }
    >
    written = ScatterND (table, index, wanted)
    last_shape = Shape (last)
    image = Reshape (written, last_shape)
    summed = Transpose <perm = [0, 3, 1, 2]> (image)"""
)


def primitive_body(op: str, activations: set[str]) -> str:
    """The body for nodes that between them have these activations."""
    kind = activation_kind(activations)
    match op:
        case "MaskGather":
            return _MASK_GATHER
        case "SparseConv":
            return _SPARSE_CONV + activation_constants(kind) + activation("rows_out", "linear", kind)
        case "MaskScatter":
            return _MASK_SCATTER + activation_constants(kind) + activation("y", "summed", kind)
    raise ValueError(f"{op} is no primitive")
