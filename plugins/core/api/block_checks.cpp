#include "api/block_checks.h"

#include <cstring>
#include <iterator>

#include "api/composite.h"
#include "gate/gate.h"

namespace dyn2trt {
namespace {

int check_kind(const char* what, int32_t kind, int32_t kinds) {
  if (kind >= 0 && kind < kinds) return DYN2TRT_OK;
  return fail(DYN2TRT_INVALID_ARGUMENT, "%s is one of %d, not %d", what, kinds, kind);
}

// The channels of every convolution against those that its symbol stands for already.
int check_convolutions(const Dyn2trtGatedBlock& p) {
  const contract::Block& kind = block_of(p);
  const auto known = [&](const char* symbol, int32_t before) {
    if (std::strcmp(symbol, "C") == 0) return p.x.c;
    if (std::strcmp(symbol, "Co") == 0) return p.y.c;
    for (int32_t i = 0; i < before; ++i) {
      if (std::strcmp(symbol, kind.convolutions[i].channels) == 0) return p.convolutions[i].c_out;
    }
    return p.convolutions[before].c_out;
  };
  for (int32_t i = 0; i < kind.n_convolutions; ++i) {
    const int32_t c_out = p.convolutions[i].c_out, expected = known(kind.convolutions[i].channels, i);
    if (c_out != expected) {
      return fail(DYN2TRT_INVALID_ARGUMENT, "%s has %d output channels (%s), not %d", kind.convolutions[i].name,
                  expected, kind.convolutions[i].channels, c_out);
    }
    if (p.y.c > 0) DYN2TRT_TRY(check_channels(kind.convolutions[i].name, c_out));
  }
  return DYN2TRT_OK;
}

int check_grid_of_y(const Dyn2trtGatedBlock& p) {
  const Dyn2trtGeometry geometry = same3x3(p.stride_h, p.stride_w);
  int32_t ho = 0, wo = 0;
  DYN2TRT_TRY(dyn2trt_output_grid(&geometry, p.x.h, p.x.w, &ho, &wo));
  if (p.x.n == p.y.n && ho == p.y.h && wo == p.y.w) return DYN2TRT_OK;
  return fail(DYN2TRT_INVALID_ARGUMENT,
              "x [%d, %d, %d, %d] with strides %d x %d gives y on [%d, %d, %d], not [%d, %d, %d]", p.x.n, p.x.c, p.x.h,
              p.x.w, p.stride_h, p.stride_w, p.x.n, ho, wo, p.y.n, p.y.h, p.y.w);
}

}  // namespace

int check_sizes(const Dyn2trtGatedBlock& p) {
  DYN2TRT_TRY(check_kind("the kind of block", p.kind, std::size(contract::kBlocks)));
  DYN2TRT_TRY(check_kind("the kind of gate", p.gate.kind, std::size(contract::kGates)));
  const contract::Block& kind = block_of(p);
  DYN2TRT_TRY(check_dtype(p.dtype));
  DYN2TRT_TRY(check_activation(p.activation));
  DYN2TRT_TRY(check_dense("x", p.x, p.dtype, true));
  DYN2TRT_TRY(check_dense("identity", p.identity, p.dtype, true));
  DYN2TRT_TRY(check_dense("y", p.y, p.dtype, true));
  if (p.y.c > 0) DYN2TRT_TRY(check_channels("channels of x", p.x.c));
  if (!kind.strided && (p.stride_h != 1 || p.stride_w != 1)) {
    return fail(DYN2TRT_INVALID_ARGUMENT, "%s has strides 1 x 1, not %d x %d", kind.name, p.stride_h, p.stride_w);
  }
  DYN2TRT_TRY(check_same_shape(kind.identity_is_x ? "x" : "identity", p.identity, "y", p.y));
  DYN2TRT_TRY(check_grid_of_y(p));
  DYN2TRT_TRY(check_convolutions(p));
  if (gate_of(p).pooled != contract::Pooled::kLayers) return DYN2TRT_OK;
  return check_channels("hidden units of the gate", p.gate.hidden);
}

int check_pointers(const Dyn2trtGatedBlock& p, bool in_place) {
  const contract::Block& kind = block_of(p);
  const contract::Gate& gate = gate_of(p);
  DYN2TRT_TRY(check_dense("x", p.x, p.dtype));
  DYN2TRT_TRY(check_dense("identity", p.identity, p.dtype));
  DYN2TRT_TRY(check_dense("y", p.y, p.dtype));
  if (!in_place && (p.x.data == p.y.data || p.identity.data == p.y.data)) {
    return fail(DYN2TRT_UNSUPPORTED, "y must be neither x nor identity: the block reads them while it writes y");
  }
  const bool layers = gate.pooled == contract::Pooled::kLayers;
  const struct {
    const char* what;
    const float* pointer;
    bool wanted;
  } of_gate[] = {
      {gate.inside ? "logits" : "mask", gate.inside ? p.gate.logits : p.gate.given, !gate.inside},
      {"gate_weight", p.gate.weight, gate.kernel > 0 || layers},
      {"gate_bias", p.gate.bias, gate.kernel > 0 || layers},
      {"gate_pooled_weight", p.gate.pooled_weight, gate.pooled != contract::Pooled::kNone},
      {"gate_pooled_bias", p.gate.pooled_bias, gate.pooled != contract::Pooled::kNone},
  };
  for (const auto& parameter : of_gate) {
    if (parameter.wanted || parameter.pointer != nullptr) {
      DYN2TRT_TRY(check_pointer(parameter.what, parameter.pointer, alignof(float)));
    }
  }
  for (int32_t i = 0; i < kind.n_convolutions; ++i) {
    for (const bool bias : {false, true}) {
      const void* pointer = bias ? p.convolutions[i].bias : p.convolutions[i].weight;
      char what[64];
      std::snprintf(what, sizeof what, "%s_%s", kind.convolutions[i].name, bias ? "bias" : "weight");
      DYN2TRT_TRY(check_pointer(what, pointer, bytes_of(p.dtype)));
    }
  }
  return DYN2TRT_OK;
}

}  // namespace dyn2trt
