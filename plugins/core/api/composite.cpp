#include "api/composite.h"

#include <algorithm>

namespace dyn2trt {
namespace {

ConvStep& append(Composite& c, const Dyn2trtGeometry& geometry, const Filters& filters) {
  ConvStep& step = c.convolutions[c.n_convolutions++];
  step.dtype = c.dtype;
  step.flags = c.flags;
  step.geometry = geometry;
  step.c_out = filters.c_out;
  step.weight = filters.weight;
  step.bias = filters.bias;
  step.activation = filters.activation;
  return step;
}

// The last step as one that writes y itself, with a depthwise one before it drawn in.
ConvStep fused_last(const Composite& c, bool with_depthwise) {
  ConvStep last = c.convolutions[c.n_convolutions - 1];
  if (with_depthwise) {
    const ConvStep& before = c.convolutions[c.n_convolutions - 2];
    last.geometry = before.geometry;
    last.h_in = before.h_in;
    last.w_in = before.w_in;
    last.slots = before.slots;
    last.depthwise_weight = before.weight;
    last.depthwise_bias = before.bias;
    last.depthwise_activation = before.activation;
  }
  last.identity = &c.identity;
  last.y = &c.y;
  last.out_activation = c.out_activation;
  return last;
}

}  // namespace

void convolve_halo(Composite& c, const Dyn2trtDense& x, const Dyn2trtGeometry& geometry, const Filters& filters) {
  ConvStep& step = append(c, geometry, filters);
  step.x = &x;
  step.c_in = x.c;
  step.h_in = x.h;
  step.w_in = x.w;
  step.output = c.sets.halo;
}

ConvStep& convolve_active(Composite& c, const Dyn2trtGeometry& geometry, const Filters& filters) {
  const bool keeps_rows = is_pointwise(geometry);
  const Dyn2trtSiteSet& input = keeps_rows ? c.sets.active : c.sets.halo;
  const int32_t c_in = c.convolutions[c.n_convolutions - 1].c_out;
  ConvStep& step = append(c, geometry, filters);
  step.c_in = c_in;
  step.h_in = input.h;
  step.w_in = input.w;
  step.slots = keeps_rows ? nullptr : input.slots;
  step.output = c.sets.active;
  return step;
}

void plan(Composite& c, Workspace& workspace) {
  const bool with_depthwise = c.n_convolutions > 1 && c.convolutions[c.n_convolutions - 2].depthwise;
  const ConvStep last = fused_last(c, with_depthwise);
  c.fused = can_fuse(last);
  c.n_steps = c.n_convolutions - (c.fused && with_depthwise ? 1 : 0);
  if (c.fused) c.convolutions[c.n_steps - 1] = last;

  const void* rows = nullptr;
  for (int32_t i = 0; i < c.n_steps; ++i) {
    ConvStep& step = c.convolutions[i];
    step.forced_tile = tile_of(c.flags, i);
    step.rows = rows;
    if (c.fused && i == c.n_steps - 1) break;
    const Dyn2trtSiteSet& set = step.output;
    rows = step.rows_out = workspace.take_rows(set.n, set.h, set.w, step.c_out, step.dtype);
  }

  // One launch after another: all share the memory of the one that wants most.
  std::size_t partial = 0, arrivals = 0;
  for (int32_t i = 0; i < c.n_steps; ++i) {
    const SplitBytes wanted = split_memory(c.convolutions[i]);
    partial = std::max(partial, wanted.partial);
    arrivals = std::max(arrivals, wanted.arrivals);
  }
  if (partial == 0) return;
  auto* const sums = workspace.take<float>(partial / sizeof(float));
  c.n_arrivals = static_cast<int32_t>(arrivals / sizeof(int32_t));
  c.arrivals = workspace.take<int32_t>(static_cast<std::size_t>(c.n_arrivals));
  for (int32_t i = 0; i < c.n_steps; ++i) {
    c.convolutions[i].partial = sums;
    c.convolutions[i].arrivals = c.arrivals;
  }
}

int run(const Composite& c, void* stream) {
  CompactStep compaction = {};
  compaction.mask = c.mask;
  compaction.threshold = c.threshold;
  compaction.n = c.y.n;
  compaction.mask_h = c.y.h;
  compaction.mask_w = c.y.w;
  compaction.n_sets = 2;
  compaction.sets[0] = {c.sets.active, kPointwise};
  compaction.sets[1] = {c.sets.halo, c.geometry};
  compaction.zeros = c.arrivals;
  compaction.n_zeros = c.n_arrivals;
  compaction.dtype = c.dtype;
  if (c.fused) {
    compaction.identity = &c.identity;
    compaction.y = &c.y;
    compaction.activation = c.out_activation;
  }
  DYN2TRT_TRY(compact(compaction, stream));
  for (int32_t i = 0; i < c.n_steps; ++i) DYN2TRT_TRY(convolve(c.convolutions[i], stream));
  if (c.fused) return DYN2TRT_OK;
  const void* rows = c.convolutions[c.n_steps - 1].rows_out;
  return scatter({c.dtype, DYN2TRT_REDUCE_ADD, c.out_activation, c.identity, c.y, rows, c.sets.active}, stream);
}

int check_gate(int32_t dtype, int32_t activation, const Dyn2trtDense& output) {
  DYN2TRT_TRY(check_dtype(dtype));
  DYN2TRT_TRY(check_activation(activation));
  if (output.c == 0) return DYN2TRT_OK;
  return check_channels("output channels", output.c);
}

int check_parameters(int32_t dtype, std::initializer_list<Parameter> parameters) {
  for (const Parameter& p : parameters) DYN2TRT_TRY(check_pointer(p.what, p.pointer, bytes_of(dtype)));
  return DYN2TRT_OK;
}

}  // namespace dyn2trt
