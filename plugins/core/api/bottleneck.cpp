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
    DYN2TRT_TRY(check_parameter("conv3_weight", p.conv3_weight, p.dtype));
    return check_parameter("conv3_bias", p.conv3_bias, p.dtype);
  }

  static void make(Composite& c, const Dyn2trtGatedBottleneck& p, Workspace& workspace) {
    gate(c, p);
    c.geometry = same3x3(p.stride_h, p.stride_w);
    c.sets.active = workspace.take_set(p.y.n, p.y.h, p.y.w);
    c.sets.input = workspace.take_set(p.x.n, p.x.h, p.x.w);
    c.identity = p.identity;
    c.out_activation = p.activation;
    c.n_convolutions = 3;

    ConvStep step = {};
    step.dtype = p.dtype;
    step.flags = p.flags;

    ConvStep& conv1 = c.convolutions[0] = step;
    conv1.geometry = kPointwise;
    conv1.c_in = p.x.c;
    conv1.c_out = p.width;
    conv1.h_in = p.x.h;
    conv1.w_in = p.x.w;
    conv1.x = &p.x;
    conv1.output = c.sets.input;
    conv1.weight = p.conv1_weight;
    conv1.bias = p.conv1_bias;
    conv1.activation = p.activation;

    ConvStep& conv2 = c.convolutions[1] = step;
    conv2.geometry = c.geometry;
    conv2.c_in = conv2.c_out = p.width;
    conv2.h_in = p.x.h;
    conv2.w_in = p.x.w;
    conv2.slots = c.sets.input.slots;
    conv2.output = c.sets.active;
    conv2.weight = p.conv2_weight;
    conv2.bias = p.conv2_bias;
    conv2.activation = p.activation;

    ConvStep& conv3 = c.convolutions[2] = step;
    conv3.geometry = kPointwise;
    conv3.c_in = p.width;
    conv3.c_out = p.y.c;
    conv3.h_in = p.y.h;
    conv3.w_in = p.y.w;
    conv3.output = c.sets.active;
    conv3.weight = p.conv3_weight;
    conv3.bias = p.conv3_bias;
    plan(c, workspace);
  }

  static bool is_empty(const Dyn2trtGatedBottleneck& p) { return positions(p.y.n, p.y.h, p.y.w) * p.y.c == 0; }
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
