#include "api/composite.h"

namespace dyn2trt {
namespace {

// The last convolution as one that writes y itself, with a depthwise one before it drawn in.
ConvStep fused_last(const Composite& c, bool& takes_two) {
  ConvStep last = c.convolutions[c.n_convolutions - 1];
  takes_two = c.n_convolutions > 1 && c.convolutions[c.n_convolutions - 2].depthwise;
  if (takes_two) {
    const ConvStep& before = c.convolutions[c.n_convolutions - 2];
    last.geometry = before.geometry;
    last.h_in = before.h_in;
    last.w_in = before.w_in;
    last.slots = before.slots;
    last.rows = before.rows;
    last.depthwise_weight = before.weight;
    last.depthwise_bias = before.bias;
    last.depthwise_activation = before.activation;
  }
  last.rows_out = nullptr;
  last.identity = &c.identity;
  last.y = &c.y;
  last.out_activation = c.out_activation;
  return last;
}

bool is_fused(const Composite& c) {
  bool takes_two = false;
  return can_fuse(fused_last(c, takes_two));
}

}  // namespace

void plan(Composite& c, Workspace& workspace) {
  bool takes_two = false;
  const bool fused = can_fuse(fused_last(c, takes_two));
  const int32_t in_rows = !fused ? c.n_convolutions : c.n_convolutions - (takes_two ? 2 : 1);
  const void* rows = nullptr;
  for (int32_t i = 0; i < c.n_convolutions; ++i) {
    ConvStep& step = c.convolutions[i];
    step.rows = rows;
    if (i < in_rows) {
      const Dyn2trtSiteSet& set = step.output;
      step.rows_out = workspace.take_rows(set.n, set.h, set.w, step.c_out, step.dtype);
      rows = step.rows_out;
    }
  }
}

int run(const Composite& c, void* stream) {
  CompactStep compaction = {};
  compaction.mask = c.mask;
  compaction.threshold = c.threshold;
  compaction.n = c.y.n;
  compaction.mask_h = c.mask_h;
  compaction.mask_w = c.mask_w;
  compaction.n_sets = 2;
  compaction.sets[0] = {c.sets.active, kPointwise};
  compaction.sets[1] = {c.sets.input, c.geometry};
  DYN2TRT_TRY(compact(compaction, stream));

  if (!is_fused(c)) {
    for (int32_t i = 0; i < c.n_convolutions; ++i) DYN2TRT_TRY(convolve(c.convolutions[i], stream));
    const void* rows = c.convolutions[c.n_convolutions - 1].rows_out;
    return scatter({c.dtype, DYN2TRT_REDUCE_ADD, c.out_activation, c.identity, c.y, rows, c.sets.active}, stream);
  }
  DYN2TRT_TRY(
      scatter({c.dtype, DYN2TRT_REDUCE_ADD, c.out_activation, c.identity, c.y, nullptr, c.sets.active}, stream));
  bool takes_two = false;
  const ConvStep last = fused_last(c, takes_two);
  for (int32_t i = 0; i < c.n_convolutions - (takes_two ? 2 : 1); ++i) {
    DYN2TRT_TRY(convolve(c.convolutions[i], stream));
  }
  return convolve(last, stream);
}

int check_gate(int32_t dtype, int32_t activation, const Dyn2trtDense& output) {
  DYN2TRT_TRY(check_dtype(dtype));
  DYN2TRT_TRY(check_activation(activation));
  if (output.c == 0) return DYN2TRT_OK;
  return check_channels("output channels", output.c);
}

int check_parameter(const char* what, const void* pointer, int32_t dtype) {
  return check_pointer(what, pointer, bytes_of(dtype));
}

}  // namespace dyn2trt
