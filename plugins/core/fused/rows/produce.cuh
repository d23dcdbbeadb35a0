// The producers: a warpgroup that fetches the rows of A one by one with cp.async, and has the weights copied in boxes.
//
// K goes slab by slab of 64 channels, in each through the taps: what one tap has read, the next finds in the cache. All
// of a stage's bytes, of both kinds, count on one mbarrier.
#pragma once

#include "device/ptx/cp_async.cuh"
#include "device/ptx/named_barrier.cuh"
#include "device/ptx/pdl.cuh"
#include "fused/rows/plan.cuh"
#include "fused/rows/shared.cuh"

namespace dyn2trt::rows {

template <class T>
struct Producer {
  using Params = ConvParams<T>;
  using Shared = ConvShared;
  static constexpr int kParts = 8;                      // of 16 bytes in a row of a stage
  static constexpr int kRowStep = kProducers / kParts;  // rows that the warpgroup fetches at once
  static constexpr int kRowsOfThread = kMaxRows / kRowStep;
  static constexpr int kRowsOfBlock = 64 / kRowStep;  // of a thread in a block of 64
  static constexpr int kBoxColumns = 32;              // of a box of weights
  // A row in a register: the source site's place in vectors; border flags from bit 27 on; the sign where there is none.
  static constexpr int kFlagShift = 27;
  static constexpr uint32_t kPlaceMask = (1u << kFlagShift) - 1, kAbsent = 1u << 31;

  // Where along K a chunk lies.
  struct Chunk {
    int slab, tap;

    DYN2TRT_DEVICE Chunk(int number, int taps) : slab(number / taps), tap(number % taps) {}
    DYN2TRT_DEVICE void advance(int taps) {
      if (++tap < taps) return;
      tap = 0;
      ++slab;
    }
  };

  static DYN2TRT_DEVICE void run(const Params& p, Shared& shared, const Tiling& t, bool waited) {
    const int thread = threadIdx.x;
    Pipe pipe;
    pipe.parity = 1;  // a fresh stage is empty
    int tiles = 0;
    for (int number = blockIdx.x; number < t.total; number += gridDim.x, ++tiles) {
      const Tiling::Place place = t.place(number);
      // Weights do not depend on the launches before: the first stages' set out ahead.
      const int ahead = tiles == 0 ? min(place.end_chunk - place.first_chunk, t.stages) : 0;
      if (thread == 0 && ahead > 0) {
        Chunk chunk(place.first_chunk, p.taps);
        for (int s = 0; s < ahead; ++s, chunk.advance(p.taps)) fetch_weights(p, shared, t, place, chunk, s);
      }
      const int buffer = tiles % 2;
      ptx::mbarrier_wait(&shared.rows_empty[buffer], (tiles / 2 & 1) ^ 1);
      uint32_t rows[kRowsOfThread];
      find_rows(p, shared, t, place, buffer, rows);
      ptx::mbarrier_arrive(&shared.rows_full[buffer]);
      if (!waited) {
        ptx::wait_for_prior_kernels();
        ptx::launch_dependents();
        waited = true;
      }
      Chunk chunk(place.first_chunk, p.taps);
      for (int k = place.first_chunk; k < place.end_chunk; ++k, chunk.advance(p.taps)) {
        ptx::mbarrier_wait(&shared.empty[pipe.stage], pipe.parity);
        if (thread == 0 && k - place.first_chunk >= ahead) fetch_weights(p, shared, t, place, chunk, pipe.stage);
        fetch_rows(p, shared, t, chunk, pipe.stage, rows);
        ptx::mbarrier_arrive_after_copies(&shared.full[pipe.stage]);
        pipe.advance(t.stages);
      }
    }
    if (!waited) {
      ptx::wait_for_prior_kernels();
      ptx::launch_dependents();
    }
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
  }

 private:
  static DYN2TRT_DEVICE void fetch_weights(const Params& p, Shared& shared, const Tiling& t, const Tiling::Place& place,
                                           const Chunk& chunk, int stage) {
    unsigned char* const b = shared.ring + stage * t.stage_bytes + t.tile.blocks * kBlockBytes;
    ptx::mbarrier_arrive_expect(&shared.full[stage], t.tile.columns * kColumnBytes);
    for (int column = 0; column < t.tile.columns; column += kBoxColumns) {
      ptx::bulk_copy(b + column * kColumnBytes, &p.weight, &shared.full[stage], chunk.slab * kChunk, chunk.tap,
                     place.first_column + column);
    }
  }

  // Looks the tile's rows up in the list, tells the consumers where they go, and keeps where this thread's come from.
  static DYN2TRT_DEVICE void find_rows(const Params& p, Shared& shared, const Tiling& t, const Tiling::Place& place,
                                       int buffer, uint32_t (&rows)[kRowsOfThread]) {
    uint32_t* const source = shared.source[buffer];
    for (int r = threadIdx.x; r < t.tile.blocks * 64; r += kProducers) {
      const int row = place.first_row + r;
      uint32_t from = kAbsent, target = kNoRow, residual = kNoRow;
      if (row < t.rows) {
        const uint32_t entry = entry_of(p, shared, row);
        const int site = static_cast<int>(entry & kSiteMask);
        if (site < p.sites) {  // whatever the list holds
          from = static_cast<uint32_t>(source_site(p, site) * p.source.pitch) | (entry >> kBorderShift) << kFlagShift;
          target = static_cast<uint32_t>(site * p.target.pitch);
          residual = static_cast<uint32_t>(site * p.residual.pitch);
        }
      }
      source[r] = from;
      shared.target[buffer][r] = target;
      shared.residual[buffer][r] = residual;
    }
    ptx::named_barrier(kProducersMeet, kProducers);
    const int own = threadIdx.x / kParts;
#pragma unroll
    for (int i = 0; i < kRowsOfThread; ++i) {
      rows[i] = i < t.tile.blocks * kRowsOfBlock ? source[own + kRowStep * i] : kAbsent;
    }
  }

  static DYN2TRT_DEVICE uint32_t entry_of(const Params& p, const Shared& shared, int row) {
    int segment = 0;
#pragma unroll
    for (int step = kMaxSegments / 2; step > 0; step /= 2) {
      if (segment + step < p.segments && shared.first_row[segment + step] <= row) segment += step;
    }
    const uint32_t* const entry = p.list.entries + segment * p.capacity + row - shared.first_row[segment];
    return static_cast<uint32_t>(ptx::load_ahead(reinterpret_cast<const int*>(entry)));
  }

  static DYN2TRT_DEVICE int source_site(const Params& p, int site) {
    if (p.source_map.stride == 1) return site;
    const int line = site / p.sites_w, column = site - line * p.sites_w;
    const int image = line / p.sites_h, row = line - image * p.sites_h;
    return (image * p.source_map.h + row * p.source_map.stride) * p.source_map.w + column * p.source_map.stride;
  }

  static DYN2TRT_DEVICE void fetch_rows(const Params& p, Shared& shared, const Tiling& t, const Chunk& chunk, int stage,
                                        const uint32_t (&rows)[kRowsOfThread]) {
    const int part = threadIdx.x % kParts, own = threadIdx.x / kParts;
    const int channel = chunk.slab * kChunk + part * kVector;
    int shift = 0;
    uint32_t outside = kAbsent;
    if (p.taps == 9) {
      const int dy = chunk.tap / 3 - 1, dx = chunk.tap % 3 - 1;
      shift = dy * p.source_map.w + dx;
      outside |= (dy < 0   ? kTop << kFlagShift
                  : dy > 0 ? kBottom << kFlagShift
                           : 0u) |
                 (dx < 0   ? kLeft << kFlagShift
                  : dx > 0 ? kRight << kFlagShift
                           : 0u);
    }
    const bool exists = channel < p.channels;  // else zeros, as in the weights
    const auto* const from = reinterpret_cast<const unsigned char*>(p.source.data) +
                             static_cast<int64_t>(shift) * p.source.pitch * 16 + channel * 2;
    unsigned char* const to = shared.ring + stage * t.stage_bytes + own * kColumnBytes + ((part ^ own % kParts) << 4);
#pragma unroll
    for (int b = 0; b < kMaxBlocks; ++b) {
      if (b >= t.tile.blocks) break;
#pragma unroll
      for (int i = b * kRowsOfBlock; i < (b + 1) * kRowsOfBlock; ++i) {
        const bool there = (rows[i] & outside) == 0 && exists;
        ptx::cp_async_16(to + i * kRowStep * kColumnBytes, from + static_cast<uint64_t>(rows[i] & kPlaceMask) * 16,
                         there);
      }
    }
  }
};

}  // namespace dyn2trt::rows
