// GatedBottleneck: conv1 at the input sites that conv2 reads, conv2 and conv3 at the active output sites.
#include "api/residual.h"

namespace dyn2trt {
namespace {

struct Bottleneck {
  static int check_sizes(const Dyn2trtGatedBottleneck& p) {
    DYN2TRT_TRY(check_residual_sizes(p));
    return check_channels("width", p.width);
  }

  static int check(const Dyn2trtGatedBottleneck& p) {
    DYN2TRT_TRY(check_residual(p));
    return check_parameters(p.dtype, {{"conv3_weight", p.conv3_weight}, {"conv3_bias", p.conv3_bias}});
  }

  static void make(Composite& c, const Dyn2trtGatedBottleneck& p, Workspace& workspace) {
    gate(c, p, same3x3(p.stride_h, p.stride_w), p.x, workspace);
    c.identity = p.identity;
    c.out_activation = p.activation;
    convolve_halo(c, p.x, kPointwise, {p.width, p.conv1_weight, p.conv1_bias, p.activation});
    convolve_active(c, c.geometry, {p.width, p.conv2_weight, p.conv2_bias, p.activation});
    convolve_active(c, kPointwise, {p.y.c, p.conv3_weight, p.conv3_bias, DYN2TRT_NONE});
  }
};

}  // namespace
}  // namespace dyn2trt

int dyn2trt_gated_bottleneck_workspace(const Dyn2trtGatedBottleneck* params, size_t* bytes) {
  return dyn2trt::composite_workspace<dyn2trt::Bottleneck>(*params, bytes);
}

int dyn2trt_gated_bottleneck(const Dyn2trtGatedBottleneck* params, void* workspace, size_t workspace_bytes,
                             void* stream) {
  return dyn2trt::composite_run<dyn2trt::Bottleneck>(*params, workspace, workspace_bytes, stream);
}
