#include "emulator/wild_access.h"

#include <csignal>
#include <mutex>

#include "emulator/block.h"
#include "emulator/device_memory.h"

namespace diffusion::emulator {
namespace {

constexpr size_t kStackBytes = 65536;
constexpr int kSignals[] = {SIGSEGV, SIGBUS};
struct sigaction before[2];

// The stack of the signal is left for good, as the fiber's is; SA_NODEFER keeps the signal from staying blocked.
void handle(int signal, siginfo_t* information, void* context) {
  const bool has_address = information->si_code != SI_KERNEL;  // else misaligned, or no address at all
  if (current_block != nullptr && has_address) current_block->fault("no memory at address %p", information->si_addr);
  if (current_block != nullptr) current_block->fault("a vector of 16 bytes at an address that is misaligned");
  if (has_address && host_access(information->si_addr)) return;
  const struct sigaction& previous = before[signal == kSignals[0] ? 0 : 1];
  if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, information, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  sigaction(signal, &previous, nullptr);  // the access happens again, and ends the process as it would have
}

}  // namespace

void catch_wild_accesses() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action{};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < 2; ++i) sigaction(kSignals[i], &action, &before[i]);
  });
}

SignalStack::SignalStack() : memory_(new char[kStackBytes]) {
  stack_t stack{};
  stack.ss_sp = memory_;
  stack.ss_size = kStackBytes;
  sigaltstack(&stack, nullptr);
}

SignalStack::~SignalStack() {
  stack_t stack{};
  stack.ss_flags = SS_DISABLE;
  sigaltstack(&stack, nullptr);
  delete[] memory_;
}

}  // namespace diffusion::emulator
