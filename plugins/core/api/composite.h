// What the three composites share: a chain of convolutions whose last one ends in y.
#pragma once

#include "api/steps.h"
#include "api/workspace.h"

namespace dyn2trt {

// The two site sets of a gated block, compacted in one launch: the active output sites, and the input sites that a
// convolution of `geometry` reads there.
struct BlockSets {
  Dyn2trtSiteSet active, input;
};

struct Composite {
  int32_t dtype;
  uint32_t flags;
  const float* mask;
  float threshold;
  int32_t mask_h, mask_w;
  Dyn2trtGeometry geometry;
  BlockSets sets;
  Dyn2trtDense identity, y;
  int32_t out_activation;
  ConvStep convolutions[3];
  int32_t n_convolutions;
  // What plan() decides.
  bool fused;       // the last step writes y, else rows that a scatter adds
  int32_t n_steps;  // convolutions launched: a fused last step may take the depthwise one before it along
  int32_t* arrivals;
  int32_t n_arrivals;
};

// The members that every composite takes from its parameters as they are; the mask has y's grid.
template <class Params>
void gate(Composite& composite, const Params& p) {
  composite.dtype = p.dtype;
  composite.flags = p.flags;
  composite.mask = p.mask;
  composite.threshold = p.threshold;
  composite.mask_h = p.y.h;
  composite.mask_w = p.y.w;
  composite.y = p.y;
}

// Chooses what is fused, and completes the steps with workspace memory. The result points into `composite`, which must
// stay where it is.
void plan(Composite& composite, Workspace& workspace);

// Launches them.
int run(const Composite& composite, void* stream);

// The checks that all composites share.
int check_gate(int32_t dtype, int32_t activation, const Dyn2trtDense& output);
// One of the convolutions' parameters.
int check_parameter(const char* what, const void* pointer, int32_t dtype);

// The two functions of a composite's ABI. `Op` has, all static: check_sizes(p) (shapes), is_empty(p), check(p)
// (pointers), and make(composite, p, workspace), which fills the composite in and plans it.

template <class Op, class Params>
int composite_workspace(const Params& p, size_t* bytes) {
  *bytes = 0;
  DYN2TRT_TRY(Op::check_sizes(p));
  if (Op::is_empty(p)) return DYN2TRT_OK;
  Workspace sizes(nullptr);
  Composite composite = {};
  Op::make(composite, p, sizes);
  *bytes = sizes.bytes();
  return DYN2TRT_OK;
}

template <class Op, class Params>
int composite_run(const Params& p, void* workspace, size_t workspace_bytes, void* stream) {
  DYN2TRT_TRY(Op::check_sizes(p));
  if (Op::is_empty(p)) return DYN2TRT_OK;
  DYN2TRT_TRY(Op::check(p));
  Workspace memory(workspace);
  Composite composite = {};
  Op::make(composite, p, memory);
  DYN2TRT_TRY(check_workspace(workspace, workspace_bytes, memory.bytes()));
  return run(composite, stream);
}

}  // namespace dyn2trt
