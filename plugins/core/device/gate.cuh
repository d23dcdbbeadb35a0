// The logit of a site, computed inside a block's kernel.
//
// A site's logit may be computed in several blocks of a grid. They all have to come to the same decision, so there is
// one order of summation and this is it: lane l of kGateLanes consecutive lanes adds the channels of the vectors l,
// l + kGateLanes, ... of the first tap, then of the next, one fused multiply-add a channel in fp32; then the lanes add
// up by a butterfly, then bias and offset are added. Pooled parts of a gate are an offset an image (gate/pool.cuh).
#pragma once

#include "device/vector.cuh"
#include "dyn2trt/core.h"

namespace dyn2trt {

constexpr int kGateLanes = 8;   // that share a site
constexpr int kGateVector = 8;  // channels that a lane takes at once

// What kernels are given of a gate.
struct GateView {
  int kind;  // Dyn2trtGateKind
  float threshold;
  const float* given;          // LOGITS: [n, ho, wo]
  const float *weight, *bias;  // POINTWISE [c], [1]; SQUEEZE [3, 3, c], [1]
  const float* offset;         // SQUEEZE, LAYER: [n], the pooled part
  float* logits;               // output [n, ho, wo] or null
};

// `offset` is the pooled part [n] where the kind has one, else null.
inline GateView gate_view(const Dyn2trtGatedBlock& block, const float* offset) {
  const Dyn2trtGate& gate = block.gate;
  const bool given = gate.kind == DYN2TRT_GATE_LOGITS, sums = !given && gate.kind != DYN2TRT_GATE_LAYER;
  return {gate.kind,
          gate.threshold,
          given ? gate.given : nullptr,
          sums ? gate.weight : nullptr,
          sums ? gate.bias : nullptr,
          offset,
          given ? nullptr : gate.logits};
}

// The logit of a site from its sum over the taps, which is 0 for a gate without any.
DYN2TRT_DEVICE float gate_logit(const GateView& gate, float sum, int image) {
  const float local = gate.bias != nullptr ? sum + gate.bias[0] : 0.0f;
  return gate.offset != nullptr ? local + gate.offset[image] : local;
}

// Adds a tap's part to a lane's sum. `values(first)` gives the eight values of x from channel `first` on as a
// Vector<T, kGateVector>; channels is a multiple of kGateVector.
template <class Values>
DYN2TRT_DEVICE float gate_tap(float sum, const float* weight, int channels, int lane, Values values) {
  for (int first = lane * kGateVector; first < channels; first += kGateLanes * kGateVector) {
    const auto x = values(first);
#pragma unroll
    for (int i = 0; i < kGateVector; ++i) sum = fmaf(to_float(x[i]), weight[first + i], sum);
  }
  return sum;
}

// The sum over the lanes that share a site, the same in each of them. All lanes of `mask` take part.
DYN2TRT_DEVICE float gate_sum(unsigned mask, float sum) {
#pragma unroll
  for (int step = kGateLanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(mask, sum, step);
  return sum;
}

}  // namespace dyn2trt
