// The gathered GEMM by itself, for tests: every source, output and tile, which the ops reach only in part.
#include <vector>

#include "gemm/gemm.h"
#include "launch/status.h"

extern "C" {

// tests/support/emulated_gemm.py mirrors this.
struct Dyn2trtHostGemm {
  int32_t dtype, tf32, tile;  // tile: an index in tiles.h, -1 leaves the choice to the library
  int32_t channels, cols;
  Dyn2trtGeometry geometry;
  Dyn2trtSiteSet input, output;  // the grids; slots of input; sites and count of output
  void* rows;                    // A, unless x.data is there
  Dyn2trtDense x;
  const void *depthwise_weight, *depthwise_bias;
  int32_t depthwise_activation;
  const void *weight, *bias;
  int32_t activation, out_activation;
  void* rows_out;  // Y, unless y.data is there
  Dyn2trtDense y, residual;
  int32_t split;  // blocks may share tiles
};

DYN2TRT_API int dyn2trt_emulator_gathered_gemm(const Dyn2trtHostGemm* test) {
  using namespace dyn2trt::gemm;
  Call call = {};
  call.dtype = static_cast<Dyn2trtDtype>(test->dtype);
  call.tf32 = test->tf32 != 0;
  call.forced_tile = test->tile;
  Arguments& p = call.arguments;
  set_geometry(p, test->geometry, test->output.n, test->input.h, test->input.w, test->output.h, test->output.w);
  p.channels = test->channels;
  p.cols = test->cols;
  p.slots = test->input.slots;
  p.sites = test->output.sites;
  p.count = test->output.count;
  p.source = test->x.data != nullptr ? Source::kPixels : p.slots != nullptr ? Source::kSlots : Source::kSameRow;
  p.a = rows_view(test->rows, test->channels, call.dtype);
  p.out_rows = test->y.data == nullptr;
  p.out = rows_view(test->rows_out, test->cols, call.dtype);
  if ((test->x.data != nullptr && !dense_view(test->x, call.dtype, p.a)) ||
      (test->y.data != nullptr && !dense_view(test->y, call.dtype, p.out)) ||
      (test->residual.data != nullptr && !dense_view(test->residual, call.dtype, p.residual))) {
    return dyn2trt::fail(DYN2TRT_UNSUPPORTED, "strides");
  }
  p.depthwise_weight = test->depthwise_weight;
  p.depthwise_bias = test->depthwise_bias;
  p.depthwise_activation = dyn2trt::activation_of(test->depthwise_activation);
  p.weight = test->weight;
  p.bias = test->bias;
  p.activation = dyn2trt::activation_of(test->activation);
  p.out_activation = dyn2trt::activation_of(test->out_activation);

  std::vector<float> partial;
  std::vector<int> arrivals;
  if (test->split != 0) {
    const SplitMemory memory = split_memory(call);
    partial.assign(memory.partial_bytes / sizeof(float), __builtin_nanf(""));
    arrivals.assign(memory.arrivals_bytes / sizeof(int), 0);
    p.partial = partial.data();
    p.arrivals = arrivals.data();
  }
  const int status = gathered_gemm(call, nullptr);
  for (const int arrival : arrivals) {
    if (arrival != 0) return dyn2trt::fail(DYN2TRT_LAUNCH_FAILED, "arrivals are not back at 0");
  }
  return status;
}
}
