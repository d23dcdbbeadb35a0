#include "gemm/dispatch.h"

namespace dyn2trt::gemm {

int run_tf32(const Choice& choice, const Arguments& arguments, void* stream) {
  return run<float, TensorCores<float>>(choice, arguments, stream);
}

}  // namespace dyn2trt::gemm
