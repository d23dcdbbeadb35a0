// What the three composites share: a chain of convolutions whose last one ends in y.
#pragma once

#include <initializer_list>

#include "api/steps.h"
#include "api/workspace.h"

namespace dyn2trt {

// The two site sets of a gated block, compacted in one launch: the active output sites, and their halo, the input sites
// that a convolution of `geometry` reads there.
struct BlockSets {
  Dyn2trtSiteSet active, halo;
};

struct Composite {
  int32_t dtype;
  uint32_t flags;
  const float* mask;
  float threshold;
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

// The members that every composite takes from its parameters as they are, and its sets: the active sites on the grid of
// y, their halo for a convolution of `geometry` on that of `halo`.
template <class Params>
void gate(Composite& c, const Params& p, const Dyn2trtGeometry& geometry, const Dyn2trtDense& halo,
          Workspace& workspace) {
  c.dtype = p.dtype;
  c.flags = p.flags;
  c.mask = p.mask;
  c.threshold = p.threshold;
  c.geometry = geometry;
  c.sets.active = workspace.take_set(p.y.n, p.y.h, p.y.w);
  c.sets.halo = workspace.take_set(halo.n, halo.h, halo.w);
  c.y = p.y;
}

// What a convolution computes with.
struct Filters {
  int32_t c_out;
  const void *weight, *bias;
  int32_t activation;
};

// The next convolution of the chain. The first one is at the halo and reads x itself; the others are at the active
// sites and read what the one before wrote: a 1x1 the rows of the same number, others through the halo's slots.
void convolve_halo(Composite& composite, const Dyn2trtDense& x, const Dyn2trtGeometry& geometry,
                   const Filters& filters);
ConvStep& convolve_active(Composite& composite, const Dyn2trtGeometry& geometry, const Filters& filters);

// Chooses what is fused, and completes the steps with workspace memory. The result points into `composite`, which must
// stay where it is.
void plan(Composite& composite, Workspace& workspace);

// Launches them.
int run(const Composite& composite, void* stream);

// The checks that all composites share.
int check_gate(int32_t dtype, int32_t activation, const Dyn2trtDense& output);
// Of the convolutions' parameters.
struct Parameter {
  const char* what;
  const void* pointer;
};
int check_parameters(int32_t dtype, std::initializer_list<Parameter> parameters);

// The two functions of a composite's ABI. `Op` has, all static: check_sizes(p) (shapes), check(p) (pointers), and
// make(composite, p, workspace), which fills in what is to be planned.

template <class Params>
bool is_empty(const Params& p) {
  return positions(p.y.n, p.y.h, p.y.w) * p.y.c == 0;
}

template <class Op, class Params>
int composite_workspace(const Params& p, size_t* bytes) {
  *bytes = 0;
  DYN2TRT_TRY(Op::check_sizes(p));
  if (is_empty(p)) return DYN2TRT_OK;
  Workspace sizes(nullptr);
  Composite composite = {};
  Op::make(composite, p, sizes);
  plan(composite, sizes);
  *bytes = sizes.bytes();
  return DYN2TRT_OK;
}

template <class Op, class Params>
int composite_run(const Params& p, void* workspace, size_t workspace_bytes, void* stream) {
  DYN2TRT_TRY(Op::check_sizes(p));
  if (is_empty(p)) return DYN2TRT_OK;
  DYN2TRT_TRY(Op::check(p));
  Workspace memory(workspace);
  Composite composite = {};
  Op::make(composite, p, memory);
  plan(composite, memory);
  DYN2TRT_TRY(check_workspace(workspace, workspace_bytes, memory.bytes()));
  return run(composite, stream);
}

}  // namespace dyn2trt
