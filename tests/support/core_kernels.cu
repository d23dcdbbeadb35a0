// Tiny kernels for the emulator's own tests: right ones, and ones with the mistakes that it has to catch.
#include "device/activation.cuh"
#include "device/ptx/cp_async.cuh"
#include "device/ptx/ldmatrix.cuh"
#include "device/ptx/mma.cuh"
#include "device/scan.cuh"
#include "device/vector.cuh"
#include "launch/launch.cuh"

namespace dyn2trt {

struct Buffers {
  const void* in;
  void* out;
  int variant;
};

struct TestKernel {
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = 1;
  using Params = Buffers;
};

// Reverses 128 floats of a block through shared memory; variant 1 forgets the barrier.
struct Reverse : TestKernel {
  static constexpr const char* kName = "reverse";
  struct Shared {
    float tile[kThreads];
  };
  static __device__ void run(const Params& p, Shared& shared) {
    const int first = blockIdx.x * kThreads;
    shared.tile[threadIdx.x] = static_cast<const float*>(p.in)[first + threadIdx.x];
    if (p.variant != 1) __syncthreads();
    static_cast<float*>(p.out)[first + threadIdx.x] = shared.tile[kThreads - 1 - threadIdx.x];
  }
};

// What goes wrong is the variant's number.
struct Wrong : TestKernel {
  static constexpr const char* kName = "wrong";
  struct Shared {
    float tile[kThreads];
  };
  static __device__ void run(const Params& p, Shared& shared) {
    const float* in = static_cast<const float*>(p.in);
    float* out = static_cast<float*>(p.out);
    const int t = threadIdx.x;
    switch (p.variant) {
      case 0:  // some threads skip a barrier
        if (t < 64) __syncthreads();
        break;
      case 1:  // some meet another one
        if (t < 64) {
          __syncthreads();
        } else {
          __syncthreads();
        }
        break;
      case 2:  // a lane misses a vote
        if (t % kWarp != 5) out[t] = static_cast<float>(__ballot_sync(kFullWarp, 1));
        break;
      case 3:  // two collectives meet
        out[t] = t % 2 == 0 ? __shfl_sync(kFullWarp, 1.0f, 0) : static_cast<float>(__any_sync(kFullWarp, 1));
        break;
      case 4:  // reads beyond the tensor
        out[t] = in[t + kThreads];
        break;
      case 5:  // a vector load beyond the tensor's last element
        out[t] = load_vector<4>(in + (t == 127 ? kThreads - 4 : 0) + (t == 127 ? 4 : 0))[0];
        break;
      case 6:  // a misaligned vector load
        out[t] = load_vector<4>(in + 1)[0];
        break;
      case 7:  // beyond shared memory's array
        out[t] = shared.tile[t + 1];
        break;
      case 8:  // divides by zero
        out[t] = static_cast<float>(t / (p.variant - 8));
        break;
      case 9:  // writes far outside
        out[1 << 17] = 0.0f;
        break;
      case 10:  // writes just before the tensor
        if (t == 0) out[-1] = 0.0f;
        break;
      default:
        out[t] = in[t];
    }
  }
};

// Copies 128 rows of 16 bytes with cp.async. Variants: 1 does not wait, 2 waits for the group before only, 3 copies
// to a misaligned address, 4 leaves odd rows out.
struct AsyncCopy : TestKernel {
  static constexpr const char* kName = "async_copy";
  struct Shared {
    alignas(16) float rows[kThreads][4];
  };
  static __device__ void run(const Params& p, Shared& shared) {
    const int t = threadIdx.x;
    const auto* in = static_cast<const float*>(p.in) + 4 * t;
    auto* to = reinterpret_cast<unsigned char*>(shared.rows[t]) + (p.variant == 3 ? 4 : 0);
    ptx::cp_async_16(to, in, p.variant != 4 || t % 2 == 0);
    ptx::cp_async_commit();
    if (p.variant == 2) {
      ptx::cp_async_wait<1>();
    } else if (p.variant != 1) {
      ptx::cp_async_wait<0>();
    }
    __syncthreads();
    for (int i = 0; i < 4; ++i) static_cast<float*>(p.out)[4 * t + i] = shared.rows[kThreads - 1 - t][i];
  }
};

// Each lane's shuffles, votes and scans of the lane's input: out[10][32].
struct Collectives : TestKernel {
  static constexpr const char* kName = "collectives";
  static constexpr int kThreads = kWarp;
  struct Shared {};
  static __device__ void run(const Params& p, Shared&) {
    const int lane = threadIdx.x;
    const int x = static_cast<const int*>(p.in)[lane];
    int* out = static_cast<int*>(p.out) + lane;
    out[0 * kWarp] = __shfl_sync(kFullWarp, x, (lane + 7) % kWarp);
    out[1 * kWarp] = __shfl_up_sync(kFullWarp, x, 3);
    out[2 * kWarp] = __shfl_down_sync(kFullWarp, x, 5);
    out[3 * kWarp] = __shfl_xor_sync(kFullWarp, x, 9);
    out[4 * kWarp] = __shfl_xor_sync(kFullWarp, x, 3, 4);
    out[5 * kWarp] = static_cast<int>(__ballot_sync(kFullWarp, x > 0));
    out[6 * kWarp] = __any_sync(kFullWarp, x > 1000) * 2 + __all_sync(kFullWarp, x > -1000);
    out[7 * kWarp] = warp_inclusive_scan(x);
    const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    out[8 * kWarp] = static_cast<int>(__ballot_sync(half, x > 0));
    __syncwarp(half);
    out[9 * kWarp] = static_cast<int>(__shfl_sync(kFullWarp, 2.5, 0));
  }
};

struct Scan : TestKernel {
  static constexpr const char* kName = "scan";
  struct Shared {
    ScanShared<kThreads> scan;
  };
  static __device__ void run(const Params& p, Shared& shared) {
    int total = 0;
    const int before = block_exclusive_scan<kThreads>(static_cast<const int*>(p.in)[threadIdx.x], shared.scan, total);
    static_cast<int*>(p.out)[threadIdx.x] = before;
    if (threadIdx.x == kThreads - 1) static_cast<int*>(p.out)[kThreads] = total;
  }
};

// One warp's D = A*B^T + D, A [16, 16] and B [8, 16] of T by ldmatrix; variant 1 emulates the mma by shuffles. For tf32
// (T = float) A is [16, 8] and B [8, 8], read by hand.
template <class T>
struct Multiply : TestKernel {
  static constexpr const char* kName = "multiply";
  static constexpr int kThreads = kWarp;
  struct Shared {
    alignas(16) T a[16][sizeof(T) == 2 ? 16 : 8];
    alignas(16) T b[8][sizeof(T) == 2 ? 16 : 8];
  };
  static __device__ void run(const Params& p, Shared& shared) {
    const int lane = threadIdx.x;
    const int g = lane / 4, t = lane % 4;
    constexpr int kDepth = sizeof(T) == 2 ? 16 : 8;
    const T* in = static_cast<const T*>(p.in);
    for (int i = lane; i < 16 * kDepth; i += kWarp) shared.a[i / kDepth][i % kDepth] = in[i];
    for (int i = lane; i < 8 * kDepth; i += kWarp) shared.b[i / kDepth][i % kDepth] = in[16 * kDepth + i];
    __syncwarp();
    uint32_t a[4], b[2];
    float d[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    if constexpr (sizeof(T) == 2) {
      ptx::ldmatrix_x4(a, &shared.a[lane % 16][lane / 16 * 8]);
      ptx::ldmatrix_x2(b, &shared.b[lane % 8][lane / 8 % 2 * 8]);
      if (p.variant == 1) {
        ptx::emulated::mma_m16n8k16<T>(d, a, b);
      } else {
        ptx::mma_m16n8k16<T>(d, a, b);
      }
    } else {
      for (int r = 0; r < 4; ++r) a[r] = ptx::to_tf32(shared.a[g + 8 * (r % 2)][t + 4 * (r / 2)]);
      for (int r = 0; r < 2; ++r) b[r] = ptx::to_tf32(shared.b[g][t + 4 * r]);
      if (p.variant == 1) {
        ptx::emulated::mma_m16n8k8_tf32(d, a, b);
      } else {
        ptx::mma_m16n8k8_tf32(d, a, b);
      }
    }
    float* out = static_cast<float*>(p.out);
    for (int e = 0; e < 4; ++e) out[(g + 8 * (e / 2)) * 8 + 2 * t + e % 2] = d[e];
  }
};

// Four 8x8 matrices of 16 bits through ldmatrix, transposed for variant 1: out[matrix][lane] as packed pairs.
struct LoadMatrices : TestKernel {
  static constexpr const char* kName = "load_matrices";
  static constexpr int kThreads = kWarp;
  struct Shared {
    alignas(16) uint16_t rows[32][8];
  };
  static __device__ void run(const Params& p, Shared& shared) {
    const int lane = threadIdx.x;
    for (int i = 0; i < 8; ++i) shared.rows[lane][i] = static_cast<const uint16_t*>(p.in)[8 * lane + i];
    __syncwarp();
    uint32_t r[4];
    if (p.variant == 1) {
      ptx::ldmatrix_x4_trans(r, shared.rows[lane]);
    } else {
      ptx::ldmatrix_x4(r, shared.rows[lane]);
    }
    for (int i = 0; i < 4; ++i) static_cast<uint32_t*>(p.out)[i * kWarp + lane] = r[i];
  }
};

// out[i] = T(in[i]) for floats, 128 a block; variant 1 the other way.
template <class T>
struct Convert : TestKernel {
  static constexpr const char* kName = "convert";
  struct Shared {};
  static __device__ void run(const Params& p, Shared&) {
    const int i = blockIdx.x * kThreads + threadIdx.x;
    if (p.variant == 1) {
      static_cast<float*>(p.out)[i] = to_float(static_cast<const T*>(p.in)[i]);
    } else {
      static_cast<T*>(p.out)[i] = from_float<T>(static_cast<const float*>(p.in)[i]);
    }
  }
};

struct Activate : TestKernel {
  static constexpr const char* kName = "activate";
  struct Shared {};
  static __device__ void run(const Params& p, Shared&) {
    const int i = threadIdx.x;
    static_cast<float*>(p.out)[i] = activate(static_cast<const float*>(p.in)[i], p.variant);
  }
};

}  // namespace dyn2trt

#define DYN2TRT_TEST_KERNEL(name, ...)                                                               \
  extern "C" DYN2TRT_API int test_##name(const void* in, void* out, int variant, int blocks) {       \
    using namespace dyn2trt;                                                                         \
    return launch<__VA_ARGS__>({static_cast<unsigned>(blocks)}, Buffers{in, out, variant}, nullptr); \
  }

DYN2TRT_TEST_KERNEL(reverse, Reverse)
DYN2TRT_TEST_KERNEL(wrong, Wrong)
DYN2TRT_TEST_KERNEL(async_copy, AsyncCopy)
DYN2TRT_TEST_KERNEL(collectives, Collectives)
DYN2TRT_TEST_KERNEL(scan, Scan)
DYN2TRT_TEST_KERNEL(multiply_half, Multiply<half_t>)
DYN2TRT_TEST_KERNEL(multiply_bfloat16, Multiply<bfloat16_t>)
DYN2TRT_TEST_KERNEL(multiply_float, Multiply<float>)
DYN2TRT_TEST_KERNEL(load_matrices, LoadMatrices)
DYN2TRT_TEST_KERNEL(convert_half, Convert<half_t>)
DYN2TRT_TEST_KERNEL(convert_bfloat16, Convert<bfloat16_t>)
DYN2TRT_TEST_KERNEL(activate, Activate)
