#include "fused/choose.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace dyn2trt {
namespace {

// log2 in 64ths, between powers of two as a straight line: a call has no time for more.
int32_t log2_of(int64_t value) {
  int32_t whole = 0;
  const int64_t counted = std::max<int64_t>(value, 1);
  while (counted >> (whole + 1) != 0) ++whole;
  return 64 * whole + static_cast<int32_t>(((counted << 6) >> whole) & 63);
}

struct Shape {
  int32_t channels, width, stride, positions, batch;  // log2_of() each
};

// How many 64ths of a doubling lie between two shapes, along all axes together.
int32_t distance(const Measured& row, const Shape& shape) {
  return std::abs(log2_of(row.channels) - shape.channels) + std::abs(log2_of(row.width) - shape.width) +
         std::abs(log2_of(row.stride) - shape.stride) + std::abs(log2_of(row.positions) - shape.positions) +
         std::abs(log2_of(row.batch) - shape.batch);
}

// The newest architecture with rows for this kind of block that is not newer than the device; 0 when there is none.
int32_t measured_architecture(const MeasuredTable& table, int32_t block_kind, int32_t architecture) {
  int32_t newest = 0;
  for (int32_t i = 0; i < table.count; ++i) {
    const Measured& row = table.rows[i];
    if (row.block_kind == block_kind && row.architecture <= architecture) newest = std::max(newest, row.architecture);
  }
  return newest;
}

}  // namespace

int32_t choose_variant(const Dyn2trtGatedBlock& block, const DeviceOfVariants& device, VariantAt variants,
                       const MeasuredTable& table) {
  const bool in_place =
      block.y.data != nullptr && (block.y.data == block.x.data || block.y.data == block.identity.data);
  const auto fits = [&](const FusedVariant& variant) {
    return (variant.in_place || !in_place) && can_run(variant, block, device);
  };
  // Index of the variant of that name, -1 for the chain; false when it is not there or does not take the block.
  const auto find = [&](const char* name, int32_t& found) {
    found = -1;
    if (std::strcmp(name, kChainName) == 0) return !in_place;
    for (int32_t v = 0; const FusedVariant* variant = variants(block.kind, v); ++v) {
      if (std::strcmp(variant->name, name) != 0) continue;
      found = v;
      return fits(*variant);
    }
    return false;
  };
  const Shape shape = {log2_of(block.x.c), log2_of(block.convolutions[0].c_out), log2_of(block.stride_h),
                       log2_of(int64_t{block.y.h} * block.y.w), log2_of(block.y.n)};
  const int32_t measured = measured_architecture(table, block.kind, device.architecture);
  int32_t chosen = -1, nearest = INT32_MAX, found = -1;
  for (int32_t i = 0; i < table.count; ++i) {
    const Measured& row = table.rows[i];
    if (row.block_kind != block.kind || row.architecture != measured) continue;
    const int32_t away = distance(row, shape);
    if (away >= nearest || !find(row.variant, found)) continue;
    nearest = away;
    chosen = found;
  }
  if (nearest < INT32_MAX) return chosen;
  for (int32_t v = 0; const FusedVariant* variant = variants(block.kind, v); ++v) {
    if (fits(*variant)) return v;
  }
  return -1;
}

DeviceOfVariants device_of(int32_t architecture) {
  switch (architecture) {
    case 80:
    case 87:
      return {architecture, 163 * 1024};
    case 90:
    case 100:
    case 103:
    case 110:
      return {architecture, 227 * 1024};
    default:
      return {architecture, architecture < 80 ? 64 * 1024 : 99 * 1024};
  }
}

int32_t choose_variant(const Dyn2trtGatedBlock& block, const DeviceOfVariants& device) {
  return choose_variant(block, device, fused_variant, measured_table());
}

}  // namespace dyn2trt
