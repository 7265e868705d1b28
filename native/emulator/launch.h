// Kernel launches: limits, the order of the blocks, and the OS threads that run them.
#pragma once

#include <functional>
#include <string>
#include <tuple>
#include <utility>

#include "emulator/block.h"
#include "emulator/runtime.h"

namespace diffusion::emulator {

// Runs every block of a launch; returns the first fault, or "".
std::string run_grid(Launch& launch);

// Checks the launch against the limits of the device and queues it. `function` is the kernel's address. `run` holds the
// arguments.
void submit_launch(const char* kernel, const void* function, dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, std::function<std::string(Launch&)> run);

// kernel<<<grid, block, shared_bytes, stream>>>(arguments…): arguments are converted and copied now.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "a kernel takes all its arguments");
  static_assert((std::is_trivially_copyable_v<std::decay_t<Parameters>> && ...),
                "arguments of kernels are copied as bytes");
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> arguments;
  };
  const Call call{kernel, std::tuple<std::decay_t<Parameters>...>(std::forward<Arguments>(arguments)...)};
  submit_launch(name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream, [call](Launch& launch) {
    launch.arguments = &call;
    launch.argument_bytes = sizeof call;
    launch.body = [](const void* data) {
      const auto* call = static_cast<const Call*>(data);
      std::apply(call->kernel, call->arguments);
    };
    return run_grid(launch);
  });
}

}  // namespace diffusion::emulator
