// The gathered GEMM for host code: check, return early, dispatch.
#pragma once

#include <cstddef>

#include "dyn2trt/core.h"
#include "gemm/arguments.h"

namespace dyn2trt::gemm {

struct Call {
  Arguments arguments;
  Dyn2trtDtype dtype;
  bool tf32;             // fp32 products on tensor cores
  int forced_tile = -1;  // for tests: index in its list of tiles.h
};

// Views of a row tensor and of a dense tensor. dense_view() returns false for strides that kernels cannot follow with
// one pitch, as of a transposed or cropped tensor; the generic kernels can.
View rows_view(void* rows, int channels, Dyn2trtDtype dtype);
bool dense_view(const Dyn2trtDense& tensor, Dyn2trtDtype dtype, View& view);

// Input and output grid and geometry of a convolution.
void set_geometry(Arguments& arguments, const Dyn2trtGeometry& geometry, int n, int h_in, int w_in, int h_out,
                  int w_out);

// Whether kernels of this folder compute a convolution of that geometry over that many positions of input and output.
bool has_kernel(const Dyn2trtGeometry& geometry, int64_t positions_in, int64_t positions_out, int cols);

// Blocks may share a tile when they have memory for it: sums (floats) and arrivals (ints, all 0 before a launch, and
// after it). Zero where sharing cannot pay. The same on every device, and never less for more rows.
struct SplitMemory {
  std::size_t partial_bytes = 0;
  std::size_t arrivals_bytes = 0;
};
SplitMemory split_memory(const Call& call);

// Y = out_activation(activation(A W^T + bias) + residual). Alignment flags are worked out here.
int gathered_gemm(Call call, void* stream);

}  // namespace dyn2trt::gemm
