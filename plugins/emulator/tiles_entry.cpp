// The basic block by tiles, for tests: every variant, whatever the library would choose.
#include "fused/tiles/tiles.h"
#include "launch/status.h"

extern "C" {

// Name of the variant, null beyond the last.
DYN2TRT_API const char* dyn2trt_emulator_tile_variant(int index) {
  const dyn2trt::FusedVariants variants = dyn2trt::tile_variants();
  return index < variants.count ? variants.list[index].name : nullptr;
}

// Bytes of workspace, or -1 when the variant does not take the block.
DYN2TRT_API int64_t dyn2trt_emulator_tile_workspace(int index, const Dyn2trtGatedBlock* block) {
  const dyn2trt::FusedVariant& variant = dyn2trt::tile_variants().list[index];
  return variant.takes(*block) ? static_cast<int64_t>(variant.workspace(*block)) : -1;
}

DYN2TRT_API int dyn2trt_emulator_tile_run(int index, const Dyn2trtGatedBlock* block, void* workspace) {
  return dyn2trt::tile_variants().list[index].run(*block, workspace, nullptr);
}
}
