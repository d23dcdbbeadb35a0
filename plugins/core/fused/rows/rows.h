// Gated basic blocks and bottlenecks by compacted rows: the sites that need a convolution, of all images together, are
// the rows of a matrix product. docs/kernels_rows.md says how it works.
#pragma once

#include "fused/fused.h"

namespace dyn2trt {

// Of basic blocks and bottlenecks.
FusedVariants row_variants();

namespace rows {

// What a variant is run with. `offset`: the pooled part of the gate [n], SQUEEZE and LAYER, else null. A tile of 0
// blocks is chosen by the kernels; another is for tests and measurements.
struct Call {
  const Dyn2trtGatedBlock& block;
  const float* offset;
  void* workspace;
  void* stream;
  struct {
    int blocks, columns, splits;
  } tile;
};

bool takes(const Dyn2trtGatedBlock& block);
std::size_t workspace_bytes(const Dyn2trtGatedBlock& block);

int run_fp16(const Call& call);
int run_bf16(const Call& call);

}  // namespace rows
}  // namespace dyn2trt
