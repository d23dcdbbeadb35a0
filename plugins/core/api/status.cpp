#include "launch/status.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace dyn2trt {
namespace {

thread_local char message[1024] = "";

}  // namespace

int fail(Dyn2trtStatus status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace dyn2trt

extern "C" {

int dyn2trt_abi_version(void) { return DYN2TRT_ABI_VERSION; }

size_t dyn2trt_sizeof(const char* struct_name) {
  const struct {
    const char* name;
    size_t bytes;
  } structs[] = {
      {"Dyn2trtDense", sizeof(Dyn2trtDense)},
      {"Dyn2trtGeometry", sizeof(Dyn2trtGeometry)},
      {"Dyn2trtSiteSet", sizeof(Dyn2trtSiteSet)},
      {"Dyn2trtMaskGather", sizeof(Dyn2trtMaskGather)},
      {"Dyn2trtSparseConv", sizeof(Dyn2trtSparseConv)},
      {"Dyn2trtMaskScatter", sizeof(Dyn2trtMaskScatter)},
      {"Dyn2trtGate", sizeof(Dyn2trtGate)},
      {"Dyn2trtConvolution", sizeof(Dyn2trtConvolution)},
      {"Dyn2trtGatedBlock", sizeof(Dyn2trtGatedBlock)},
  };
  for (const auto& known : structs) {
    if (std::strcmp(struct_name, known.name) == 0) return known.bytes;
  }
  return 0;
}

const char* dyn2trt_status_name(int status) {
  switch (status) {
    case DYN2TRT_OK:
      return "ok";
    case DYN2TRT_INVALID_ARGUMENT:
      return "invalid argument";
    case DYN2TRT_UNSUPPORTED:
      return "unsupported";
    case DYN2TRT_WORKSPACE_TOO_SMALL:
      return "workspace too small";
    case DYN2TRT_LAUNCH_FAILED:
      return "launch failed";
    default:
      return "unknown status";
  }
}

const char* dyn2trt_last_error(void) { return dyn2trt::message; }

}  // extern "C"
