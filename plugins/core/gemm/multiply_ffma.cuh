// A warp's part of a tile on CUDA cores in fp32: for fp32 without tf32, and for bf16 where there is no bf16 mma
// (sm_75). Lane (y, x) of a 4 x 8 grid owns rows y, y + 4, ... and columns x, x + 8, ...
#pragma once

#include "device/vector.cuh"
#include "gemm/tile.cuh"

namespace dyn2trt::gemm {

template <class T, int kWarpRows, int kWarpCols>
struct MultiplyFfma {
  static constexpr bool kOnCudaCores = true;
  static constexpr int kRowsPerLane = kWarpRows / 4, kColsPerLane = kWarpCols / 8;
  static constexpr int kValues = kRowsPerLane * kColsPerLane;
  float sum[kRowsPerLane][kColsPerLane];

  DYN2TRT_DEVICE float& value(int i) { return sum[i / kColsPerLane][i % kColsPerLane]; }

  DYN2TRT_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < kValues; ++i) value(i) = 0.0f;
  }

  // a and b: the first of this warp's rows of A and columns of B in a stage, a multiple of 16.
  DYN2TRT_DEVICE void multiply(const OperandRow* a, const OperandRow* b) {
    constexpr int kWidth = kVectorWidth<T>;
    const int y = threadIdx.x % kWarp / 8, x = threadIdx.x % 8;
#pragma unroll 1  // long enough as it is, and more would not fit into registers
    for (int vector = 0; vector < kVectorsPerChunk; ++vector) {
      float cols[kColsPerLane][kWidth];
#pragma unroll
      for (int j = 0; j < kColsPerLane; ++j) load(b, x + 8 * j, vector, cols[j]);
#pragma unroll
      for (int i = 0; i < kRowsPerLane; ++i) {
        float row[kWidth];
        load(a, y + 4 * i, vector, row);
#pragma unroll
        for (int j = 0; j < kColsPerLane; ++j) {
#pragma unroll
          for (int k = 0; k < kWidth; ++k) sum[i][j] += row[k] * cols[j][k];
        }
      }
    }
  }

  // Writes 16 rows of the sums, from row 16 * block on, to staging[row][column].
  template <int kPitch>
  DYN2TRT_DEVICE void stage(int block, float (*staging)[kPitch]) const {
    const int y = threadIdx.x % kWarp / 8, x = threadIdx.x % 8;
#pragma unroll
    for (int i = 0; i < kRowsPerLane; ++i) {
      if (i / 4 != block) continue;  // a comparison per block keeps the register array's indices constant
#pragma unroll
      for (int j = 0; j < kColsPerLane; ++j) staging[y + i % 4 * 4][x + 8 * j] = sum[i][j];
    }
  }

 private:
  template <int kWidth>
  static DYN2TRT_DEVICE void load(const OperandRow* stage, int row, int vector, float (&to)[kWidth]) {
    const Vector<T, kWidth> values = load_vector<kWidth>(static_cast<const T*>(operand_part(stage, row, vector)));
#pragma unroll
    for (int e = 0; e < kWidth; ++e) to[e] = to_float(values[e]);
  }
};

}  // namespace dyn2trt::gemm
