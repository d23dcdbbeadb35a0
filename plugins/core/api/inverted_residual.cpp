// GatedInvertedResidual: expand at the halo of the active sites, depthwise and project at the active sites.
#include "api/composite.h"

namespace dyn2trt {
namespace {

struct InvertedResidual {
  static int check_sizes(const Dyn2trtGatedInvertedResidual& p) {
    DYN2TRT_TRY(check_gate(p.dtype, p.activation, p.y));
    DYN2TRT_TRY(check_dense("x", p.x, p.dtype, true));
    DYN2TRT_TRY(check_dense("y", p.y, p.dtype, true));
    DYN2TRT_TRY(check_same_shape("x", p.x, "y", p.y));
    return check_channels("expanded channels", p.expanded);
  }

  static int check(const Dyn2trtGatedInvertedResidual& p) {
    DYN2TRT_TRY(check_dense("x", p.x, p.dtype));
    DYN2TRT_TRY(check_dense("y", p.y, p.dtype));
    if (p.x.data == p.y.data) return fail(DYN2TRT_UNSUPPORTED, "y must not be x: the block reads x around each site");
    DYN2TRT_TRY(check_pointer("mask", p.mask, alignof(float)));
    return check_parameters(p.dtype, {{"expand_weight", p.expand_weight},
                                      {"expand_bias", p.expand_bias},
                                      {"depthwise_weight", p.depthwise_weight},
                                      {"depthwise_bias", p.depthwise_bias},
                                      {"project_weight", p.project_weight},
                                      {"project_bias", p.project_bias}});
  }

  static void make(Composite& c, const Dyn2trtGatedInvertedResidual& p, Workspace& workspace) {
    gate(c, p, same3x3(), p.x, workspace);
    c.identity = p.x;
    c.out_activation = DYN2TRT_NONE;
    convolve_halo(c, p.x, kPointwise, {p.expanded, p.expand_weight, p.expand_bias, p.activation});
    convolve_active(c, c.geometry, {p.expanded, p.depthwise_weight, p.depthwise_bias, p.activation}).depthwise = true;
    convolve_active(c, kPointwise, {p.y.c, p.project_weight, p.project_bias, DYN2TRT_NONE});
  }
};

}  // namespace
}  // namespace dyn2trt

int dyn2trt_gated_inverted_residual_workspace(const Dyn2trtGatedInvertedResidual* params, size_t* bytes) {
  return dyn2trt::composite_workspace<dyn2trt::InvertedResidual>(*params, bytes);
}

int dyn2trt_gated_inverted_residual(const Dyn2trtGatedInvertedResidual* params, void* workspace, size_t workspace_bytes,
                                    void* stream) {
  return dyn2trt::composite_run<dyn2trt::InvertedResidual>(*params, workspace, workspace_bytes, stream);
}
