#include "gemm/dispatch.h"

namespace dyn2trt::gemm {

int run_bf16(const Choice& choice, const Arguments& arguments, void* stream) {
  return run<bfloat16_t, TensorCores<bfloat16_t>>(choice, arguments, stream);
}

}  // namespace dyn2trt::gemm
