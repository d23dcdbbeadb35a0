/* The C ABI of dyn2trt's CUDA core: the ops of dyn2trt/contract as plain functions.
 *
 * Neither TensorRT nor torch is known here. The TensorRT plugins, the torch binding and the tests are thin callers.
 *
 * Rules that every function keeps
 *   - It never waits for the device, allocates nothing, creates no handle and copies nothing pageable: it checks its
 *     arguments, returns early for empty work, and launches on the caller's stream. It may be captured in a CUDA graph.
 *   - Launch shapes depend on tensor shapes alone; counts stay on the device.
 *   - Results are deterministic: the same input gives the same bits.
 *   - Indices and counts read on the device are clamped: garbage in them gives garbage out, never a fault.
 *   - All pointers are device pointers (host pointers in the emulated library, libdyn2trt_core_emulated.so), aligned to
 *     16 bytes where a fast kernel is wanted and to the element's size in any case.
 *
 * Site sets have a static capacity: on a grid [N, H, W], row r of image n is row n*H*W + r, with r < count[n].
 * So `sites` and `slots` hold N*H*W int32 each, `count` N int32, and rows are [N*H*W, C], C contiguous. What lies in
 * `sites` and rows beyond count[n] is undefined.
 */
#ifndef DYN2TRT_CORE_H
#define DYN2TRT_CORE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DYN2TRT_API __attribute__((visibility("default")))
#else
#define DYN2TRT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows whenever a struct or a function changes. */
#define DYN2TRT_ABI_VERSION 2

typedef enum Dyn2trtStatus {
  DYN2TRT_OK = 0,
  DYN2TRT_INVALID_ARGUMENT = 1,    /* shapes, pointers or attributes that contradict each other */
  DYN2TRT_UNSUPPORTED = 2,         /* consistent, but not implemented */
  DYN2TRT_WORKSPACE_TOO_SMALL = 3, /* fewer bytes than the workspace query asked for */
  DYN2TRT_LAUNCH_FAILED = 4        /* CUDA (or the CPU emulator) refused the launch */
} Dyn2trtStatus;

/* Orders follow FLOATS, ACTIVATIONS and REDUCTIONS of dyn2trt/contract. */
typedef enum Dyn2trtDtype { DYN2TRT_FLOAT32 = 0, DYN2TRT_FLOAT16 = 1, DYN2TRT_BFLOAT16 = 2 } Dyn2trtDtype;

typedef enum Dyn2trtActivation {
  DYN2TRT_NONE = 0,
  DYN2TRT_RELU = 1,
  DYN2TRT_RELU6 = 2,
  DYN2TRT_HARD_SWISH = 3
} Dyn2trtActivation;

typedef enum Dyn2trtReduction { DYN2TRT_REDUCE_ADD = 0, DYN2TRT_REDUCE_NONE = 1 } Dyn2trtReduction;

typedef enum Dyn2trtLayout { DYN2TRT_NCHW = 0, DYN2TRT_NHWC = 1 } Dyn2trtLayout;

/* Flags of a call, or-ed together. */
typedef enum Dyn2trtFlags {
  DYN2TRT_ALLOW_TF32 = 1,  /* fp32 convolutions may use tf32 tensor cores */
  DYN2TRT_GENERIC_ONLY = 2 /* only the generic kernels: slow, for any shape; for tests and comparisons */
} Dyn2trtFlags;

/* A further flag, for tests and measurements: the tile that a convolution takes, by its number in its list of
 * plugins/core/gemm/tiles.h. `convolution` counts those that an op launches as gathered GEMMs, from 0. Without it
 * shapes decide. A number that the list does not have is DYN2TRT_UNSUPPORTED. */
#define DYN2TRT_TILE(convolution, number) (((uint32_t)(number) + 1u) << (8 + 4 * (convolution)))

/* A dense tensor [n, c, h, w]. Strides in elements, not bytes. NCHW needs stride_w == 1, NHWC stride_c == 1;
 * a stride may exceed the packed one (TensorRT's kHWC8 pads channels). */
typedef struct Dyn2trtDense {
  void* data;
  int32_t n, c, h, w;
  int64_t stride_n, stride_c, stride_h, stride_w;
  int32_t layout; /* Dyn2trtLayout */
} Dyn2trtDense;

/* A convolution's geometry, padding with zeros. */
typedef struct Dyn2trtGeometry {
  int32_t kernel_h, kernel_w;
  int32_t stride_h, stride_w;
  int32_t pad_top, pad_left, pad_bottom, pad_right;
  int32_t dilation_h, dilation_w;
} Dyn2trtGeometry;

/* A site set on the grid [n, h, w]; see the top of this file. */
typedef struct Dyn2trtSiteSet {
  int32_t* sites; /* [n*h*w] flat id (n*H + h)*W + w of each row */
  int32_t* slots; /* [n, h, w] row of each site, -1 where there is none */
  int32_t* count; /* [n] rows in use of each image */
  int32_t n, h, w;
} Dyn2trtSiteSet;

/* MaskGather: mask -> site set, and x gathered there when x.data and rows are given. */
typedef struct Dyn2trtMaskGather {
  int32_t dtype; /* of x and rows */
  uint32_t flags;
  const float* mask; /* [n, 1, mask_h, mask_w], contiguous */
  int32_t mask_h, mask_w;
  float threshold;
  Dyn2trtGeometry geometry;
  Dyn2trtSiteSet set; /* output, on the grid of x */
  Dyn2trtDense x;     /* data may be NULL: sites only */
  void* rows;         /* output [n*h*w, c], NULL with x */
} Dyn2trtMaskGather;

/* SparseConv: rows of the input set -> rows of the output set.
 *
 * A 1x1 with stride 1 and no padding keeps its set: input and output have the same grid and order of rows, slots and
 * sites are not read and may be NULL, and so may output.count; without it all n*h*w rows are computed. */
typedef struct Dyn2trtSparseConv {
  int32_t dtype;
  uint32_t flags;
  int32_t activation;
  int32_t c_in, c_out, group; /* group is 1, or c_in == c_out for a depthwise one; 0 stands for c_in */
  Dyn2trtGeometry geometry;
  const void* rows;      /* [input.n*input.h*input.w, c_in] */
  const void* weight;    /* [c_out, kh, kw, c_in], depthwise [kh, kw, c] */
  const void* bias;      /* [c_out] */
  Dyn2trtSiteSet input;  /* slots is read */
  Dyn2trtSiteSet output; /* sites and count are read */
  void* rows_out;        /* [output.n*output.h*output.w, c_out] */
} Dyn2trtSparseConv;

/* MaskScatter: y = activation(base), with base + row (add) or row (none) at the set's sites. y may be base. */
typedef struct Dyn2trtMaskScatter {
  int32_t dtype;
  uint32_t flags;
  int32_t reduction, activation;
  Dyn2trtDense base;
  const void* rows;   /* [n*h*w, c] */
  Dyn2trtSiteSet set; /* sites and count are read; slots too when not NULL, which makes it one launch */
  Dyn2trtDense y;
} Dyn2trtMaskScatter;

/* Who decides which output sites of a gated block are active: those with logit >= threshold. */
typedef enum Dyn2trtGateKind {
  DYN2TRT_GATE_LOGITS = 0,    /* logits are an input */
  DYN2TRT_GATE_POINTWISE = 1, /* 1x1 convolution of x to one channel, strided like the block */
  DYN2TRT_GATE_SQUEEZE = 2,   /* 3x3 convolution of x to one channel, strided, plus a linear layer of x's mean */
  DYN2TRT_GATE_LAYER = 3      /* mean of x -> linear, relu -> linear to (skip, execute): one logit an image */
} Dyn2trtGateKind;

/* A gate. Weights are fp32 whatever the block's dtype, products of x as it is and all sums are fp32. */
typedef struct Dyn2trtGate {
  int32_t kind; /* Dyn2trtGateKind */
  float threshold;
  const float* given;         /* LOGITS: [n, 1, ho, wo] */
  const float *weight, *bias; /* POINTWISE [c], [1]; SQUEEZE [3, 3, c], [1]; LAYER [hidden, c], [hidden] */
  const float *pooled_weight, *pooled_bias; /* SQUEEZE [c], [1]; LAYER [2, hidden], [2]: skip, execute */
  int32_t hidden;                           /* LAYER */
  float* logits;                            /* output [n, 1, ho, wo] of a kind other than LOGITS; may be NULL */
} Dyn2trtGate;

typedef enum Dyn2trtBlockKind {
  DYN2TRT_INVERTED_RESIDUAL = 0, /* 1x1 expand -> 3x3 depthwise -> 1x1 project, + x */
  DYN2TRT_BASIC_BLOCK = 1,       /* 3x3 (strided) -> 3x3, + identity, activation */
  DYN2TRT_BOTTLENECK = 2         /* 1x1 -> 3x3 (strided) -> 1x1, + identity, activation */
} Dyn2trtBlockKind;

/* BatchNorm folded in. weight [c_out, kh, kw, c_in], depthwise [kh, kw, c]; bias [c_out]. */
typedef struct Dyn2trtConvolution {
  const void *weight, *bias;
  int32_t c_out;
} Dyn2trtConvolution;

/* The variant that launches the general kernels one after another, whatever fused ones there are. */
#define DYN2TRT_CHAIN (-1)

/* Any gated block: y = f(identity + convolutions(x)) at the active sites, f(identity) elsewhere; f is the activation,
 * none for the inverted residual, whose identity is x (the field is not read). y must not overlap x or identity, but
 * for variants that work in place, where y may be identity. */
typedef struct Dyn2trtGatedBlock {
  int32_t kind; /* Dyn2trtBlockKind */
  int32_t dtype;
  uint32_t flags;
  int32_t variant; /* 0: the library chooses; k: its k-th kernel for this kind, for tests and measurements; or CHAIN */
  int32_t activation;
  int32_t stride_h, stride_w;
  Dyn2trtGate gate;
  Dyn2trtDense x;           /* [n, c, h, w] */
  Dyn2trtDense identity, y; /* [n, co, ho, wo] */
  Dyn2trtConvolution convolutions[3];
} Dyn2trtGatedBlock;

DYN2TRT_API int dyn2trt_abi_version(void);

/* sizeof of a struct above by its name ("Dyn2trtMaskGather"), 0 for an unknown one: lets a binding check itself. */
DYN2TRT_API size_t dyn2trt_sizeof(const char* struct_name);

/* Name of a status ("invalid argument"). */
DYN2TRT_API const char* dyn2trt_status_name(int status);

/* What went wrong in this thread's last failed call: what was expected and what came. Empty when none failed. */
DYN2TRT_API const char* dyn2trt_last_error(void);

/* Output grid of a convolution over an input grid [h, w]. */
DYN2TRT_API int dyn2trt_output_grid(const Dyn2trtGeometry* geometry, int32_t h, int32_t w, int32_t* ho, int32_t* wo);

/* Smallest input grid that yields an output grid [ho, wo]: MaskGather's grid when it has no x. */
DYN2TRT_API int dyn2trt_input_grid(const Dyn2trtGeometry* geometry, int32_t ho, int32_t wo, int32_t* h, int32_t* w);

/* The ops. Each returns a Dyn2trtStatus; stream is a cudaStream_t (NULL is the default stream). The primitives need
 * no workspace. Workspace queries need the sizes, dtype and flags of the params; pointers are not looked at. No
 * device is asked either, and a larger n, h or w never wants less: memory for the largest shape serves all of them. */
DYN2TRT_API int dyn2trt_mask_gather(const Dyn2trtMaskGather* params, void* stream);
DYN2TRT_API int dyn2trt_sparse_conv(const Dyn2trtSparseConv* params, void* stream);
DYN2TRT_API int dyn2trt_mask_scatter(const Dyn2trtMaskScatter* params, void* stream);

DYN2TRT_API int dyn2trt_gated_block_workspace(const Dyn2trtGatedBlock* params, size_t* bytes);
DYN2TRT_API int dyn2trt_gated_block(const Dyn2trtGatedBlock* params, void* workspace, size_t workspace_bytes,
                                    void* stream);

/* Name of the k-th fused kernel (from 1) for a block kind, NULL behind the last. */
DYN2TRT_API const char* dyn2trt_gated_block_variant(int32_t kind, int32_t variant);

/* The variant that the library would run for these params on an architecture (90 for sm_90), or DYN2TRT_CHAIN. */
DYN2TRT_API int32_t dyn2trt_gated_block_choice(const Dyn2trtGatedBlock* params, int32_t architecture);

#ifdef __cplusplus
}
#endif

#endif /* DYN2TRT_CORE_H */
