// How a block of threads is cut: what a tile may have at most, and the roles of the warps.
#pragma once

namespace dyn2trt::rows {

// Operands. A stage of the ring has 64 elements along K, 128 bytes, of each row and each column of the tile.
constexpr int kChunk = 64;
constexpr int kBlockRows = 64;  // of a product of a warpgroup
constexpr int kBlockBytes = kBlockRows * 128, kColumnBytes = 128;
constexpr int kMaxBlocks = 4, kMaxRows = kMaxBlocks * kBlockRows, kMaxColumns = 128;
constexpr int kRingBytes = 192 * 1024, kMaxStages = 16;

// Threads: a warpgroup of producers, two of consumers, and one whose warps copy idle positions. Each thread starts with
// 128 registers; the warpgroups share them out anew.
constexpr int kProducers = 128, kConsumers = 256, kCopiers = 128;
constexpr int kConvThreads = kProducers + kConsumers + kCopiers;
constexpr int kProducerRegisters = 88, kConsumerRegisters = 176, kCopierRegisters = 72;

}  // namespace dyn2trt::rows
