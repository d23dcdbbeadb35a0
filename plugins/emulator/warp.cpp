#include "emulator/warp.h"

#include <cstring>

#include "emulator/float16.h"

namespace dyn2trt::emulator {

unsigned warp_ballot(unsigned mask, int predicate, Place place) {
  unsigned votes = 0;
  warp_meeting(mask, place, &predicate, &votes, [](Lanes& lanes) {
    unsigned all = 0;
    for (int lane = 0; lane < 32; ++lane) {
      if (((lanes.mask >> lane) & 1u) != 0 && *static_cast<const int*>(lanes.in[lane]) != 0) all |= 1u << lane;
    }
    for (int lane = 0; lane < 32; ++lane) {
      if (((lanes.mask >> lane) & 1u) != 0) *static_cast<unsigned*>(lanes.out[lane]) = all;
    }
  });
  return votes;
}

namespace {

struct MatrixRow {
  const void* address;
  int matrices;
  bool transposed;
};

void load_matrices(Lanes& lanes) {
  const auto& first = *static_cast<const MatrixRow*>(lanes.in[0]);
  for (int lane = 0; lane < 32; ++lane) {
    const auto& row = *static_cast<const MatrixRow*>(lanes.in[lane]);
    if (reinterpret_cast<uintptr_t>(row.address) % 16 != 0) {
      kernel_error("ldmatrix: lane %d's address is no multiple of 16", lane);
    }
  }
  for (int matrix = 0; matrix < first.matrices; ++matrix) {
    uint16_t elements[8][8];
    for (int row = 0; row < 8; ++row) {
      std::memcpy(elements[row], static_cast<const MatrixRow*>(lanes.in[8 * matrix + row])->address, 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = 2 * (lane % 4);
      const uint32_t low = first.transposed ? elements[t][g] : elements[g][t];
      const uint32_t high = first.transposed ? elements[t + 1][g] : elements[g][t + 1];
      static_cast<uint32_t*>(lanes.out[lane])[matrix] = low | (high << 16);
    }
  }
}

struct Fragments {
  const uint32_t* a;
  const uint32_t* b;
  bool bfloat16;
};

float element(uint32_t bits, int half_index, bool is_bfloat16) {
  const auto part = static_cast<uint16_t>(bits >> (16 * half_index));
  return is_bfloat16 ? to_float(bfloat16{part}) : to_float(half{part});
}

template <int K>
void multiply(Lanes& lanes, const float (&a)[16][K], const float (&b)[K][8]) {
  for (int row = 0; row < 16; ++row) {
    float sum[8] = {};
    for (int k = 0; k < K; ++k) {
      for (int column = 0; column < 8; ++column) sum[column] += a[row][k] * b[k][column];
    }
    for (int t = 0; t < 4; ++t) {
      auto* d = static_cast<float*>(lanes.out[4 * (row % 8) + t]) + (row < 8 ? 0 : 2);
      d[0] += sum[2 * t];
      d[1] += sum[2 * t + 1];
    }
  }
}

void multiply_16bit(Lanes& lanes) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& in = *static_cast<const Fragments*>(lanes.in[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      for (int e = 0; e < 2; ++e) {
        a[g + 8 * (r % 2)][2 * t + e + 8 * (r / 2)] = element(in.a[r], e, in.bfloat16);
      }
    }
    for (int r = 0; r < 2; ++r) {
      for (int e = 0; e < 2; ++e) b[2 * t + e + 8 * r][g] = element(in.b[r], e, in.bfloat16);
    }
  }
  multiply<16>(lanes, a, b);
}

void multiply_tf32(Lanes& lanes) {
  float a[16][8], b[8][8];
  // The hardware ignores the 13 low bits of what it is given.
  const auto value = [](uint32_t bits) { return as_float(bits & 0xffffe000u); };
  for (int lane = 0; lane < 32; ++lane) {
    const auto& in = *static_cast<const Fragments*>(lanes.in[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) a[g + 8 * (r % 2)][t + 4 * (r / 2)] = value(in.a[r]);
    for (int r = 0; r < 2; ++r) b[t + 4 * r][g] = value(in.b[r]);
  }
  multiply<8>(lanes, a, b);
}

constexpr unsigned kAll = 0xffffffffu;

}  // namespace

void ldmatrix(uint32_t* registers, int matrices, const void* row, bool transposed) {
  const MatrixRow in{row, matrices, transposed};
  warp_meeting(kAll, {"ldmatrix", __FILE__, __LINE__}, &in, registers, load_matrices);
}

void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], bool bfloat16) {
  const Fragments in{a, b, bfloat16};
  warp_meeting(kAll, {"mma.m16n8k16", __FILE__, __LINE__}, &in, d, multiply_16bit);
}

void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const Fragments in{a, b, false};
  warp_meeting(kAll, {"mma.m16n8k8.tf32", __FILE__, __LINE__}, &in, d, multiply_tf32);
}

}  // namespace dyn2trt::emulator
