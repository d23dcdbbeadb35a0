// GatedBasicBlock: conv1 at the halo of the active output sites, conv2 at the active sites.
#include "api/residual.h"

namespace dyn2trt {
namespace {

struct BasicBlock {
  static int check_sizes(const Dyn2trtGatedBasicBlock& p) { return check_residual_sizes(p); }

  static int check(const Dyn2trtGatedBasicBlock& p) { return check_residual(p); }

  static void make(Composite& c, const Dyn2trtGatedBasicBlock& p, Workspace& workspace) {
    gate(c, p, same3x3(), p.y, workspace);
    c.identity = p.identity;
    c.out_activation = p.activation;
    convolve_halo(c, p.x, same3x3(p.stride_h, p.stride_w), {p.y.c, p.conv1_weight, p.conv1_bias, p.activation});
    convolve_active(c, c.geometry, {p.y.c, p.conv2_weight, p.conv2_bias, DYN2TRT_NONE});
  }
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
