// The row kernels of bf16. For sm_90a alone: see plugins/core/CMakeLists.txt.
#include "fused/rows/run.cuh"

namespace dyn2trt::rows {

int run_bf16(const Call& call) { return Chain<bfloat16_t>(call).run(); }

}  // namespace dyn2trt::rows
