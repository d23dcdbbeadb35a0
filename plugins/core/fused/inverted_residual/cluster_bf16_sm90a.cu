#include "fused/inverted_residual/launch.cuh"

namespace dyn2trt::inverted_residual {

template int launch_form<Tile8x8Cluster, bfloat16_t>(const Dyn2trtGatedBlock&, const float*, void*);
template int launch_form<Tile8x8ClusterOf3, bfloat16_t>(const Dyn2trtGatedBlock&, const float*, void*);

}  // namespace dyn2trt::inverted_residual
