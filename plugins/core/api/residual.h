// What the ResNet blocks share: x goes through a strided 3x3, and the result is added to identity.
#pragma once

#include "api/composite.h"

namespace dyn2trt {

template <class Params>
int check_residual_sizes(const Params& p) {
  DYN2TRT_TRY(check_gate(p.dtype, p.activation, p.y));
  DYN2TRT_TRY(check_dense("x", p.x, p.dtype, true));
  DYN2TRT_TRY(check_dense("identity", p.identity, p.dtype, true));
  DYN2TRT_TRY(check_dense("y", p.y, p.dtype, true));
  DYN2TRT_TRY(check_same_shape("identity", p.identity, "y", p.y));
  const Dyn2trtGeometry geometry = same3x3(p.stride_h, p.stride_w);
  int32_t ho = 0, wo = 0;
  DYN2TRT_TRY(dyn2trt_output_grid(&geometry, p.x.h, p.x.w, &ho, &wo));
  if (p.x.n == p.y.n && ho == p.y.h && wo == p.y.w) return DYN2TRT_OK;
  return fail(DYN2TRT_INVALID_ARGUMENT,
              "x [%d, %d, %d, %d] with strides %d x %d gives y on [%d, %d, %d], not [%d, %d, %d]", p.x.n, p.x.c, p.x.h,
              p.x.w, p.stride_h, p.stride_w, p.x.n, ho, wo, p.y.n, p.y.h, p.y.w);
}

// All pointers but those of conv3.
template <class Params>
int check_residual(const Params& p) {
  DYN2TRT_TRY(check_dense("x", p.x, p.dtype));
  DYN2TRT_TRY(check_dense("identity", p.identity, p.dtype));
  DYN2TRT_TRY(check_dense("y", p.y, p.dtype));
  DYN2TRT_TRY(check_channels("channels of x", p.x.c));
  if (p.x.data == p.y.data || p.identity.data == p.y.data) {
    return fail(DYN2TRT_UNSUPPORTED, "y must be neither x nor identity: the block reads them while it writes y");
  }
  DYN2TRT_TRY(check_pointer("mask", p.mask, alignof(float)));
  return check_parameters(p.dtype, {{"conv1_weight", p.conv1_weight},
                                    {"conv1_bias", p.conv1_bias},
                                    {"conv2_weight", p.conv2_weight},
                                    {"conv2_bias", p.conv2_bias}});
}

}  // namespace dyn2trt
