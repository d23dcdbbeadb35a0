// The lists of variants as one. A folder that is not there leaves its list empty.
#include "fused/fused.h"

namespace dyn2trt {

[[gnu::weak]] FusedVariants inverted_residual_variants() { return {nullptr, 0}; }
[[gnu::weak]] FusedVariants tile_variants() { return {nullptr, 0}; }
[[gnu::weak]] FusedVariants row_variants() { return {nullptr, 0}; }

const FusedVariant* fused_variant(int32_t block_kind, int32_t index) {
  const auto within = [&](const FusedVariants& variants) -> const FusedVariant* {
    if (index >= 0 && index < variants.count) return variants.list + index;
    index -= variants.count;
    return nullptr;
  };
  if (index < 0) return nullptr;
  switch (block_kind) {
    case DYN2TRT_INVERTED_RESIDUAL:
      return within(inverted_residual_variants());
    case DYN2TRT_BASIC_BLOCK:
    case DYN2TRT_BOTTLENECK:
      if (const FusedVariant* const tile = within(tile_variants())) return tile;
      return within(row_variants());
    default:
      return nullptr;
  }
}

}  // namespace dyn2trt
