// Switching between stacks.
#pragma once

#include <cstddef>

namespace dyn2trt::emulator {

// A suspended flow of control. What it holds lies on its stack.
struct Context {
  void* stack_pointer = nullptr;
};

// Saves the running context in `from` and resumes `to`.
void switch_context(Context& from, const Context& to);

// A context that calls `entry`, which must never return, on the stack that ends at `stack_top`.
Context make_context(void* stack_top, void (*entry)());

}  // namespace dyn2trt::emulator
