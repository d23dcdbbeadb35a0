#include "api/dispatch.h"
#include "gate/gate.h"
#include "gate/logits.cuh"
#include "gate/pool.cuh"
#include "launch/launch.cuh"

namespace dyn2trt {
namespace {

int32_t chunks_of(const Dyn2trtDense& x) { return ceil_div(x.h * x.w, kPoolPositions); }

template <class Kernel, class T>
int launch_sums(const PoolSumsParams<T>& params, void* stream) {
  const auto chunks = static_cast<unsigned>(params.x.n) * static_cast<unsigned>(params.chunks);
  return launch<Kernel>({chunks, static_cast<unsigned>(ceil_div(params.x.c, Kernel::kChannels))}, params, stream);
}

template <class Kernel, class T>
int launch_logits(GateLogitsParams<T> params, void* stream) {
  params.blocks_per_image = ceil_div(params.ho * params.wo, Kernel::kSites);
  return launch<Kernel>({static_cast<unsigned>(params.x.n) * static_cast<unsigned>(params.blocks_per_image)}, params,
                        stream);
}

template <class T>
int logits_as(const Dyn2trtGatedBlock& block, const float* offset, float* logits, void* stream) {
  GateLogitsParams<T> params = {};
  params.gate = gate_view(block, offset);
  params.x = view<const T>(block.x);
  params.kernel = gate_of(block).kernel;
  params.stride_h = block.stride_h;
  params.stride_w = block.stride_w;
  params.ho = block.y.h;
  params.wo = block.y.w;
  params.logits = logits;
  if (block.x.layout == DYN2TRT_NCHW) return launch_logits<GateLogitsPlanar<T>>(params, stream);
  if constexpr (kVectorWidth<T> == kGateVector) {
    if (has_vectors(block.x, block.dtype, kGateVector)) return launch_logits<GateLogits<T, true>>(params, stream);
  }
  return launch_logits<GateLogits<T, false>>(params, stream);
}

}  // namespace

PoolMemory take_pool(const Dyn2trtGatedBlock& block, Workspace& workspace) {
  if (gate_of(block).pooled == contract::Pooled::kNone) return {};
  const auto n = static_cast<std::size_t>(block.x.n), c = static_cast<std::size_t>(block.x.c);
  PoolMemory memory = {};
  memory.partial = workspace.take<float>(n * static_cast<std::size_t>(chunks_of(block.x)) * c);
  memory.mean = workspace.take<float>(n * c);
  memory.offset = workspace.take<float>(n);
  return memory;
}

int pool_gate(const Dyn2trtGatedBlock& block, const PoolMemory& memory, void* stream) {
  if (memory.offset == nullptr) return DYN2TRT_OK;
  const int32_t chunks = chunks_of(block.x);
  DYN2TRT_TRY(with_dtype(block.dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    const PoolSumsParams<T> params = {view<const T>(block.x), chunks, memory.partial};
    return block.x.layout == DYN2TRT_NHWC ? launch_sums<PoolSums<T, true>>(params, stream)
                                          : launch_sums<PoolSums<T, false>>(params, stream);
  }));
  const Dyn2trtGate& gate = block.gate;
  const int32_t hidden = gate_of(block).pooled == contract::Pooled::kLayers ? gate.hidden : 0;
  const PoolLayersParams params = {memory.partial,        memory.mean,      chunks,       block.x.c,
                                   block.x.h * block.x.w, hidden,           gate.weight,  gate.bias,
                                   gate.pooled_weight,    gate.pooled_bias, memory.offset};
  return launch<PoolLayers>({static_cast<unsigned>(block.x.n)}, params, stream);
}

int gate_logits(const Dyn2trtGatedBlock& block, const float* offset, float* logits, void* stream) {
  return with_dtype(block.dtype, [&](auto* t) {
    return logits_as<std::remove_pointer_t<decltype(t)>>(block, offset, logits, stream);
  });
}

}  // namespace dyn2trt
