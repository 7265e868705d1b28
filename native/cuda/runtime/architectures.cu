// Which architectures the library has code for: only nvcc knows what it compiled.
#include <algorithm>
#include <iterator>

#include "cuda/runtime/devices.h"
#include "cuda/simt.h"

namespace diffusion::cuda {
namespace {

KERNEL(1) probe() {}

bool has_machine_code(int major, int minor) {
#if defined(__CUDA_ARCH_LIST__)
  constexpr int kCompiled[] = {__CUDA_ARCH_LIST__};
  return std::any_of(std::begin(kCompiled), std::end(kCompiled),
                     [&](int arch) { return arch / 100 == major && arch % 100 / 10 <= minor; });
#else
  return major > 0 && minor >= 0;
#endif
}

}  // namespace

// The driver may still translate the PTX in the library. Asking takes hold of the device, so only where needed.
cudaError_t find_code(int ordinal, int major, int minor) {
  if (has_machine_code(major, minor)) return cudaSuccess;
  int before = 0;
  cudaGetDevice(&before);
  cudaFuncAttributes attributes;
  cudaError_t error = cudaSetDevice(ordinal);
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, probe);
  cudaSetDevice(before);
  cudaGetLastError();
  return error;
}

}  // namespace diffusion::cuda
