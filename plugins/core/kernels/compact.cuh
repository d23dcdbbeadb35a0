// Compaction: logits -> active output sites -> the site sets that a block's convolutions need, all in one launch.
//
// A set holds every input site that a convolution reads when it is evaluated at the active output sites (1x1: the
// active sites themselves). Rows are in the order of 8x8 tiles, row by row within a tile, so that neighbours in the
// plane are neighbours in memory.
//
// The work of a block is one set of one image, or a share of its tiles: then every block counts the tiles before its
// share itself, which costs less than a second launch or a wait for another block.
//
// Grid: x = n * shares * n_sets.
#pragma once

#include "device/platform.cuh"
#include "device/scan.cuh"
#include "kernels/compact_params.h"

namespace dyn2trt {

constexpr int kTile = 8;  // sites along the side of a tile

template <int kBlockThreads>
struct Compact {
  static constexpr const char* kName = "compact";
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 1;
  static constexpr int kTilesAtOnce = kThreads;  // a thread scans a tile
  static constexpr int kWords = kThreads * 8;    // of 32 mask bits: the whole mask up to here, else global memory
  using Params = CompactParams;

  struct Shared {
    unsigned bits[kWords];                          // mask >= threshold, rows padded to whole words
    alignas(8) uint8_t tiles[kTilesAtOnce][kTile];  // bit w of byte h: the site is in the set
    int starts[kTilesAtOnce];                       // rows before each tile
    ScanShared<kThreads> scan;
  };

  static __device__ void run(const Params& p, Shared& shared) {
    if (blockIdx.x == 0) {
      for (int i = threadIdx.x; i < p.n_zeros; i += kThreads) p.zeros[i] = 0;
    }
    const int share = blockIdx.x % p.shares;
    const int image = blockIdx.x / p.shares % p.n;
    const CompactSet& set = p.sets[blockIdx.x / p.shares / p.n];
    const float* mask = p.mask + static_cast<int64_t>(image) * p.mask_h * p.mask_w;
    const MaskBits mask_bits = {mask, p.threshold, p.mask_h, p.mask_w, ceil_div(p.mask_w, 32), shared.bits};
    const bool in_shared = static_cast<int64_t>(mask_bits.words_in_row) * p.mask_h <= kWords;
    if (in_shared) load_mask(mask_bits, shared.bits);
    __syncthreads();

    const int tiles_in_row = ceil_div(set.w, kTile);
    const int tiles = tiles_in_row * ceil_div(set.h, kTile);
    const int first_tile = static_cast<int>(static_cast<int64_t>(tiles) * share / p.shares);
    const int end_tile = static_cast<int>(static_cast<int64_t>(tiles) * (share + 1) / p.shares);
    const int segment = image * set.h * set.w;  // row 0 of the image, and its first site

    int rows = 0;  // in the tiles so far
    for (int chunk = 0; chunk < end_tile; chunk += kTilesAtOnce) {
      const int here = min(kTilesAtOnce, end_tile - chunk);
      for (int i = threadIdx.x; i < here * kTile; i += kThreads) {
        const int tile = chunk + i / kTile;
        const int h = tile / tiles_in_row * kTile + i % kTile;
        const int w = tile % tiles_in_row * kTile;
        const unsigned needed =
            in_shared ? needed_sites<true>(set, mask_bits, h, w) : needed_sites<false>(set, mask_bits, h, w);
        shared.tiles[i / kTile][i % kTile] = static_cast<uint8_t>(needed);
      }
      __syncthreads();

      const int own = static_cast<int>(threadIdx.x);
      const int own_rows = own < here ? __popcll(tile_bits(shared, own)) : 0;
      int chunk_rows = 0;
      const int before = block_exclusive_scan<kThreads>(own_rows, shared.scan, chunk_rows);
      if (own < here) shared.starts[own] = rows + before;
      rows += chunk_rows;
      __syncthreads();

      const int emit_from = clamp(first_tile - chunk, 0, here);
      constexpr int kSites = kTile * kTile;
      for (int i = emit_from * kSites + threadIdx.x; i < here * kSites; i += kThreads) {
        const int tile = i / kSites, bit = i % kSites;
        const int h = (chunk + tile) / tiles_in_row * kTile + bit / kTile;
        const int w = (chunk + tile) % tiles_in_row * kTile + bit % kTile;
        if (h >= set.h || w >= set.w) continue;
        const int site = segment + h * set.w + w;
        const unsigned long long bits = tile_bits(shared, tile);
        int slot = -1;
        if ((bits >> bit & 1u) != 0) {
          slot = segment + shared.starts[tile] + __popcll(bits & ((1ull << bit) - 1));
          set.sites[slot] = site;
        }
        set.slots[site] = slot;
      }
      __syncthreads();  // before the next chunk overwrites the tiles
    }
    if (share == p.shares - 1 && threadIdx.x == 0) set.count[image] = rows;
  }

 private:
  struct MaskBits {
    const float* mask;
    float threshold;
    int h, w, words_in_row;
    const unsigned* bits;
  };

  static __device__ void load_mask(const MaskBits& m, unsigned* bits) {
    const int lane = threadIdx.x % kWarp;
    const int words = m.words_in_row * m.h;
    for (int word = threadIdx.x / kWarp; word < words; word += kThreads / kWarp) {
      const int row = word / m.words_in_row;
      const int column = (word - row * m.words_in_row) * 32 + lane;
      const bool active = column < m.w && m.mask[row * m.w + column] >= m.threshold;
      const unsigned votes = __ballot_sync(kFullWarp, active);
      if (lane == 0) bits[word] = votes;
    }
  }

  static __device__ unsigned long long tile_bits(const Shared& shared, int tile) {
    return *reinterpret_cast<const unsigned long long*>(shared.tiles[tile]);
  }

  // 32 columns of a mask row from `column` on, which may be negative; what lies outside reads as idle.
  static __device__ unsigned window(const MaskBits& m, int row, int column) {
    const int word = column >= 0 ? column / 32 : -1 - (-1 - column) / 32;
    const int shift = column - word * 32;
    const unsigned* bits = m.bits + row * m.words_in_row;
    const unsigned low = word >= 0 && word < m.words_in_row ? bits[word] : 0u;
    const unsigned high = word + 1 >= 0 && word + 1 < m.words_in_row ? bits[word + 1] : 0u;
    return shift == 0 ? low : (low >> shift | high << (32 - shift));
  }

  template <bool kInShared>
  static __device__ bool active(const MaskBits& m, int row, int column) {
    if (column < 0 || column >= m.w) return false;
    if (kInShared) return (m.bits[row * m.words_in_row + column / 32] >> (column % 32) & 1u) != 0;
    return m.mask[row * m.w + column] >= m.threshold;
  }

  // Bit i: site (h, w + i) belongs to the set, for the 8 sites of a tile's row.
  template <bool kInShared>
  static __device__ unsigned needed_sites(const CompactSet& set, const MaskBits& m, int h, int w) {
    if (h >= set.h) return 0;
    const Dyn2trtGeometry& g = set.geometry;
    const bool by_window = kInShared && g.stride_w == 1 && g.dilation_w == 1 && g.kernel_w <= 32 - kTile;
    unsigned needed = 0;
    for (int i = 0; i < g.kernel_h; ++i) {
      // Output row that reads input row h through kernel row i: h = row * stride - pad + i * dilation.
      const int numerator = h + g.pad_top - i * g.dilation_h;
      const int row = numerator / g.stride_h;
      if (numerator < 0 || row * g.stride_h != numerator || row >= m.h) continue;
      if (by_window) {
        const unsigned outputs = window(m, row, w + g.pad_left - (g.kernel_w - 1));
        for (int j = 0; j < g.kernel_w; ++j) needed |= outputs >> j;
      } else {
        for (int j = 0; j < g.kernel_w; ++j) {
          for (int b = 0; b < kTile; ++b) {
            const int across = w + b + g.pad_left - j * g.dilation_w;
            const int column = across / g.stride_w;
            if (across >= 0 && column * g.stride_w == across && active<kInShared>(m, row, column)) needed |= 1u << b;
          }
        }
      }
    }
    return needed & (set.w - w >= kTile ? 0xffu : (1u << (set.w - w)) - 1u);
  }
};

}  // namespace dyn2trt
