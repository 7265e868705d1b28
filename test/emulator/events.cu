// Time between events.
#include <thread>

#include "cases.h"

namespace {

// What cudaEventElapsedTime says of two events with `between` on their stream between them.
template <class Between, class Ask>
cases::Case between_events(unsigned flags, const Between& between, const Ask& ask) {
  return [=]() -> std::string {
    cudaStream_t stream;
    cudaEvent_t begin, end;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    for (cudaEvent_t* event : {&begin, &end}) cudaEventCreateWithFlags(event, flags);
    cudaEventRecord(begin, stream);
    between(stream);
    cudaEventRecord(end, stream);
    const std::string said = ask(begin, end);
    cudaGetLastError();
    return said + cases::error_of(stream);
  };
}

const auto nothing = [](cudaStream_t) {};
const auto elapsed = [](cudaEvent_t begin, cudaEvent_t end) {
  float milliseconds = -1;
  const cudaError_t error = cudaEventElapsedTime(&milliseconds, begin, end);
  if (error != cudaSuccess) return std::string(cudaGetErrorName(error));
  return std::string(milliseconds < 0 ? "before" : milliseconds < 20 ? "soon" : "later");
};
const auto once_passed = [](cudaEvent_t begin, cudaEvent_t end) {
  cudaEventSynchronize(end);
  return elapsed(begin, end);
};

const cases::Add more = {
    {"event: time between two", between_events(cudaEventDefault, nothing, once_passed)},
    {"event: time of the work between two",
     between_events(
         cudaEventDefault,
         [](cudaStream_t stream) {
           cudaLaunchHostFunc(
               stream, [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(25)); }, nullptr);
         },
         once_passed)},
    {"event: time before it has passed", between_events(cudaEventDefault, nothing, elapsed)},
    {"event: time without timing", between_events(cudaEventDisableTiming, nothing, once_passed)},
    {"event: time of one never recorded", between_events(cudaEventDefault, nothing, [](cudaEvent_t begin, cudaEvent_t) {
       cudaEvent_t other;
       cudaEventCreateWithFlags(&other, cudaEventDefault);
       return once_passed(begin, other);
     })},
};

}  // namespace
