// A block's launches: the lists, then its convolutions.
#pragma once

#include <algorithm>

#include "fused/rows/conv.cuh"
#include "fused/rows/lists.cuh"
#include "fused/rows/memory.h"
#include "fused/rows/rows.h"
#include "launch/launch.cuh"
#include "launch/tensor_map.h"

namespace dyn2trt::rows {

template <class T>
Pixels<T> pixels(const Dyn2trtDense& tensor) {
  return {static_cast<T*>(tensor.data), static_cast<int>(tensor.stride_w / kVector)};
}

template <class T>
class Chain {
 public:
  explicit Chain(const Call& call)
      : call_(call),
        block_(call.block),
        memory_(cut(call.block, call.workspace)),
        segments_(segments_of(call.block)),
        count_(call.block.kind == DYN2TRT_BOTTLENECK ? 3 : 2) {}

  int run() {
    switch (segments_.tiles) {
      case 1:
        DYN2TRT_TRY(run_lists<1>());
        break;
      case 4:
        DYN2TRT_TRY(run_lists<4>());
        break;
      default:
        DYN2TRT_TRY(run_lists<16>());
    }
    DeviceLimits device = {};
    DYN2TRT_TRY(device_limits(device));
    const Grid grid = {static_cast<unsigned>(device.multiprocessors)};
    for (int i = 0; i < count_; ++i) {
      ConvParams<T> params = {};
      DYN2TRT_TRY(describe(i, params));
      DYN2TRT_TRY((launch<Conv<T>>(grid, params, call_.stream)));
    }
    return DYN2TRT_OK;
  }

 private:
  bool computes_logits() const { return block_.gate.kind != DYN2TRT_GATE_LOGITS; }
  // The 3x3 convolution over the active sites that is not the first.
  Reach active_reach() const {
    return block_.kind == DYN2TRT_BOTTLENECK ? Reach{block_.x.h, block_.x.w, block_.stride_h}
                                             : Reach{block_.y.h, block_.y.w, 1};
  }
  Reach first_reach() const {
    return block_.kind == DYN2TRT_BOTTLENECK ? Reach{block_.x.h, block_.x.w, 1}
                                             : Reach{block_.x.h, block_.x.w, block_.stride_h};
  }

  template <int kTiles>
  int run_lists() {
    const Dyn2trtDense &x = block_.x, &y = block_.y;
    ListsParams<T> p = {};
    p.gate = gate_view(block_, call_.offset);
    p.x = static_cast<const T*>(x.data);
    p.x_h = x.h;
    p.x_w = x.w;
    p.x_pitch = static_cast<int>(x.stride_w);
    p.channels = x.c;
    p.n = y.n;
    p.h = y.h;
    p.w = y.w;
    p.stride = block_.stride_h;
    p.tiles_y = ceil_div(y.h, kSide);
    p.tiles_x = ceil_div(y.w, kSide);
    p.active = {memory_.active, memory_.active_counts};
    p.halo = {memory_.halo, memory_.halo_counts};
    p.active_reach = active_reach();
    p.halo_reach = first_reach();
    p.halo_on_input = halo_on_input(block_);
    p.logits = computes_logits() ? memory_.logits : nullptr;
    p.zeroed = memory_.copied;
    p.zeroed_count = kMaxLaunches + kMaxShares;
    return launch<Lists<T, kTiles>>({static_cast<unsigned>(segments_.count)}, p, call_.stream);
  }

  // Convolution `index` of count_.
  int describe(int index, ConvParams<T>& p) const {
    const Dyn2trtConvolution& convolution = block_.convolutions[index];
    const bool first = index == 0, last = index == count_ - 1, bottleneck = block_.kind == DYN2TRT_BOTTLENECK;
    const Dyn2trtDense &x = block_.x, &y = block_.y;
    p.taps = bottleneck && index != 1 ? 1 : 9;
    p.channels = first ? x.c : block_.convolutions[index - 1].c_out;
    p.columns = convolution.c_out;
    p.bias = static_cast<const T*>(convolution.bias);
    p.source = first ? pixels<const T>(x) : hidden<const T>(index - 1);
    p.source_map = first ? first_reach() : index == 1 ? active_reach() : Reach{y.h, y.w, 1};
    p.target = last ? pixels<T>(y) : hidden<T>(index);
    if (last) p.residual = pixels<const T>(block_.identity);
    p.list = first ? List{memory_.halo, memory_.halo_counts} : List{memory_.active, memory_.active_counts};
    p.segments = segments_.count;
    p.capacity = first ? segments_.halo_sites : segments_.sites;
    p.lists_are_ahead = !first;
    const Dyn2trtDense& grid = first && halo_on_input(block_) ? x : y;
    p.sites_h = grid.h;
    p.sites_w = grid.w;
    p.sites = grid.n * grid.h * grid.w;
    p.activation = pair_activation<T>(block_.activation);
    p.forced = {call_.tile.blocks, call_.tile.columns, call_.tile.splits};
    p.partial = memory_.partial;
    p.tickets = memory_.tickets;
    p.copy = copy_of(index);
    const auto row = static_cast<uint64_t>(p.channels) * 2;
    const TensorBox box = {
        convolution.weight,
        DtypeOf<T>::value,
        3,
        {static_cast<uint64_t>(p.channels), static_cast<uint64_t>(p.taps), static_cast<uint64_t>(p.columns)},
        {2, row, row * static_cast<uint64_t>(p.taps)},
        {kChunk, 1, Producer<T>::kBoxColumns}};
    return make_tensor_map(box, p.weight);
  }

  template <class Element>
  Pixels<Element> hidden(int index) const {
    return {static_cast<Element*>(memory_.hidden[index]), block_.convolutions[index].c_out / kVector};
  }

  // The share of the idle positions that launch `index` copies. The first has most rows, and so the longest.
  IdleCopy<T> copy_of(int index) const {
    constexpr int kChunkElements = 4096;
    constexpr int kShares[2][4] = {{0, 55, 100, 100}, {0, 33, 67, 100}};  // percent; of 2 launches and of 3
    const Dyn2trtDense& y = block_.y;
    IdleCopy<T> copy = {};
    copy.logits = computes_logits() ? memory_.logits : block_.gate.given;
    copy.threshold = block_.gate.threshold;
    copy.identity = pixels<const T>(block_.identity);
    copy.y = pixels<T>(y);
    copy.sites = y.n * y.h * y.w;
    copy.vectors = y.c / kVector;
    copy.chunk_sites = std::clamp(kChunkElements / y.c, 1, kWarp);
    const int64_t chunks = ceil_div(copy.sites, copy.chunk_sites);
    copy.first = static_cast<int>(chunks * kShares[count_ - 2][index] / 100);
    copy.end = static_cast<int>(chunks * kShares[count_ - 2][index + 1] / 100);
    copy.counter = memory_.copied + index;
    return copy;
  }

  const Call& call_;
  const Dyn2trtGatedBlock& block_;
  Memory memory_;
  Segments segments_;
  int count_;
};

}  // namespace dyn2trt::rows
