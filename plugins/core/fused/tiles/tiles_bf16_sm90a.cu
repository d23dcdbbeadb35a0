#include "fused/tiles/run_sm90a.cuh"

namespace dyn2trt::tiles {

int run_small_sm90a_bf16(const Call& call) { return run_wgmma<bfloat16_t, SmallWarpgroupTiles>(call); }
int run_wide_sm90a_bf16(const Call& call) { return run_wgmma<bfloat16_t, WideWarpgroupTiles>(call); }
int run_medium_sm90a_bf16(const Call& call) { return run_wgmma<bfloat16_t, MediumWarpgroupTiles>(call); }
int run_large_sm90a_bf16(const Call& call) { return run_wgmma<bfloat16_t, LargeWarpgroupTiles>(call); }

}  // namespace dyn2trt::tiles
