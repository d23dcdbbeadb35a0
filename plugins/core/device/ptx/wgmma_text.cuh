// The text of wgmma for each number of columns: wgmma.cuh is what kernels include.
#pragma once

#include "device/dtype.cuh"

// Accumulators as operands, and their numbers in the text.
#define DYN2TRT_SUMS_8(d, i)                                                                                  \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define DYN2TRT_SUMS_16(d, i) DYN2TRT_SUMS_8(d, i), DYN2TRT_SUMS_8(d, i + 8)
#define DYN2TRT_SUMS_24(d, i) DYN2TRT_SUMS_16(d, i), DYN2TRT_SUMS_8(d, i + 16)
#define DYN2TRT_SUMS_32(d, i) DYN2TRT_SUMS_16(d, i), DYN2TRT_SUMS_16(d, i + 16)
#define DYN2TRT_SUMS_48(d, i) DYN2TRT_SUMS_32(d, i), DYN2TRT_SUMS_16(d, i + 32)
#define DYN2TRT_SUMS_64(d, i) DYN2TRT_SUMS_32(d, i), DYN2TRT_SUMS_32(d, i + 32)
#define DYN2TRT_NUMBERS_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define DYN2TRT_NUMBERS_16 DYN2TRT_NUMBERS_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define DYN2TRT_NUMBERS_24 DYN2TRT_NUMBERS_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define DYN2TRT_NUMBERS_32 DYN2TRT_NUMBERS_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define DYN2TRT_NUMBERS_48                   \
  DYN2TRT_NUMBERS_32                         \
  ", %32, %33, %34, %35, %36, %37, %38, %39" \
  ", %40, %41, %42, %43, %44, %45, %46, %47"
#define DYN2TRT_NUMBERS_64                   \
  DYN2TRT_NUMBERS_48                         \
  ", %48, %49, %50, %51, %52, %53, %54, %55" \
  ", %56, %57, %58, %59, %60, %61, %62, %63"

// A in shared memory: its descriptor is operand a, B's b; keep is the number of the predicate.
#define DYN2TRT_WGMMA_SHARED(columns, sums, type, a_, b_, keep_)                                                 \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #keep_ ", 0;\nwgmma.mma_async.sync.aligned.m64n" #columns    \
               "k16.f32." type "." type " {" DYN2TRT_NUMBERS_##sums "}, %" #a_ ", %" #b_ ", p, 1, 1, 0, 0;\n}\n" \
               : DYN2TRT_SUMS_##sums(d, 0)                                                                       \
               : "l"(a), "l"(b), "r"(keep))

// A in four registers a lane.
#define DYN2TRT_WGMMA_REGISTERS(columns, sums, type, a0, a1, a2, a3, b_, keep_)                               \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #keep_ ", 0;\nwgmma.mma_async.sync.aligned.m64n" #columns \
               "k16.f32." type "." type " {" DYN2TRT_NUMBERS_##sums "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 \
                                                                    "}, %" #b_ ", p, 1, 1, 0;\n}\n"           \
               : DYN2TRT_SUMS_##sums(d, 0)                                                                    \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep))

// Both for one number of columns; `sums` is half of it, the following numbers count on from it.
#define DYN2TRT_WGMMA_COLUMNS(columns, sums, n1, n2, n3, n4, n5)                                          \
  template <>                                                                                             \
  struct Wgmma<columns> {                                                                                 \
    template <class T>                                                                                    \
    static DYN2TRT_DEVICE void multiply(float (&d)[sums], uint64_t a, uint64_t b, int keep) {             \
      if constexpr (DtypeOf<T>::value == DYN2TRT_BFLOAT16) {                                              \
        DYN2TRT_WGMMA_SHARED(columns, sums, "bf16", sums, n1, n2);                                        \
      } else {                                                                                            \
        DYN2TRT_WGMMA_SHARED(columns, sums, "f16", sums, n1, n2);                                         \
      }                                                                                                   \
    }                                                                                                     \
    template <class T>                                                                                    \
    static DYN2TRT_DEVICE void multiply(float (&d)[sums], const uint32_t (&a)[4], uint64_t b, int keep) { \
      if constexpr (DtypeOf<T>::value == DYN2TRT_BFLOAT16) {                                              \
        DYN2TRT_WGMMA_REGISTERS(columns, sums, "bf16", sums, n1, n2, n3, n4, n5);                         \
      } else {                                                                                            \
        DYN2TRT_WGMMA_REGISTERS(columns, sums, "f16", sums, n1, n2, n3, n4, n5);                          \
      }                                                                                                   \
    }                                                                                                     \
  }

namespace dyn2trt::ptx {

template <int kColumns>
struct Wgmma;

DYN2TRT_WGMMA_COLUMNS(16, 8, 9, 10, 11, 12, 13);
DYN2TRT_WGMMA_COLUMNS(32, 16, 17, 18, 19, 20, 21);
DYN2TRT_WGMMA_COLUMNS(48, 24, 25, 26, 27, 28, 29);
DYN2TRT_WGMMA_COLUMNS(64, 32, 33, 34, 35, 36, 37);
DYN2TRT_WGMMA_COLUMNS(96, 48, 49, 50, 51, 52, 53);
DYN2TRT_WGMMA_COLUMNS(128, 64, 65, 66, 67, 68, 69);

}  // namespace dyn2trt::ptx
