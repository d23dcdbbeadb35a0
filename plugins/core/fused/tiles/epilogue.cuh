// What leaves a tile: sums to hidden values or to y, and y at idle sites.
#pragma once

#include "device/activation.cuh"
#include "fused/tiles/mask.cuh"

namespace dyn2trt::tiles {

constexpr int kVector = 8;  // elements of 16 bits in one access

template <class T>
DYN2TRT_DEVICE Vector<T, kVector> activated(Vector<T, kVector> value, const Activation& activation) {
#pragma unroll
  for (int i = 0; i < kVector; ++i) value[i] = from_float<T>(activate(to_float(value[i]), activation));
  return value;
}

// activation(value + identity)
template <class T>
DYN2TRT_DEVICE Vector<T, kVector> add_activated(Vector<T, kVector> value, const Vector<T, kVector>& identity,
                                                const Activation& activation) {
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    value[i] = from_float<T>(activate(to_float(value[i]) + to_float(identity[i]), activation));
  }
  return value;
}

// A row of kCols results in shared memory. Parts are shuffled so that 8 rows hold the same part in different banks.
template <class T, int kCols>
struct Staging {
  static constexpr int kParts = kCols / kVector;
  static DYN2TRT_DEVICE int at(int row, int part) {
    constexpr int kRowsOfBanks = kParts >= 8 ? 1 : 8 / kParts;
    return row * kCols + kVector * (part ^ (row / kRowsOfBanks % (kParts < 8 ? kParts : 8)));
  }
};

// Rows of `staging`, in the order of the list, to hidden values, or where kAddIdentity to y.
template <class T, class Tile, bool kAddIdentity>
DYN2TRT_DEVICE void store_rows(const ConvParams<T>& p, const Place& tile, const uint16_t* list, int rows, int first_col,
                               const T* staging, int thread, int threads) {
  using Stage = Staging<T, Tile::kCols>;
  T* target = p.target.image(tile.image);
  const T* identity = kAddIdentity ? p.identity.image(tile.image) : nullptr;
  for (int i = thread; i < rows * Stage::kParts; i += threads) {
    const int rank = i / Stage::kParts, part = i % Stage::kParts, col = first_col + part * kVector;
    if (col >= p.cols) continue;
    const int row = tile.row + (list[rank] >> 8), column = tile.column + (list[rank] & 255);
    auto value = load_vector<kVector>(staging + Stage::at(rank, part));
    if (kAddIdentity) {
      const auto other = load_vector<kVector>(identity + p.identity.offset(row, column) + col);
      value = add_activated(value, other, p.activation);
    }
    store_vector(target + p.target.offset(row, column) + col, value);
  }
}

// y = activation(identity) at the tile's sites that are not active.
template <class T, class Tile>
DYN2TRT_DEVICE void copy_idle(const ConvParams<T>& p, const Place& tile, const unsigned* active, int first_col,
                              int thread, int threads) {
  constexpr int kParts = Tile::kCols / kVector, kAll = Tile::kSites * kParts, kInFlight = 4;
  T* target = p.target.image(tile.image);
  const T* identity = p.identity.image(tile.image);
  for (int first = thread; first < kAll; first += kInFlight * threads) {
    Vector<T, kVector> value[kInFlight];
    int to[kInFlight];  // offset in the image's target, negative where there is nothing to copy
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      const int i = first + k * threads, site = i / kParts, col = first_col + i % kParts * kVector;
      const int r = site / Tile::kWidth, c = site % Tile::kWidth, row = tile.row + r, column = tile.column + c;
      to[k] = -1;
      if (i < kAll && row < p.h && column < p.w && col < p.cols && (active[r + 1] >> (c + 1) & 1u) == 0) {
        to[k] = p.target.offset(row, column) + col;
        value[k] = load_vector<kVector>(identity + p.identity.offset(row, column) + col);
      }
    }
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      if (to[k] >= 0) store_vector(target + to[k], activated(value[k], p.activation));
    }
  }
}

}  // namespace dyn2trt::tiles
