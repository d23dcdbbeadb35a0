// The device that a call launches on.
#pragma once

#include <cstdint>

#include "launch/status.h"

namespace dyn2trt {

// Compute capability of the current device as major * 10 + minor: 90 for sm_90. Asked for once a thread and device.
int device_architecture(int32_t& architecture);

}  // namespace dyn2trt
