// fused/choose.h over variants and measurements made for tests/core/test_choose.py.
#include <iterator>

#include "fused/choose.h"

namespace {

using dyn2trt::FusedVariant;

std::size_t no_bytes(const Dyn2trtGatedBlock&) { return 0; }
int no_run(const Dyn2trtGatedBlock&, void*, void*) { return DYN2TRT_OK; }
bool is_half(const Dyn2trtGatedBlock& block) { return block.dtype != DYN2TRT_FLOAT32; }
bool is_even(const Dyn2trtGatedBlock& block) { return is_half(block) && block.x.c % 8 == 0; }

constexpr FusedVariant kVariants[] = {
    {"wide", 90, is_even, no_bytes, no_run},
    {"narrow", 90, is_half, no_bytes, no_run},
    {"any", 80, is_half, no_bytes, no_run, nullptr, true},
    {"newest", 100, is_even, no_bytes, no_run},
};

constexpr dyn2trt::Measured kTable[] = {
    {90, DYN2TRT_BASIC_BLOCK, 64, 64, 1, 32 * 32, 32, "wide"},
    {90, DYN2TRT_BASIC_BLOCK, 64, 64, 1, 32 * 32, 1, "narrow"},
    {90, DYN2TRT_BASIC_BLOCK, 64, 64, 1, 256 * 256, 32, "chain"},
    {90, DYN2TRT_BASIC_BLOCK, 64, 64, 1, 32 * 32, 32, "gone since"},
    {90, DYN2TRT_BASIC_BLOCK, 2048, 2048, 1, 32 * 32, 32, "any"},
    {100, DYN2TRT_BASIC_BLOCK, 512, 512, 1, 8 * 8, 1, "newest"},
    {80, DYN2TRT_BASIC_BLOCK, 512, 512, 1, 8 * 8, 1, "any"},
};

const FusedVariant* variant_at(int32_t, int32_t index) {
  return index >= 0 && index < static_cast<int32_t>(std::size(kVariants)) ? kVariants + index : nullptr;
}

}  // namespace

namespace dyn2trt {
MeasuredTable measured_table() { return {kTable, static_cast<int32_t>(std::size(kTable))}; }
}  // namespace dyn2trt

extern "C" __attribute__((visibility("default"))) const char* choose_among(const Dyn2trtGatedBlock* block,
                                                                           int32_t architecture) {
  const int32_t index =
      dyn2trt::choose_variant(*block, dyn2trt::device_of(architecture), variant_at, dyn2trt::measured_table());
  return index < 0 ? "chain" : kVariants[index].name;
}
