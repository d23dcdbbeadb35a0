// The basic block by spatial tiles: two launches, each a 3x3 convolution at the sites that need it.
// docs/kernels_tiles.md tells how; tile_variants() of fused/fused.h lists what there is.
#pragma once

#include "fused/fused.h"

namespace dyn2trt::tiles {

// What a variant is run with.
struct Call {
  const Dyn2trtGatedBlock& block;
  void* workspace;
  void* stream;
};

// What every variant takes: fp16 or bf16, channels-last, channels that are multiples of 8, strides of 1 or 2.
bool takes(const Dyn2trtGatedBlock& block);

// Bytes of workspace of every variant: hidden values [n, ho, wo, co] and, of a gate that computes them, logits.
std::size_t workspace_bytes(const Dyn2trtGatedBlock& block);
// Of the hidden values: where the logits begin.
std::size_t hidden_bytes(const Dyn2trtGatedBlock& block);

// One translation unit a dtype.
int run_small_fp16(const Call& call);
int run_small_bf16(const Call& call);
int run_medium_fp16(const Call& call);
int run_medium_bf16(const Call& call);
int run_small_sm90a_fp16(const Call& call);
int run_small_sm90a_bf16(const Call& call);
int run_wide_sm90a_fp16(const Call& call);
int run_wide_sm90a_bf16(const Call& call);
int run_medium_sm90a_fp16(const Call& call);
int run_medium_sm90a_bf16(const Call& call);
int run_large_sm90a_fp16(const Call& call);
int run_large_sm90a_bf16(const Call& call);

}  // namespace dyn2trt::tiles
