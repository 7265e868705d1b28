// A file of events in Chrome's trace format, which Perfetto and chrome://tracing open.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace diffusion {

// All devices of the process that name it share it, one after another or at once. It is a whole array of JSON after
// every write, whatever becomes of the process then.
class Trace {
 public:
  using Clock = std::chrono::steady_clock;

  // Replaces what is at `path`, unless this process has begun it. It stays open until the process ends. Throws
  // Error(option) when it cannot be written.
  static Trace& open(const std::string& path);

  // The number of a new row in the picture, of this name (letters, digits and colons).
  int32_t add_row(const std::string& name);
  // Events that each begin with ",\n". On any error (the disk is full) the file keeps what it has, and no more comes.
  void write(const std::string& events);

  double microseconds(Clock::time_point moment) const {
    return std::chrono::duration<double, std::micro>(moment - begin_).count();
  }
  int process() const { return process_; }

 private:
  explicit Trace(int file, dev_t device, ino_t inode) : file_(file), device_(device), inode_(inode) {}
  bool append(const std::string& text);

  const int file_;
  const dev_t device_;
  const ino_t inode_;
  const Clock::time_point begin_ = Clock::now();
  int process_ = 0;
  std::mutex mutex_;
  int64_t size_ = 0;  // without the end
  int32_t rows_ = 0;
  bool failed_ = false;
};

}  // namespace diffusion
