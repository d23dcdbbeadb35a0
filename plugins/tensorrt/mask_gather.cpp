#include "op.h"

namespace dyn2trt::tensorrt {
namespace {

using nvinfer1::DimensionOperation;
using nvinfer1::DimsExprs;
using nvinfer1::IDimensionExpr;
using nvinfer1::IExprBuilder;

enum Input : size_t { kMask, kX };
enum Output : size_t { kSites, kSlots, kCount, kRows };

// (size - 1) * stride + dilation * (kernel - 1) + 1 - pads: dyn2trt_input_grid on symbols.
IDimensionExpr const* smallestInput(IDimensionExpr const& size, Dyn2trtGeometry const& g, bool height,
                                    IExprBuilder& builder) {
  int32_t const stride = height ? g.stride_h : g.stride_w;
  int32_t const span = height ? g.dilation_h * (g.kernel_h - 1) : g.dilation_w * (g.kernel_w - 1);
  int32_t const pads = height ? g.pad_top + g.pad_bottom : g.pad_left + g.pad_right;
  IDimensionExpr const* scaled = builder.operation(DimensionOperation::kPROD, size, *builder.constant(stride));
  return builder.operation(DimensionOperation::kSUM, *scaled, *builder.constant(span + 1 - stride - pads));
}

void outputShapes(Attributes const& attributes, DimsExprs const* inputs, int32_t nbInputs, DimsExprs* outputs,
                  IExprBuilder& builder) {
  DimsExprs const& mask = inputs[kMask];
  IDimensionExpr const *n = mask.d[0], *h, *w, *c;
  if (nbInputs > static_cast<int32_t>(kX)) {
    c = inputs[kX].d[1], h = inputs[kX].d[2], w = inputs[kX].d[3];
  } else {
    Dyn2trtGeometry const geometry = geometryOf(attributes);
    c = builder.constant(0);
    h = smallestInput(*mask.d[2], geometry, true, builder);
    w = smallestInput(*mask.d[3], geometry, false, builder);
  }
  IDimensionExpr const* plane = builder.operation(DimensionOperation::kPROD, *h, *w);
  IDimensionExpr const* capacity = builder.operation(DimensionOperation::kPROD, *n, *plane);
  outputs[kSites].nbDims = 1, outputs[kSites].d[0] = capacity;
  outputs[kSlots].nbDims = 3, outputs[kSlots].d[0] = n, outputs[kSlots].d[1] = h, outputs[kSlots].d[2] = w;
  outputs[kCount].nbDims = 1, outputs[kCount].d[0] = n;
  outputs[kRows].nbDims = 2, outputs[kRows].d[0] = capacity, outputs[kRows].d[1] = c;
}

std::string checkCall(Call const& call) {
  if (call.inputs.size() <= kX) return "";
  Tensor const &mask = call.inputs[kMask], &x = call.inputs[kX];
  Dyn2trtGeometry const geometry = geometryOf(call.attributes);
  int32_t h = 0, w = 0;
  if (dyn2trt_output_grid(&geometry, x.dim(2), x.dim(3), &h, &w) != DYN2TRT_OK) return dyn2trt_last_error();
  if (mask.dim(2) == h && mask.dim(3) == w) return "";
  return "this geometry gives x of " + toString(x.dims) + " a mask of " + toString({x.dim(0), 1, h, w}) + ", not " +
         toString(mask.dims);
}

int enqueue(Call const& call, void*, size_t, void* stream) {
  Tensor const& mask = call.inputs[kMask];
  Tensor const& slots = call.outputs[kSlots];
  bool const gathers = call.inputs.size() > kX;
  Dyn2trtMaskGather params{};
  params.dtype = gathers ? toDtype(call.inputs[kX].type) : DYN2TRT_FLOAT32;
  params.mask = static_cast<float const*>(mask.data);
  params.mask_h = mask.dim(2);
  params.mask_w = mask.dim(3);
  params.threshold = call.attributes.threshold;
  params.geometry = geometryOf(call.attributes);
  params.set = {static_cast<int32_t*>(call.outputs[kSites].data),
                static_cast<int32_t*>(slots.data),
                static_cast<int32_t*>(call.outputs[kCount].data),
                slots.dim(0),
                slots.dim(1),
                slots.dim(2)};
  if (gathers) {
    params.x = toDense(call.inputs[kX]);
    params.rows = call.outputs[kRows].data;
  }
  return dyn2trt_mask_gather(&params, stream);
}

}  // namespace

Hooks maskGather() {
  Hooks hooks{};
  hooks.checkCall = checkCall;
  hooks.outputShapes = outputShapes;
  hooks.enqueue = enqueue;
  return hooks;
}

}  // namespace dyn2trt::tensorrt
