// A gated block as a chain of general kernels: what runs where no fused one does.
#pragma once

#include "api/steps.h"
#include "api/workspace.h"
#include "dyn2trt/contract.h"

namespace dyn2trt {

inline const contract::Block& block_of(const Dyn2trtGatedBlock& block) { return contract::kBlocks[block.kind]; }

// A convolution of a block: its padding keeps the grid, but for the block's stride where it takes that.
inline Dyn2trtGeometry geometry_of(const Dyn2trtGatedBlock& block, const contract::Convolution& convolution) {
  const int32_t pad = convolution.kernel / 2;
  const int32_t stride_h = convolution.strided ? block.stride_h : 1,
                stride_w = convolution.strided ? block.stride_w : 1;
  return {convolution.kernel, convolution.kernel, stride_h, stride_w, pad, pad, pad, pad, 1, 1};
}

// The two site sets of a gated block, compacted in one launch: the active output sites, and their halo, the input sites
// that a convolution of `geometry` reads there.
struct BlockSets {
  Dyn2trtSiteSet active, halo;
  bool has_halo;
};

struct Composite {
  int32_t dtype;
  uint32_t flags;
  const float* logits;  // [n, ho, wo]
  float threshold;
  Dyn2trtGeometry geometry;
  BlockSets sets;
  Dyn2trtDense x, identity, y;
  int32_t out_activation;
  ConvStep convolutions[3];
  int32_t n_convolutions;
  // What plan() decides.
  bool fused;       // the last step writes y, else rows that a scatter adds
  int32_t n_steps;  // convolutions launched: a fused last step may take the depthwise one before it along
  int32_t* arrivals;
  int32_t n_arrivals;
};

// Fills in `composite` from a block whose identity is set, chooses what is fused, and takes workspace. The result
// points into `composite`, which must stay where it is.
void plan(Composite& composite, const Dyn2trtGatedBlock& block, const float* logits, Workspace& workspace);

// Launches it.
int run(const Composite& composite, void* stream);

}  // namespace dyn2trt
