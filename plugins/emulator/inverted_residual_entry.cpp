// The fused inverted residual by itself, for tests: every variant, with the pooled part of a gate as it is given.
#include "fused/fused.h"
#include "launch/status.h"

extern "C" {

// Bytes of shared memory that variant `index` needs for the block, -1 when it does not take it.
DYN2TRT_API int dyn2trt_emulator_inverted_residual_takes(const Dyn2trtGatedBlock* block, int index) {
  const dyn2trt::FusedVariant& variant = dyn2trt::inverted_residual_variants().list[index];
  return variant.takes(*block) ? variant.shared_bytes(*block) : -1;
}

DYN2TRT_API int dyn2trt_emulator_inverted_residual(const Dyn2trtGatedBlock* block, int index, const float* offset) {
  const dyn2trt::FusedVariant& variant = dyn2trt::inverted_residual_variants().list[index];
  if (!variant.takes(*block)) return dyn2trt::fail(DYN2TRT_UNSUPPORTED, "%s does not take this block", variant.name);
  Dyn2trtGatedBlock given = *block;
  if (offset != nullptr) given.gate.given = offset;  // see gate_offset()
  return variant.run(given, nullptr, nullptr);
}
}
