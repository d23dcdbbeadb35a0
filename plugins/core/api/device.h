// The device that a call launches on.
#pragma once

#include "fused/fused.h"
#include "launch/status.h"

namespace dyn2trt {

// Of the current device. Asked for once a thread and device.
int current_device(DeviceOfVariants& device);

}  // namespace dyn2trt
