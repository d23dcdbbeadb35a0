// From a call to a kernel: how A is loaded, which tile, which dtype. One translation unit a dtype instantiates run().
#pragma once

#include "gemm/choose.h"
#include "gemm/load_contiguous.cuh"
#include "gemm/load_depthwise.cuh"
#include "gemm/load_planar.cuh"

namespace dyn2trt::gemm {

int run_fp32(const Choice& choice, const Arguments& arguments, void* stream);
int run_tf32(const Choice& choice, const Arguments& arguments, void* stream);
int run_fp16(const Choice& choice, const Arguments& arguments, void* stream);
int run_bf16(const Choice& choice, const Arguments& arguments, void* stream);

template <class T, class Math, template <class, class> class Load, class... Tiles>
int run_tile(TileList<Tiles...>, const Choice& choice, const Arguments& arguments, void* stream) {
  int status = DYN2TRT_UNSUPPORTED, i = 0;
  ((i++ == choice.tile ? void(status = launch<GatheredGemm<T, Math, Load, Tiles>>(
                                  {static_cast<unsigned>(choice.blocks)}, arguments, stream))
                       : void()),
   ...);
  return status;
}

template <class T, class Math>
int run(const Choice& choice, const Arguments& arguments, void* stream) {
  if (arguments.depthwise_weight != nullptr) {
    return run_tile<T, Math, LoadDepthwise>(DepthwiseTiles{}, choice, arguments, stream);
  }
  if (arguments.a.planar) return run_tile<T, Math, LoadPlanar>(SmallTiles{}, choice, arguments, stream);
  return run_tile<T, Math, LoadContiguous>(typename Math::ContiguousTiles{}, choice, arguments, stream);
}

}  // namespace dyn2trt::gemm
