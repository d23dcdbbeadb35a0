// GatedBasicBlock: conv1 at the halo of the active output sites, conv2 at the active sites.
#include "api/residual.h"

namespace dyn2trt {
namespace {

struct BasicBlock {
  static int check_sizes(const Dyn2trtGatedBasicBlock& p) { return check_residual_sizes(p); }

  static int check(const Dyn2trtGatedBasicBlock& p) { return check_residual(p); }

  static void make(Composite& c, const Dyn2trtGatedBasicBlock& p, Workspace& workspace) {
    gate(c, p);
    c.geometry = same3x3();
    c.sets.active = workspace.take_set(p.y.n, p.y.h, p.y.w);
    c.sets.input = workspace.take_set(p.y.n, p.y.h, p.y.w);
    c.identity = p.identity;
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
