#include "api/device.h"
#include "launch/launch.cuh"

namespace dyn2trt {

#if DYN2TRT_ON_HOST

// The emulator has what any of them has.
int device_architecture(int32_t& architecture) {
  architecture = 90;
  return DYN2TRT_OK;
}

#else

int device_architecture(int32_t& architecture) {
  thread_local int known = -1;
  thread_local int32_t of_known = 0;
  int device = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess && device != known) {
    int major = 0, minor = 0;
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    if (error == cudaSuccess) {
      of_known = major * 10 + minor;
      known = device;
    }
  }
  architecture = of_known;
  if (error == cudaSuccess) return DYN2TRT_OK;
  cudaGetLastError();
  return fail(DYN2TRT_LAUNCH_FAILED, "no device to launch on: %s", cudaGetErrorString(error));
}

#endif

}  // namespace dyn2trt
