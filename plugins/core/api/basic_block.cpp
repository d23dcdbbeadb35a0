// GatedBasicBlock: conv1 at the halo of the active output sites, conv2 at the active sites.
#include "api/composite.h"

namespace dyn2trt {
namespace {

struct BasicBlock {
  static int check_sizes(const Dyn2trtGatedBasicBlock& p) {
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
                "x [%d, %d, %d, %d] with strides %d x %d gives y on [%d, %d, %d], not [%d, %d, %d]", p.x.n, p.x.c,
                p.x.h, p.x.w, p.stride_h, p.stride_w, p.x.n, ho, wo, p.y.n, p.y.h, p.y.w);
  }

  static int check(const Dyn2trtGatedBasicBlock& p) {
    DYN2TRT_TRY(check_dense("x", p.x, p.dtype));
    DYN2TRT_TRY(check_dense("identity", p.identity, p.dtype));
    DYN2TRT_TRY(check_dense("y", p.y, p.dtype));
    DYN2TRT_TRY(check_channels("channels of x", p.x.c));
    if (p.x.data == p.y.data || p.identity.data == p.y.data) {
      return fail(DYN2TRT_UNSUPPORTED, "y must be neither x nor identity: the block reads them while it writes y");
    }
    DYN2TRT_TRY(check_pointer("mask", p.mask, alignof(float)));
    DYN2TRT_TRY(check_parameter("conv1_weight", p.conv1_weight, p.dtype));
    DYN2TRT_TRY(check_parameter("conv1_bias", p.conv1_bias, p.dtype));
    DYN2TRT_TRY(check_parameter("conv2_weight", p.conv2_weight, p.dtype));
    return check_parameter("conv2_bias", p.conv2_bias, p.dtype);
  }

  static void make(Composite& c, const Dyn2trtGatedBasicBlock& p, Workspace& workspace) {
    c.dtype = p.dtype;
    c.flags = p.flags;
    c.mask = p.mask;
    c.threshold = p.threshold;
    c.mask_h = p.y.h;
    c.mask_w = p.y.w;
    c.geometry = same3x3();
    c.sets.active = workspace.take_set(p.y.n, p.y.h, p.y.w);
    c.sets.input = workspace.take_set(p.y.n, p.y.h, p.y.w);
    c.identity = p.identity;
    c.y = p.y;
    c.out_activation = p.activation;
    c.n_convolutions = 2;

    ConvStep step = {};
    step.dtype = p.dtype;
    step.flags = p.flags;
    step.c_out = p.y.c;

    ConvStep& conv1 = c.convolutions[0] = step;
    conv1.geometry = same3x3(p.stride_h, p.stride_w);
    conv1.c_in = p.x.c;
    conv1.h_in = p.x.h;
    conv1.w_in = p.x.w;
    conv1.x = &p.x;
    conv1.output = c.sets.input;
    conv1.weight = p.conv1_weight;
    conv1.bias = p.conv1_bias;
    conv1.activation = p.activation;

    ConvStep& conv2 = c.convolutions[1] = step;
    conv2.geometry = same3x3();
    conv2.c_in = p.y.c;
    conv2.h_in = p.y.h;
    conv2.w_in = p.y.w;
    conv2.slots = c.sets.input.slots;
    conv2.output = c.sets.active;
    conv2.weight = p.conv2_weight;
    conv2.bias = p.conv2_bias;
    plan(c, workspace);
  }

  static bool is_empty(const Dyn2trtGatedBasicBlock& p) { return positions(p.y.n, p.y.h, p.y.w) * p.y.c == 0; }
};

}  // namespace
}  // namespace dyn2trt

int dyn2trt_gated_basic_block_workspace(const Dyn2trtGatedBasicBlock* params, size_t* bytes) {
  return dyn2trt::composite_workspace<dyn2trt::BasicBlock>(*params, bytes);
}

int dyn2trt_gated_basic_block(const Dyn2trtGatedBasicBlock* params, void* workspace, size_t workspace_bytes,
                              void* stream) {
  return dyn2trt::composite_run<dyn2trt::BasicBlock>(*params, workspace, workspace_bytes, stream);
}
