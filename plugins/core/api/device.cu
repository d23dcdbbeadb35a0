#include "api/device.h"
#include "launch/launch.cuh"

namespace dyn2trt {

int current_device(DeviceOfVariants& device) {
  DeviceLimits limits = {};
  DYN2TRT_TRY(device_limits(limits));
  device = {limits.architecture, limits.shared_bytes};
  return DYN2TRT_OK;
}

}  // namespace dyn2trt
