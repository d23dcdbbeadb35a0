#include "fused/tiles/run_mma.cuh"

namespace dyn2trt::tiles {

int run_small_fp16(const Call& call) { return run_mma<half_t, SmallTiles>(call); }
int run_medium_fp16(const Call& call) { return run_mma<half_t, MediumTiles>(call); }

}  // namespace dyn2trt::tiles
