#include "api/device.h"
#include "launch/launch.cuh"

namespace dyn2trt {
namespace {

#if DYN2TRT_ON_HOST

// The emulator has what any of them has.
int architecture_of(int /*device*/, int32_t& architecture) {
  architecture = 90;
  return DYN2TRT_OK;
}

int current(int& device) {
  device = 0;
  return DYN2TRT_OK;
}

#else

int refused(cudaError_t error) {
  cudaGetLastError();
  return fail(DYN2TRT_LAUNCH_FAILED, "no device to launch on: %s", cudaGetErrorString(error));
}

int architecture_of(int device, int32_t& architecture) {
  int major = 0, minor = 0;
  cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  architecture = major * 10 + minor;
  return error == cudaSuccess ? DYN2TRT_OK : refused(error);
}

int current(int& device) {
  const cudaError_t error = cudaGetDevice(&device);
  return error == cudaSuccess ? DYN2TRT_OK : refused(error);
}

#endif

}  // namespace

int current_device(DeviceOfVariants& device) {
  thread_local int known = -1;
  thread_local int32_t architecture = 0;
  int number = 0;
  DYN2TRT_TRY(current(number));
  if (number != known) {
    DYN2TRT_TRY(architecture_of(number, architecture));
    known = number;
  }
  DeviceLimits limits;
  DYN2TRT_TRY(device_limits(limits));
  device = {architecture, limits.shared_bytes};
  return DYN2TRT_OK;
}

}  // namespace dyn2trt
