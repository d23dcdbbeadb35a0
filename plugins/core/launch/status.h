// Status codes with a message: what the C ABI's functions return and dyn2trt_last_error() explains.
#pragma once

#include "dyn2trt/core.h"

namespace dyn2trt {

// Keeps the formatted message for dyn2trt_last_error() and returns `status`.
[[gnu::format(printf, 2, 3)]] int fail(Dyn2trtStatus status, const char* format, ...);

}  // namespace dyn2trt

// Returns from the calling function with the first status that is not DYN2TRT_OK.
#define DYN2TRT_TRY(expression)                              \
  do {                                                       \
    const int dyn2trt_status = (expression);                 \
    if (dyn2trt_status != DYN2TRT_OK) return dyn2trt_status; \
  } while (false)
