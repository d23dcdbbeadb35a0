// What was the fastest where, as measured. A row of an unknown variant is passed over.
#include <iterator>

#include "fused/choose.h"

namespace dyn2trt {
namespace {

constexpr Measured kTable[] = {
#include "fused/table.inc"
};

}  // namespace

MeasuredTable measured_table() { return {kTable, static_cast<int32_t>(std::size(kTable))}; }

}  // namespace dyn2trt
