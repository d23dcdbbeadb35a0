#include "gemm/dispatch.h"

namespace dyn2trt::gemm {

int run_fp16(const Choice& choice, const Arguments& arguments, void* stream) {
  return run<half_t, TensorCores<half_t>>(choice, arguments, stream);
}

}  // namespace dyn2trt::gemm
