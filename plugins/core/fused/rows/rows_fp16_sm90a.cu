// The row kernels of fp16. For sm_90a alone: see plugins/core/CMakeLists.txt.
#include "fused/rows/run.cuh"

namespace dyn2trt::rows {

int run_fp16(const Call& call) { return Chain<half_t>(call).run(); }

}  // namespace dyn2trt::rows
