// Sizes of a block's tile, and the shared memory of its operands.
#pragma once

#include "device/platform.cuh"

namespace dyn2trt::gemm {

// K extent of one pipeline stage, in bytes: 32 elements of 16 bits, 16 of fp32.
constexpr int kChunkBytes = 64;

template <class T>
constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(T));

constexpr int kVectorsPerChunk = kChunkBytes / 16;

// One row of an operand's stage.
struct alignas(16) OperandRow {
  unsigned char bytes[kChunkBytes];
};

// Part `vector` (16 bytes) of row `row` of a stage whose first row is `stage`. Parts are shuffled within a row, by the
// row's number, so that any 8 consecutive rows hold the same part in different banks: ldmatrix and vector accesses
// touch 8 rows at once. Two rows fill the banks, and rows 2 apart differ in the shuffle. Unsigned, here and in the
// loaders: this arithmetic stands beside every copy, and shifts and masks are all that is left of it.
DYN2TRT_DEVICE void* operand_part(OperandRow* stage, unsigned row, unsigned vector) {
  return stage[row].bytes + 16 * (vector ^ (row / 2 % kVectorsPerChunk));
}

DYN2TRT_DEVICE const void* operand_part(const OperandRow* stage, unsigned row, unsigned vector) {
  return stage[row].bytes + 16 * (vector ^ (row / 2 % kVectorsPerChunk));
}

// A block computes kRows x kCols outputs, each of its warps kWarpRows x kWarpCols of them.
template <int kRows_, int kCols_, int kWarpRows_, int kWarpCols_, int kStages_, int kMinBlocks_>
struct Tile {
  static constexpr int kRows = kRows_, kCols = kCols_;
  static constexpr int kWarpRows = kWarpRows_, kWarpCols = kWarpCols_;
  static constexpr int kStages = kStages_;        // of the cp.async pipeline
  static constexpr int kMinBlocks = kMinBlocks_;  // resident on a multiprocessor
  static constexpr int kRowWarps = kRows / kWarpRows, kColWarps = kCols / kWarpCols;
  static constexpr int kWarps = kRowWarps * kColWarps;
  static constexpr int kThreads = kWarps * kWarp;

  static_assert(kRows % kWarpRows == 0 && kCols % kWarpCols == 0, "warps tile the block");
  static_assert(kWarpRows % 16 == 0 && kWarpCols % 16 == 0, "ldmatrix.x4 loads 16 rows of either operand");
  static_assert(kThreads % kRows == 0, "every row has the same number of threads");
  static_assert(kStages >= 2, "one stage fills while another is used");
};

}  // namespace dyn2trt::gemm
