// The row kernels by themselves, for tests: a tile of the test's choice, and only what they need of a gate.
#include "fused/rows/memory.h"
#include "fused/rows/rows.h"
#include "launch/status.h"

extern "C" {

// Bytes of workspace, -1 when the kernels do not take the block.
DYN2TRT_API int64_t dyn2trt_emulator_rows_workspace(const Dyn2trtGatedBlock* block) {
  using namespace dyn2trt::rows;
  return takes(*block) ? static_cast<int64_t>(workspace_bytes(*block)) : -1;
}

// Runs the block with tiles of 64 * `blocks` rows and `columns`, shared by `splits`; of 0 blocks: what the kernels
// choose.
DYN2TRT_API int dyn2trt_emulator_rows(const Dyn2trtGatedBlock* block, const float* offset, void* workspace, int blocks,
                                      int columns, int splits) {
  using namespace dyn2trt;
  const rows::Call call = {*block, offset, workspace, nullptr, {blocks, columns, splits}};
  DYN2TRT_TRY(block->dtype == DYN2TRT_FLOAT16 ? rows::run_fp16(call) : rows::run_bf16(call));
  const rows::Memory memory = rows::cut(*block, workspace);
  for (int i = 0; i < rows::kMaxShares; ++i) {
    if (memory.tickets[i] != 0) return fail(DYN2TRT_LAUNCH_FAILED, "tickets are not back at 0");
  }
  return DYN2TRT_OK;
}
}
