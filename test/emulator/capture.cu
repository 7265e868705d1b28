// What may happen while streams are captured, and what spoils the capture.
#include <thread>

#include "cases.h"

namespace {

constexpr int kThreads = 32;

KERNEL(kThreads) add(float* y, const float* x) { y[threadIdx.x] += x[threadIdx.x]; }

struct Scene {
  cudaStream_t stream, other;
  cudaEvent_t outside, fork, join;
  float *x, *y;  // ones

  void begin() const { cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal); }
  void add_on(cudaStream_t where) const { LAUNCH(add, 1, kThreads, 0, where, y, x); }
};

// `f` captures; then the graph, if there is one, runs `times` times. The sum in y, or the name of the error.
template <class F>
cases::Case captured(int times, const F& f) {
  return [=]() -> std::string {
    Scene s{};
    for (cudaStream_t* stream : {&s.stream, &s.other}) cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
    for (cudaEvent_t* event : {&s.outside, &s.fork, &s.join}) cudaEventCreateWithFlags(event, cudaEventDisableTiming);
    s.x = cases::on_device(std::vector<float>(kThreads, 1.0f));
    s.y = cases::on_device(std::vector<float>(kThreads, 1.0f));
    cudaEventRecord(s.outside, s.other);
    s.begin();
    const std::string during = f(s);
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(s.stream, &graph);
    if (ended != cudaSuccess) return during + cudaGetErrorName(ended);
    cudaGraphExec_t executable;
    cudaGraphInstantiate(&executable, graph, 0);
    for (int i = 0; i < times; ++i) cudaGraphLaunch(executable, s.stream);
    float sum = 0;
    cudaMemcpyAsync(&sum, s.y, sizeof sum, cudaMemcpyDeviceToHost, s.stream);
    const std::string error = cases::error_of(s.stream);
    return during + (error.empty() ? std::to_string(static_cast<int>(sum)) : error);
  };
}

// A call that is not permitted: what it returns, before what becomes of the capture.
template <class Call>
cases::Case refused(const Call& call) {
  return captured(1, [call](const Scene& s) { return std::string(cudaGetErrorName(call(s))) + ", "; });
}

std::string fork_and_join(const Scene& s, bool join) {
  s.add_on(s.stream);
  cudaEventRecord(s.fork, s.stream);
  cudaStreamWaitEvent(s.other, s.fork);
  s.add_on(s.other);
  cudaEventRecord(s.join, s.other);
  if (!join) return "";
  cudaStreamWaitEvent(s.stream, s.join);
  s.add_on(s.stream);
  return "";
}

std::string forgotten(const Scene& s) {
  fork_and_join(s, true);
  s.add_on(s.other);
  return "";
}

const cases::Add more = {
    {"capture: runs when launched", captured(0, [](const Scene& s) { return s.add_on(s.stream), ""; })},
    {"capture: three replays", captured(3, [](const Scene& s) { return s.add_on(s.stream), ""; })},
    {"capture: fork and join", captured(2, [](const Scene& s) { return fork_and_join(s, true); })},
    {"capture: no join", captured(1, [](const Scene& s) { return fork_and_join(s, false); })},
    {"capture: work behind the join", captured(1, forgotten)},
    {"capture: event from outside", refused([](const Scene& s) { return cudaStreamWaitEvent(s.stream, s.outside); })},
    {"capture: synchronize", refused([](const Scene& s) { return cudaStreamSynchronize(s.stream); })},
    {"capture: synchronize by another thread", refused([](const Scene& s) {
       cudaError_t error{};
       std::thread([&] { error = cudaStreamSynchronize(s.stream); }).join();
       return error;
     })},
    {"capture: synchronize the device", refused([](const Scene&) { return cudaDeviceSynchronize(); })},
    {"capture: query", refused([](const Scene& s) { return cudaStreamQuery(s.stream); })},
    {"capture: query an event", refused([](const Scene& s) { return cudaEventQuery(s.outside); })},
    {"capture: synchronize a captured event",
     [] {
       cudaStream_t stream;
       cudaEvent_t event;
       cudaGraph_t graph;
       cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
       cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
       cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
       cudaEventRecord(event, stream);
       const cudaError_t error = cudaEventSynchronize(event);
       return cudaGetErrorName(error) + std::string(", ") + cudaGetErrorName(cudaStreamEndCapture(stream, &graph));
     }},
    {"capture: free", refused([](const Scene& s) { return cudaFree(s.x); })},
    {"capture: page-locked memory", refused([](const Scene&) {
       void* memory;
       return cudaHostAlloc(&memory, 64, cudaHostAllocDefault);
     })},
    {"capture: legacy stream", refused([](const Scene& s) { return cudaMemsetAsync(s.x, 0, 4, nullptr); })},
    {"capture: ended by another thread", refused([](const Scene& s) {
       cudaError_t error{};
       cudaGraph_t graph;
       std::thread([&] { error = cudaStreamEndCapture(s.stream, &graph); }).join();
       return error;
     })},
};

}  // namespace
