#include "fused/tiles/run_mma.cuh"

namespace dyn2trt::tiles {

int run_small_bf16(const Call& call) { return run_mma<bfloat16_t, SmallTiles>(call); }
int run_medium_bf16(const Call& call) { return run_mma<bfloat16_t, MediumTiles>(call); }

}  // namespace dyn2trt::tiles
