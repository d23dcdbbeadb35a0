// A switch saves the callee-saved registers on the old stack and takes them from the new one: some ten instructions,
// where ucontext's swapcontext also makes two system calls. Elsewhere than on x86-64 and aarch64, ucontext it is.
#include "emulator/context.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__) || defined(__aarch64__)

extern "C" void dyn2trt_emulator_switch(void** save, void* load);

#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
.hidden dyn2trt_emulator_switch
.globl dyn2trt_emulator_switch
.type dyn2trt_emulator_switch, @function
dyn2trt_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size dyn2trt_emulator_switch, . - dyn2trt_emulator_switch
)");
#else
asm(R"(
.text
.p2align 4
.hidden dyn2trt_emulator_switch
.globl dyn2trt_emulator_switch
.type dyn2trt_emulator_switch, %function
dyn2trt_emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size dyn2trt_emulator_switch, . - dyn2trt_emulator_switch
)");
#endif

namespace dyn2trt::emulator {

void switch_context(Context& from, const Context& to) {
  dyn2trt_emulator_switch(&from.stack_pointer, to.stack_pointer);
}

Context make_context(void* stack_top, void (*entry)()) {
  auto top = reinterpret_cast<uintptr_t>(stack_top) & ~uintptr_t{15};
#if defined(__x86_64__)
  // Six registers and the address to return to, after which the stack is 8 short of a multiple of 16, as at any
  // function's entry.
  top -= 8;
  auto* frame = reinterpret_cast<void**>(top) - 7;
  std::memset(frame, 0, 7 * sizeof(void*));
  frame[6] = reinterpret_cast<void*>(entry);
#else
  auto* frame = reinterpret_cast<void**>(top - 160);
  std::memset(frame, 0, 160);
  frame[11] = reinterpret_cast<void*>(entry);  // x30
#endif
  return {frame};
}

}  // namespace dyn2trt::emulator

#else

#include <ucontext.h>

namespace dyn2trt::emulator {

void switch_context(Context& from, const Context& to) {
  ucontext_t here;
  from.stack_pointer = &here;
  swapcontext(&here, static_cast<ucontext_t*>(to.stack_pointer));
}

Context make_context(void* stack_top, void (*entry)()) {
  // The ucontext itself lies at the top of the stack, the flow of control below it.
  constexpr std::size_t kStack = 48 * 1024;
  auto top = (reinterpret_cast<uintptr_t>(stack_top) - sizeof(ucontext_t)) & ~uintptr_t{15};
  auto* context = reinterpret_cast<ucontext_t*>(top);
  getcontext(context);
  context->uc_stack.ss_sp = reinterpret_cast<void*>(top - kStack);
  context->uc_stack.ss_size = kStack;
  context->uc_link = nullptr;
  ::makecontext(context, entry, 0);
  return {context};
}

}  // namespace dyn2trt::emulator

#endif
