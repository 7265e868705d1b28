// What the files of this folder share: named cases, each of which says in words what the emulator made of it.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cuda/simt.h"

namespace cases {

using Case = std::function<std::string()>;

inline std::map<std::string, Case>& all() {
  static std::map<std::string, Case> map;
  return map;
}

struct Add {
  Add(std::initializer_list<std::pair<const std::string, Case>> more) { all().insert(more); }
};

// Device memory with a copy of host values.
template <class T>
T* on_device(const std::vector<T>& values) {
  T* address = nullptr;
  cudaMalloc(&address, values.size() * sizeof(T));
  cudaMemcpy(address, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice);
  return address;
}

// "" while nothing went wrong. A sticky error must be what every later call returns.
inline std::string error_of(cudaStream_t stream) {
  const cudaError_t last = cudaGetLastError();
  if (last != cudaSuccess && last != cudaErrorLaunchFailure) return cudaGetErrorName(last);
  const cudaError_t error = cudaStreamSynchronize(stream);
  if (error == cudaSuccess) return "";
  float* more;
  return std::string(cudaMalloc(&more, 4) == error ? "sticky: " : "not sticky: ") + cudaGetErrorString(error);
}

// Runs `launch` on a stream of its own and compares what it wrote: "sound", "NaN", "wrong" or the error.
template <class Launch>
std::string compare(float* y, const std::vector<float>& expected, float tolerance, const Launch& launch) {
  cudaStream_t stream;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  launch(stream);
  std::vector<float> found(expected.size());
  cudaMemcpyAsync(found.data(), y, found.size() * sizeof(float), cudaMemcpyDeviceToHost, stream);
  if (const std::string error = error_of(stream); !error.empty()) return error;
  bool wrong = false;
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::isnan(found[i])) return "NaN";
    wrong |= std::abs(found[i] - expected[i]) > tolerance;
  }
  return wrong ? "wrong" : "sound";
}

}  // namespace cases
