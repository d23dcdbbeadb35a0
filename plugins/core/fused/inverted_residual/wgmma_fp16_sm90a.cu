#include "fused/inverted_residual/launch.cuh"

namespace dyn2trt::inverted_residual {

template int launch_form<Tile16x16Wgmma, half_t>(const Dyn2trtGatedBlock&, const float*, void*);

}  // namespace dyn2trt::inverted_residual
