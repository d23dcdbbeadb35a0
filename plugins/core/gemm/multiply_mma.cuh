// A warp's part of a tile on tensor cores: fragments by ldmatrix, products by mma.sync, fp32 accumulators.
//
// A k-step is 32 bytes of K for every type: 16 elements of fp16 and bf16 (m16n8k16), 8 of tf32 (m16n8k8). Seen as bytes
// the fragments of both are the same, so one ldmatrix pattern serves all.
#pragma once

#include "device/ptx/ldmatrix.cuh"
#include "device/ptx/mma.cuh"
#include "gemm/tile.cuh"

namespace dyn2trt::gemm {

template <class T, int kWarpRows, int kWarpCols>
struct MultiplyMma {
  static constexpr bool kOnCudaCores = false;
  static constexpr int kRowBlocks = kWarpRows / 16, kColBlocks = kWarpCols / 8;
  static constexpr int kValues = kRowBlocks * kColBlocks * 4;
  float sum[kRowBlocks][kColBlocks][4];

  DYN2TRT_DEVICE float& value(int i) { return sum[i / (kColBlocks * 4)][i / 4 % kColBlocks][i % 4]; }

  DYN2TRT_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < kValues; ++i) value(i) = 0.0f;
  }

  // a and b: the first of this warp's rows of A and columns of B in a stage, a multiple of 16.
  DYN2TRT_DEVICE void multiply(const OperandRow* a, const OperandRow* b) {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int step = 0; step < kChunkBytes / 32; ++step) {
      uint32_t rows[kRowBlocks][4], cols[kColBlocks / 2][4];
#pragma unroll
      for (int i = 0; i < kRowBlocks; ++i) {
        ptx::ldmatrix_x4(rows[i], operand_part(a, i * 16 + lane % 16, step * 2 + lane / 16));
      }
#pragma unroll
      for (int j = 0; j < kColBlocks / 2; ++j) {
        ptx::ldmatrix_x4(cols[j], operand_part(b, j * 16 + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
      }
      if constexpr (sizeof(T) == 4) {
        round(rows);
        round(cols);
      }
#pragma unroll
      for (int i = 0; i < kRowBlocks; ++i) {
#pragma unroll
        for (int j = 0; j < kColBlocks; ++j) {
          const uint32_t col[2] = {cols[j / 2][j % 2 * 2], cols[j / 2][j % 2 * 2 + 1]};
          if constexpr (sizeof(T) == 4) {
            ptx::mma_m16n8k8_tf32(sum[i][j], rows[i], col);
          } else {
            ptx::mma_m16n8k16<T>(sum[i][j], rows[i], col);
          }
        }
      }
    }
  }

  // Writes 16 rows of the sums, from row 16 * block on, to staging[row][column].
  template <int kPitch>
  DYN2TRT_DEVICE void stage(int block, float (*staging)[kPitch]) const {
    const int row = threadIdx.x % kWarp / 4, col = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < kRowBlocks; ++i) {
      if (i != block) continue;  // a comparison per block keeps the register array's indices constant
#pragma unroll
      for (int j = 0; j < kColBlocks; ++j) {
        *reinterpret_cast<float2*>(&staging[row][j * 8 + col]) = make_float2(sum[i][j][0], sum[i][j][1]);
        *reinterpret_cast<float2*>(&staging[row + 8][j * 8 + col]) = make_float2(sum[i][j][2], sum[i][j][3]);
      }
    }
  }

 private:
  template <int kBlocks>
  static DYN2TRT_DEVICE void round(uint32_t (&fragments)[kBlocks][4]) {
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float x;
        memcpy(&x, &fragments[i][e], sizeof x);
        fragments[i][e] = ptx::to_tf32(x);
      }
    }
  }
};

}  // namespace dyn2trt::gemm
