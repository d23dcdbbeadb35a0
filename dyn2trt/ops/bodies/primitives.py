"""Bodies of the primitives."""

from __future__ import annotations


def activation(result: str, x: str) -> str:
    """Text of ``result = @activation(x)``; the choice is between constants, so ONNX Runtime folds it away."""
    p = f"{result}_"
    return f"""
    {p}name = Constant <value_string: string = @activation> ()
    {p}relu_name = Constant <value_string = "relu"> ()
    {p}relu6_name = Constant <value_string = "relu6"> ()
    {p}swish_name = Constant <value_string = "hard_swish"> ()
    {p}is_relu = Equal ({p}name, {p}relu_name)
    {p}is_relu6 = Equal ({p}name, {p}relu6_name)
    {p}is_swish = Equal ({p}name, {p}swish_name)
    {p}0f = Constant <value_float = 0.0> ()
    {p}6f = Constant <value_float = 6.0> ()
    {p}0 = CastLike ({p}0f, {x})
    {p}6 = CastLike ({p}6f, {x})
    {result} = If ({p}is_relu) <
      then_branch = {p}g1 () => ({p}y1) {{ {p}y1 = Relu ({x}) }},
      else_branch = {p}g2 () => ({p}y2) {{
        {p}y2 = If ({p}is_relu6) <
          then_branch = {p}g3 () => ({p}y3) {{ {p}y3 = Clip ({x}, {p}0, {p}6) }},
          else_branch = {p}g4 () => ({p}y4) {{
            {p}y4 = If ({p}is_swish) <
              then_branch = {p}g5 () => ({p}y5) {{ {p}y5 = HardSwish ({x}) }},
              else_branch = {p}g6 () => ({p}y6) {{ {p}y6 = Identity ({x}) }}
            >
          }}
        >
      }}
    >"""


def fitted(result: str, x: str, shape: str) -> str:
    """Text of x reshaped to ``shape``, cropped or zero-padded where the number of elements differs.

    It differs only in a branch that is not taken; there it keeps the shapes consistent, which ONNX's type inference
    asks of both branches. In the branch that is taken this is a plain reshape, folded away for constant weights.
    """
    p = f"{result}_"
    return f"""
    {p}minus = Constant <value_ints = [-1]> ()
    {p}zero = Constant <value_ints = [0]> ()
    {p}flat = Reshape ({x}, {p}minus)
    {p}has = Shape ({p}flat)
    {p}needs = ReduceProd <keepdims = 1> ({shape})
    {p}more = Sub ({p}needs, {p}has)
    {p}pads = Concat <axis = 0> ({p}zero, {p}more)
    {p}sized = Pad ({p}flat, {p}pads)
    {result} = Reshape <allowzero = 1> ({p}sized, {shape})"""


_MASK_GATHER = """
    level = Constant <value_float: float = @threshold> ()
    active = GreaterOrEqual (mask, level)
    marked = Cast <to = 1> (active)
    kernel_2d = Constant <value_ints: ints = @kernel_shape> ()
    one = Constant <value_ints = [1]> ()
    one_one = Constant <value_ints = [1, 1]> ()
    kernel_4d = Concat <axis = 0> (one_one, kernel_2d)
    ones = ConstantOfShape <value = float[1] {1.0}> (kernel_4d)
    spread = ConvTranspose <strides: ints = @strides, dilations: ints = @dilations> (marked, ones)
    pads = Constant <value_ints: ints = @pads> ()
    two = Constant <value_ints = [2]> ()
    zero = Constant <value_ints = [0]> ()
    before = Slice (pads, zero, two)
    x_shape = Shape (x)
    size = Shape <start = 2> (x)
    spread_size = Shape <start = 2> (spread)
    tail = Sub (size, spread_size)
    after = Add (tail, before)
    negative = Neg (before)
    zeros = Constant <value_ints = [0, 0]> ()
    crop = Concat <axis = 0> (zeros, negative, zeros, after)
    read = Pad (spread, crop)
    zero_f = Constant <value_float = 0.0> ()
    member = Greater (read, zero_f)
    minus = Constant <value_ints = [-1]> ()
    flat = Reshape (member, minus)
    found = NonZero (flat)
    sites_64 = Reshape (found, minus)
    sites = Cast <to = 6> (sites_64)
    grid = Shape (flat)
    none = ConstantOfShape <value = int32[1] {-1}> (grid)
    start = Constant <value_int = 0> ()
    step = Constant <value_int = 1> ()
    p = Size (sites_64)
    order_64 = Range (start, p, step)
    order = Cast <to = 6> (order_64)
    slots_flat = ScatterElements (none, sites_64, order)
    n = Shape <start = 0, end = 1> (x)
    slots_shape = Concat <axis = 0> (n, size)
    slots = Reshape (slots_flat, slots_shape)
    member_i = Cast <to = 6> (member)
    axes = Constant <value_ints = [1, 2, 3]> ()
    count = ReduceSum <keepdims = 0> (member_i, axes)
    last = Transpose <perm = [0, 2, 3, 1]> (x)
    c = Shape <start = 1, end = 2> (x)
    cells = Size (flat)
    cells_1 = Reshape (cells, one)
    flat_shape = Concat <axis = 0> (cells_1, c)
    table = Reshape (last, flat_shape)
    rows = Gather (table, sites)
"""

_SPARSE_CONV = (
    """
    kernel = Constant <value_ints: ints = @kernel_shape> ()
    taps = ReduceProd <keepdims = 1> (kernel)
    stride = Constant <value_ints: ints = @strides> ()
    dilation = Constant <value_ints: ints = @dilations> ()
    pads = Constant <value_ints: ints = @pads> ()
    groups = Constant <value_int: int = @group> ()
    zero = Constant <value_ints = [0]> ()
    one = Constant <value_ints = [1]> ()
    two = Constant <value_ints = [2]> ()
    four = Constant <value_ints = [4]> ()
    minus = Constant <value_ints = [-1]> ()
    scalar_one = Constant <value_int = 1> ()
    begin = Slice (pads, zero, two)
    end = Slice (pads, two, four)

    size = Shape <start = 1> (slots)
    n = Shape <start = 0, end = 1> (slots)
    padded_a = Add (size, begin)
    padded_size = Add (padded_a, end)
    kernel_less = Sub (kernel, one)
    extent = Mul (kernel_less, dilation)
    room = Sub (padded_size, extent)
    room_less = Sub (room, one)
    steps = Div (room_less, stride)
    out_size = Add (steps, one)
    ho = Slice (out_size, zero, one)
    wo = Slice (out_size, one, two)
    hp = Slice (padded_size, zero, one)
    wp = Slice (padded_size, one, two)
    pad_list = Concat <axis = 0> (zero, begin, zero, end)
    absent = Constant <value = int32[1] {-1}> ()
    absent_0 = Squeeze (absent)
    padded = Pad (slots, pad_list, absent_0)
    padded_flat = Reshape (padded, minus)

    sites_64 = Cast <to = 7> (sites)
    image_cells = Mul (ho, wo)
    image = Div (sites_64, image_cells)
    within = Mod (sites_64, image_cells)
    row = Div (within, wo)
    column = Mod (within, wo)
    sh = Slice (stride, zero, one)
    sw = Slice (stride, one, two)
    image_y = Mul (image, hp)
    row_y = Mul (row, sh)
    y = Add (image_y, row_y)
    y_w = Mul (y, wp)
    x = Mul (column, sw)
    corner = Add (y_w, x)
    corner_2d = Unsqueeze (corner, one)

    kh = Slice (kernel, zero, one)
    kw = Slice (kernel, one, two)
    dh = Slice (dilation, zero, one)
    dw = Slice (dilation, one, two)
    start = Constant <value_int = 0> ()
    taps_0 = Squeeze (taps)
    tap = Range (start, taps_0, scalar_one)
    tap_row = Div (tap, kw)
    tap_column = Mod (tap, kw)
    tap_y = Mul (tap_row, dh)
    tap_y_w = Mul (tap_y, wp)
    tap_x = Mul (tap_column, dw)
    offset = Add (tap_y_w, tap_x)
    cell = Add (corner_2d, offset)
    neighbours = Gather (padded_flat, cell)

    cin = Shape <start = 1> (rows)
    cout = Shape (bias)
    zero_shape = Concat <axis = 0> (one, cin)
    zero_f = ConstantOfShape (zero_shape)
    zero_row = CastLike (zero_f, rows)
    table = Concat <axis = 0> (rows, zero_row)
    gathered = Gather (table, neighbours)
    po = Shape (sites)
    is_dense = Equal (groups, scalar_one)
    dense_flag = Cast <to = 7> (is_dense)
    dense_cout = Mul (cout, dense_flag)
    depth = Mul (taps, cin)
    linear = If (is_dense) <
      then_branch = dense () => (dense_y) {
        matrix_shape = Concat <axis = 0> (po, depth)
        matrix = Reshape <allowzero = 1> (gathered, matrix_shape)
        weight_shape = Concat <axis = 0> (dense_cout, depth)
"""
    + fitted("weight_2d", "weight", "weight_shape")
    + """
        weight_t = Transpose <perm = [1, 0]> (weight_2d)
        product = MatMul (matrix, weight_t)
"""
    + fitted("dense_bias", "bias", "dense_cout")
    + """
        dense_y = Add (product, dense_bias)
      },
      else_branch = depthwise () => (depthwise_y) {
        depthwise_shape = Concat <axis = 0> (taps, cin)
"""
    + fitted("weight_dw", "weight", "depthwise_shape")
    + """
        scaled = Mul (gathered, weight_dw)
        sum = ReduceSum <keepdims = 0> (scaled, one)
"""
    + fitted("depthwise_bias", "bias", "cin")
    + """
        depthwise_y = Add (sum, depthwise_bias)
      }
    >"""
    + activation("rows_out", "linear")
)

_MASK_SCATTER = """
    last = Transpose <perm = [0, 2, 3, 1]> (base)
    c = Shape <start = 1, end = 2> (base)
    minus = Constant <value_ints = [-1]> ()
    flat_shape = Concat <axis = 0> (minus, c)
    table = Reshape (last, flat_shape)
    sites_64 = Cast <to = 7> (sites)
    index = Unsqueeze (sites_64, minus)
    written = ScatterND <reduction: string = @reduction> (table, index, rows)
    last_shape = Shape (last)
    image = Reshape (written, last_shape)
    summed = Transpose <perm = [0, 3, 1, 2]> (image)
""" + activation("y", "summed")

PRIMITIVE_BODIES = {"MaskGather": _MASK_GATHER, "SparseConv": _SPARSE_CONV, "MaskScatter": _MASK_SCATTER}
