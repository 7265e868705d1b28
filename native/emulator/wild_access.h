// An access of a kernel to memory that is not there becomes a fault of its thread instead of the end of the process,
// and an access of the host to device memory a sticky error.
#pragma once

namespace diffusion::emulator {

// Takes SIGSEGV and SIGBUS, once for the process; what no kernel caused goes to the handler that was there before.
void catch_wild_accesses();

// Gives the calling OS thread a stack for the handler, which a kernel that has used up its own needs.
class SignalStack {
 public:
  SignalStack();
  ~SignalStack();
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  char* memory_;
};

}  // namespace diffusion::emulator
