#include "op.h"

namespace dyn2trt::tensorrt {

std::vector<Op> const& allOps() {
  static std::vector<Op> const ops = {maskGather(),      sparseConv(),     maskScatter(), gatedInvertedResidual(),
                                      gatedBasicBlock(), gatedBottleneck()};
  return ops;
}

}  // namespace dyn2trt::tensorrt
