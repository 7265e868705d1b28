// Every access of a kernel to memory, for code of the emulator that accesses it in a kernel's name. Kernels themselves
// are compiled so that they call instrumentation.cc.
#pragma once

#include <cstddef>
#include <functional>

namespace diffusion::emulator {

// A fault when the address is not the block's to use; in device memory also when another block of the launch has
// written there, or read what is written now.
void check_read(const void* address, size_t bytes);
void check_write(const void* address, size_t bytes);
// Carries out `exchange`, which must not fault, in an order with the others at the address.
void check_atomic(const void* address, size_t bytes, const std::function<void()>& exchange);
void note_fence();

}  // namespace diffusion::emulator
