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
    DYN2TRT_TRY(check_parameter("expand_weight", p.expand_weight, p.dtype));
    DYN2TRT_TRY(check_parameter("expand_bias", p.expand_bias, p.dtype));
    DYN2TRT_TRY(check_parameter("depthwise_weight", p.depthwise_weight, p.dtype));
    DYN2TRT_TRY(check_parameter("depthwise_bias", p.depthwise_bias, p.dtype));
    DYN2TRT_TRY(check_parameter("project_weight", p.project_weight, p.dtype));
    return check_parameter("project_bias", p.project_bias, p.dtype);
  }

  static void make(Composite& c, const Dyn2trtGatedInvertedResidual& p, Workspace& workspace) {
    gate(c, p);
    c.geometry = same3x3();
    c.sets.active = workspace.take_set(p.x.n, p.x.h, p.x.w);
    c.sets.input = workspace.take_set(p.x.n, p.x.h, p.x.w);
    c.identity = p.x;
    c.out_activation = DYN2TRT_NONE;
    c.n_convolutions = 3;

    ConvStep step = {};
    step.dtype = p.dtype;
    step.flags = p.flags;
    step.h_in = p.x.h;
    step.w_in = p.x.w;

    ConvStep& expand = c.convolutions[0] = step;
    expand.geometry = kPointwise;
    expand.c_in = p.x.c;
    expand.c_out = p.expanded;
    expand.x = &p.x;
    expand.output = c.sets.input;
    expand.weight = p.expand_weight;
    expand.bias = p.expand_bias;
    expand.activation = p.activation;

    ConvStep& depthwise = c.convolutions[1] = step;
    depthwise.geometry = same3x3();
    depthwise.c_in = depthwise.c_out = p.expanded;
    depthwise.depthwise = true;
    depthwise.slots = c.sets.input.slots;
    depthwise.output = c.sets.active;
    depthwise.weight = p.depthwise_weight;
    depthwise.bias = p.depthwise_bias;
    depthwise.activation = p.activation;

    ConvStep& project = c.convolutions[2] = step;
    project.geometry = kPointwise;
    project.c_in = p.expanded;
    project.c_out = p.x.c;
    project.output = c.sets.active;
    project.weight = p.project_weight;
    project.bias = p.project_bias;
    plan(c, workspace);
  }

  static bool is_empty(const Dyn2trtGatedInvertedResidual& p) { return positions(p.x.n, p.x.h, p.x.w) * p.x.c == 0; }
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
