#include "fused/inverted_residual/launch.cuh"

namespace dyn2trt::inverted_residual {

template int launch_form<Tile8x8, half_t>(const Dyn2trtGatedBlock&, const float*, void*);
template int launch_form<Tile8x16, half_t>(const Dyn2trtGatedBlock&, const float*, void*);
template int launch_form<Tile4x8, half_t>(const Dyn2trtGatedBlock&, const float*, void*);

}  // namespace dyn2trt::inverted_residual
