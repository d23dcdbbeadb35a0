// Kernels of the emulator's tests whose copies and products run beside the threads: a right way, and mistakes by
// number.
#include "device/ptx/ldmatrix.cuh"
#include "device/ptx/mbarrier.cuh"
#include "device/ptx/named_barrier.cuh"
#include "device/ptx/setmaxnreg.cuh"
#include "device/ptx/tma.cuh"
#include "device/ptx/wgmma.cuh"
#include "launch/launch.cuh"
#include "launch/tensor_map.h"

namespace dyn2trt {

// D [64, 32] = A [64, taps * 64] * B, B [30, taps, 56], which is zero beyond. A warp fills two stages, A by cp.async
// and B by bulk copies; a warpgroup multiplies.
template <class T>
struct AsyncProduct {
  static constexpr const char* kName = "async_product";
  static constexpr int kThreads = 160;
  static constexpr int kMinBlocks = 1;
  static constexpr int kTaps = 5, kRows = 64, kColumns = 32, kDepth = 64, kStages = 2;
  static constexpr int kBytesOfB = kColumns * kDepth * 2;

  enum Mistake {
    kNone = 0,
    kReadsWithoutWaiting,
    kNoProxyFence,
    kNoProductWait,
    kNoProductFence,
    kReleasesEarly,
    kFillsWithoutWaiting,
    kExpectsTooLittle,
    kNotInitialised,
    kLeavesEarly,
    kArrivesBeforeCopies,
    kMisalignedBox,
    kFromRegisters,  // no mistake: A by ldmatrix
    kWriterFences,   // none either: the fence on the other side
    kOverwritesRegisters,
  };

  struct Params {
    ptx::TensorMap b;
    const T* a;
    float* d;
    int mistake;
  };
  struct Shared {
    alignas(1024) T a[kStages][kRows][kDepth];
    alignas(1024) T b[kStages][kColumns][kDepth];
    ptx::Mbarrier full[kStages], empty[kStages];
  };

  static __device__ void run(const Params& p, Shared& shared) {
    const int thread = threadIdx.x;
    if (thread == 0 && p.mistake != kNotInitialised) {
      for (int s = 0; s < kStages; ++s) {
        ptx::mbarrier_init(&shared.full[s], kWarp + 1);
        ptx::mbarrier_init(&shared.empty[s], 4);
      }
      ptx::mbarrier_init_fence();
    }
    __syncthreads();
    if (thread >= 128) {
      fill(p, shared, thread - 128);
    } else {
      multiply(p, shared, thread);
    }
  }

 private:
  static __device__ void fill(const Params& p, Shared& shared, int lane) {
    for (int tap = 0; tap < kTaps; ++tap) {
      const int s = tap % kStages;
      if (p.mistake != kFillsWithoutWaiting) ptx::mbarrier_wait(&shared.empty[s], tap / kStages + 1 & 1);
      if (lane == 0) {
        ptx::mbarrier_arrive_expect(&shared.full[s], p.mistake == kExpectsTooLittle ? kBytesOfB / 2 : kBytesOfB);
        ptx::bulk_copy(&shared.b[s][p.mistake == kMisalignedBox ? 1 : 0][0], &p.b, &shared.full[s], 0, tap, 0);
      }
      for (int i = lane; i < kRows * 8; i += kWarp) {
        const int row = i / 8, part = i % 8;
        ptx::cp_async_16(&shared.a[s][row][(part ^ row % 8) * 8], p.a + (row * kTaps + tap) * kDepth + part * 8, true);
      }
      if (p.mistake == kWriterFences) {
        ptx::cp_async_commit();
        ptx::cp_async_wait<0>();
        ptx::fence_proxy_async();
        ptx::mbarrier_arrive(&shared.full[s]);
      } else if (p.mistake == kArrivesBeforeCopies) {
        ptx::mbarrier_arrive(&shared.full[s]);
      } else {
        ptx::mbarrier_arrive_after_copies(&shared.full[s]);
      }
    }
  }

  static __device__ void multiply(const Params& p, Shared& shared, int thread) {
    const int warp = thread / kWarp, lane = thread % kWarp;
    float sums[kColumns / 2];
    for (float& sum : sums) sum = 0.0f;
    for (int tap = 0; tap < (p.mistake == kLeavesEarly ? kTaps - 1 : kTaps); ++tap) {
      const int s = tap % kStages;
      if (p.mistake != kReadsWithoutWaiting) ptx::mbarrier_wait(&shared.full[s], tap / kStages & 1);
      if (p.mistake != kNoProxyFence && p.mistake != kWriterFences) ptx::fence_proxy_async();
      const ptx::MatrixDescriptor a = ptx::swizzled_matrix(shared.a[s]), b = ptx::swizzled_matrix(shared.b[s]);
      if (p.mistake != kNoProductFence) ptx::wgmma_fence();
      uint32_t own[kDepth / 16][4];
      for (int k = 0; k < kDepth / 16; ++k) {
        if (p.mistake == kFromRegisters || p.mistake == kOverwritesRegisters) {
          uint32_t (&registers)[4] = own[p.mistake == kFromRegisters ? k : 0];
          const int row = warp * 16 + lane % 16;
          ptx::ldmatrix_x4(registers, &shared.a[s][row][((2 * k + lane / 16) ^ row % 8) * 8]);
          ptx::wgmma<T, kColumns>(sums, registers, b + 2 * k, tap + k > 0);
        } else {
          ptx::wgmma<T, kColumns>(sums, a + 2 * k, b + 2 * k, tap + k > 0);
        }
      }
      ptx::wgmma_commit();
      if (p.mistake == kReleasesEarly) ptx::wgmma_wait<1>();
      if (p.mistake != kReleasesEarly && p.mistake != kNoProductWait) ptx::wgmma_wait<0>();
      if (lane == 0) ptx::mbarrier_arrive(&shared.empty[s]);
    }
    if (p.mistake != kNoProductWait) ptx::wgmma_wait<0>();
    for (int i = 0; i < kColumns / 2; ++i) {
      const int row = warp * 16 + lane / 4 + i % 4 / 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      p.d[row * kColumns + column] = sums[i];
    }
  }
};

template <class T>
int async_product(const void* in, void* out, int mistake, int blocks) {
  using Kernel = AsyncProduct<T>;
  typename Kernel::Params params = {};
  params.a = static_cast<const T*>(in);
  params.d = static_cast<float*>(out);
  params.mistake = mistake;
  const T* b = params.a + Kernel::kRows * Kernel::kTaps * Kernel::kDepth;
  const TensorBox box = {b, DtypeOf<T>::value, 3, {56, Kernel::kTaps, 30}, {2, 112, 112 * Kernel::kTaps}, {64, 1, 32}};
  DYN2TRT_TRY(make_tensor_map(box, params.b));
  return launch<Kernel>({static_cast<unsigned>(blocks)}, params, nullptr);
}

// Two pairs of warps exchange 64 numbers each, at barriers of their own. Variant 1: without; 2: a warp does not come.
struct Pairs {
  static constexpr const char* kName = "pairs";
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = 1;
  struct Params {
    const int* in;
    int* out;
    int variant;
  };
  struct Shared {
    int tile[kThreads];
  };
  static __device__ void run(const Params& p, Shared& shared) {
    const int t = threadIdx.x, pair = t / 64;
    for (int round = 0; round < 3; ++round) {
      shared.tile[t] = p.in[t] + round;
      if (p.variant != 1 && (p.variant != 2 || t >= kWarp)) ptx::named_barrier(1 + pair, 64);
      const int other = shared.tile[t ^ 63];
      if (p.variant != 1) ptx::named_barrier(1 + pair, 64);
      p.out[round * kThreads + t] = other;
    }
  }
};

}  // namespace dyn2trt

extern "C" {

DYN2TRT_API int test_async_product_half(const void* in, void* out, int mistake, int blocks) {
  return dyn2trt::async_product<dyn2trt::half_t>(in, out, mistake, blocks);
}

DYN2TRT_API int test_async_product_bfloat16(const void* in, void* out, int mistake, int blocks) {
  return dyn2trt::async_product<dyn2trt::bfloat16_t>(in, out, mistake, blocks);
}

DYN2TRT_API int test_pairs(const void* in, void* out, int variant, int blocks) {
  using dyn2trt::Pairs;
  const Pairs::Params params = {static_cast<const int*>(in), static_cast<int*>(out), variant};
  return dyn2trt::launch<Pairs>({static_cast<unsigned>(blocks)}, params, nullptr);
}
}
