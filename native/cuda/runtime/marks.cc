#include "cuda/runtime/marks.h"

#include <cmath>

#include "cuda/runtime/stream.h"

namespace diffusion::cuda {

Marks::~Marks() {
  for (const cudaEvent_t event : events_) cudaEventDestroy(event);
}

cudaEvent_t Marks::event(size_t number) {
  while (events_.size() <= number) {
    cudaEvent_t made;
    check("profile", cudaEventCreateWithFlags(&made, cudaEventDefault));
    events_.push_back(made);
  }
  return events_[number];
}

void Marks::put(Stream& stream, int32_t number) {
  if (number == 0) {
    check("profile", cudaEventRecord(event(0), stream.handle));
    check("profile", cudaEventSynchronize(event(0)));
    begin_ = std::chrono::steady_clock::now();
  }
  check("profile", cudaEventRecord(event(static_cast<size_t>(number) + 1), stream.handle));
}

void Marks::read(int64_t* moments, int32_t count) {
  if (count == 0) return;
  check("profile", cudaEventSynchronize(event(static_cast<size_t>(count))));
  const int64_t begin = std::chrono::nanoseconds(begin_.time_since_epoch()).count();
  for (int32_t i = 0; i < count; ++i) {
    float milliseconds = 0.0f;
    check("profile", cudaEventElapsedTime(&milliseconds, events_[0], events_[static_cast<size_t>(i) + 1]));
    moments[i] = begin + std::llround(1e6 * static_cast<double>(milliseconds));
  }
}

}  // namespace diffusion::cuda
