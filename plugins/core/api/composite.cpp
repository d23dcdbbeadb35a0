#include "api/composite.h"

#include <algorithm>

namespace dyn2trt {
namespace {

// Where the convolutions run and what with. The first reads x itself; the others read what the one before wrote: a 1x1
// the rows of the same number, others through the halo's slots.
void make_steps(Composite& c, const Dyn2trtGatedBlock& block, Workspace& workspace) {
  const contract::Block& kind = block_of(block);
  int32_t reader = 0;  // of the halo; 0: there is none
  for (int32_t i = 1; i < kind.n_convolutions; ++i) reader = kind.convolutions[i].kernel > 1 ? i : reader;
  c.sets.has_halo = reader > 0;
  c.sets.active = workspace.take_set(c.y.n, c.y.h, c.y.w);
  if (c.sets.has_halo) {
    // Before the stride the halo lies on the grid of x, behind it on that of y.
    bool on_grid_of_x = false;
    for (int32_t i = reader; i < kind.n_convolutions; ++i) on_grid_of_x = on_grid_of_x || kind.convolutions[i].strided;
    const Dyn2trtDense& grid = on_grid_of_x ? c.x : c.y;
    c.geometry = geometry_of(block, kind.convolutions[reader]);
    c.sets.halo = workspace.take_set(grid.n, grid.h, grid.w);
  }
  c.n_convolutions = kind.n_convolutions;
  for (int32_t i = 0; i < kind.n_convolutions; ++i) {
    const contract::Convolution& convolution = kind.convolutions[i];
    ConvStep& step = c.convolutions[i];
    const ConvStep* before = i > 0 ? &c.convolutions[i - 1] : nullptr;
    step.dtype = c.dtype;
    step.flags = c.flags;
    step.geometry = geometry_of(block, convolution);
    step.c_in = before != nullptr ? before->c_out : c.x.c;
    step.c_out = block.convolutions[i].c_out;
    step.h_in = before != nullptr ? before->output.h : c.x.h;
    step.w_in = before != nullptr ? before->output.w : c.x.w;
    step.x = before == nullptr ? &c.x : nullptr;
    step.slots = i > 0 && i == reader ? c.sets.halo.slots : nullptr;
    step.output = i < reader ? c.sets.halo : c.sets.active;
    step.depthwise = convolution.depthwise;
    step.weight = block.convolutions[i].weight;
    step.bias = block.convolutions[i].bias;
    step.activation = convolution.activated ? block.activation : DYN2TRT_NONE;
  }
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

void plan(Composite& c, const Dyn2trtGatedBlock& block, const float* logits, Workspace& workspace) {
  c = {};
  c.dtype = block.dtype;
  c.flags = block.flags;
  c.logits = logits;
  c.threshold = block.gate.threshold;
  c.x = block.x;
  c.identity = block.identity;
  c.y = block.y;
  c.out_activation = block_of(block).activated_sum ? block.activation : DYN2TRT_NONE;
  make_steps(c, block, workspace);
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
  compaction.mask = c.logits;
  compaction.threshold = c.threshold;
  compaction.n = c.y.n;
  compaction.mask_h = c.y.h;
  compaction.mask_w = c.y.w;
  compaction.n_sets = c.sets.has_halo ? 2 : 1;
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

}  // namespace dyn2trt
