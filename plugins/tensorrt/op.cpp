#include "op.h"

#include <cstring>
#include <iterator>

namespace dyn2trt::tensorrt {
namespace {

Hooks hooksOf(contract::Op const& schema) {
  if (schema.block >= 0) return gatedBlock();
  if (std::strcmp(schema.name, "MaskGather") == 0) return maskGather();
  if (std::strcmp(schema.name, "SparseConv") == 0) return sparseConv();
  return maskScatter();
}

}  // namespace

size_t Op::nbRequired() const {
  size_t count = nbInputs();
  while (count > 0 && schema.inputs[count - 1].optional) --count;
  return count;
}

std::vector<Op> const& allOps() {
  static std::vector<Op> const ops = [] {
    std::vector<Op> made;
    for (contract::Op const& schema : contract::kOps) made.push_back({schema, hooksOf(schema)});
    return made;
  }();
  return ops;
}

}  // namespace dyn2trt::tensorrt
