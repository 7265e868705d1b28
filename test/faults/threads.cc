// The engine with a backend that only copies, for ThreadSanitizer: queue, memory, completions, programs and faults of
// several devices at once, with the thread of each in the place of JavaScript's. Prints what it has counted; exit
// status 1 for a wrong value.
//   g++ -std=c++20 -fsanitize=thread -I native native/core/*.cc test/faults/threads.cc && ./a.out <rounds>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <thread>

#include "core/device.h"

namespace diffusion {

// Calls back from a thread of its own, in the order of submission, as a device does.
struct Stream {
  struct Item {
    Done done;
    void* context;
  };
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Item> items;
  bool finished = false;
  std::thread thread{[this] { work(); }};

  void push(Done done, void* context) {
    const std::lock_guard lock(mutex);
    items.push_back({done, context});
    wake.notify_one();
  }
  void work() {
    for (std::unique_lock lock(mutex);;) {
      wake.wait(lock, [this] { return finished || !items.empty(); });
      if (items.empty()) return;
      const Item item = items.front();
      items.pop_front();
      lock.unlock();
      item.done(item.context, nullptr);
      lock.lock();
    }
  }
  void end() {
    {
      const std::lock_guard lock(mutex);
      finished = true;
    }
    wake.notify_one();
    thread.join();
  }
};

namespace {

constexpr size_t kFloats = 300;
std::atomic<int64_t> reserved{0}, wrong{0}, refused{0}, delivered{0}, failed{0};
std::atomic<int> maps{0};

const Backend& copying_backend() {
  static const Backend backend = [] {
    Backend one{};
    one.abi = kAbi;
    one.name = "copying";
    one.default_memory_limit = [](int32_t) { return size_t{48} << 20; };
    one.computes_bf16 = [](int32_t) { return false; };
    one.open = [](const OpenOptions*, Failure*) { return new Stream; };
    one.close = [](Stream* stream) {
      stream->end();
      delete stream;
    };
    one.reserve = [](int32_t, size_t bytes) {
      reserved += static_cast<int64_t>(bytes);
      return calloc(bytes, 1);
    };
    one.map = [](Stream*, void*, size_t, Failure* failure) {
      if (++maps % 17 != 0) return true;
      snprintf(failure->code, sizeof failure->code, "%s", code::out_of_memory);
      snprintf(failure->message, sizeof failure->message, "no memory this time");
      return false;
    };
    one.unreserve = [](int32_t, void* address, size_t bytes) {
      reserved -= static_cast<int64_t>(bytes);
      ::free(address);
    };
    // y = 2·x; a first value of 13 fails.
    one.run = [](Stream*, OpId, const void* op, Failure* failure) {
      const auto& scale = *static_cast<const Scale*>(op);
      if (scale.x.f32()[0] == 13) {
        snprintf(failure->code, sizeof failure->code, "%s", code::device);
        snprintf(failure->message, sizeof failure->message, "thirteen");
        return false;
      }
      for (int64_t i = 0; i < scale.x.size(); ++i) scale.y.f32()[i] = scale.scale * scale.x.f32()[i];
      return true;
    };
    one.upload = one.copy = [](Stream*, void* to, const void* from, size_t bytes, Failure*) {
      memcpy(to, from, bytes);
      return true;
    };
    one.download = [](Stream* stream, void* host, const void* device, size_t bytes, Done done, void* context) {
      memcpy(host, device, bytes);
      stream->push(done, context);
    };
    one.notify = [](Stream* stream, Done done, void* context) { stream->push(done, context); };
    return one;
  }();
  return backend;
}

// What JavaScript's thread has of a device.
class User {
 public:
  User(LoadedBackend& backend, uint32_t seed)
      : random_(seed),
        completions_(std::make_shared<Completions>([this] {
          const std::lock_guard lock(mutex_);
          woken_ = true;
          wake_.notify_one();
          return true;
        })),
        device_(std::make_unique<Device>(backend, 0, 1, size_t{24} << 20, completions_)) {}

  void round() {
    const float first = random_() % 8 == 0 ? 13 : static_cast<float>(random_() % 1000 + 20);
    const std::vector<float> values(kFloats, first);
    try {
      Storage* x = device_->allocate(kFloats * sizeof(float));
      device_->upload(x, 0, values.data(), kFloats * sizeof(float));
      const bool program = random_() % 4 == 0;
      if (program) device_->begin_recording();
      Storage* y = twice(x);
      std::unique_ptr<Program> recorded = program ? device_->end_recording() : nullptr;
      if (recorded) device_->run(*recorded);
      read(y, first);
      if (random_() % 3 == 0) ballast();
      if (recorded) device_->release(*recorded);
      device_->release(x);
      device_->release(y);
    } catch (const Error&) {  // the limit: what was made in this round stays until the end
      ++refused;
      device_->abandon_recording();
    }
    if (reads_.size() > 40) drain();
  }

  // Half of them leave with work queued.
  void leave(bool at_once) {
    if (at_once)
      device_->stop();
    else
      drain();
    device_.reset();
    take();
  }

 private:
  struct Read {
    std::vector<float> into = std::vector<float>(kFloats);
    float first;
  };

  Storage* twice(Storage* x) {
    Storage* y = device_->allocate(kFloats * sizeof(float));
    auto command = std::make_shared<Operation<Scale>>();
    const auto view = [](Storage* of) { return View{of->address, {static_cast<int64_t>(kFloats)}, 1, DType::f32}; };
    static_cast<View&>(command->op.x) = view(x);
    static_cast<View&>(command->op.y) = view(y);
    command->op.scale = 2;
    command->marking.reads[command->marking.read_count++] = Extent::whole(x->id);
    command->marking.writes[command->marking.write_count++] = Extent::whole(y->id);
    device_->submit(std::move(command), {x, y});
    return y;
  }

  void read(Storage* y, float first) {
    Read& one = reads_[++ticket_];
    one.first = first;
    device_->download(y, 0, one.into.data(), kFloats * sizeof(float), ticket_);
  }

  void ballast() { device_->release(device_->allocate((1 + random_() % 12) << 20)); }

  void take() {
    for (const Completions::Item& item : completions_->take()) {
      const Read& one = reads_.at(item.ticket);
      ++delivered;
      if (item.fault)
        ++failed;
      else if (one.into.back() != 2 * one.first || one.first == 13)
        ++wrong;
      reads_.erase(item.ticket);
    }
  }

  void drain() {
    while (!reads_.empty()) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return woken_; });
        woken_ = false;
      }
      take();
    }
  }

  std::mt19937 random_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
  std::unordered_map<int64_t, Read> reads_;
  int64_t ticket_ = 0;
  std::shared_ptr<Completions> completions_;
  std::unique_ptr<Device> device_;
};

}  // namespace

}  // namespace diffusion

int main(int, char** arguments) {
  using namespace diffusion;
  LoadedBackend backend(copying_backend());
  std::vector<std::thread> threads;
  for (uint32_t seed = 1; seed <= 4; ++seed)
    threads.emplace_back([&, seed, rounds = atoi(arguments[1])] {
      for (int life = 0; life < 6; ++life) {
        User user(backend, seed * 100 + static_cast<uint32_t>(life));
        for (int i = 0; i < rounds; ++i) user.round();
        user.leave(life % 2 == 1);
      }
    });
  for (std::thread& thread : threads) thread.join();
  printf("{\"delivered\":%lld,\"failed\":%lld,\"refused\":%lld,\"wrong\":%lld,\"reserved\":%lld,\"held\":%lld}\n",
         static_cast<long long>(delivered), static_cast<long long>(failed), static_cast<long long>(refused),
         static_cast<long long>(wrong), static_cast<long long>(reserved),
         static_cast<long long>(backend.process_bytes[0]));
  return wrong == 0 && reserved == 0 && backend.process_bytes[0] == 0 ? 0 : 1;
}
