#include "gemm/dispatch.h"

namespace dyn2trt::gemm {

int run_fp32(const Choice& choice, const Arguments& arguments, void* stream) {
  return run<float, CudaCores<float>>(choice, arguments, stream);
}

}  // namespace dyn2trt::gemm
