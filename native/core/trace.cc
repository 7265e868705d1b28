#include "core/trace.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "core/error.h"

namespace diffusion {

namespace {
[[noreturn]] void fail_to_write(const std::string& path, const char* why) {
  fail(code::option, "openDevice: option 'profile' (or DIFFUSION_PROFILE): cannot write %s: %s", path.c_str(), why);
}
}  // namespace

Trace& Trace::open(const std::string& path) {
  static std::mutex mutex;
  static auto& traces = *new std::vector<std::unique_ptr<Trace>>;  // executors outlive what exit() destroys
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  struct stat status{};
  if (file < 0 || fstat(file, &status) != 0) fail_to_write(path, strerror(errno));
  const std::lock_guard lock(mutex);
  for (const auto& trace : traces) {
    if (trace->device_ != status.st_dev || trace->inode_ != status.st_ino) continue;
    ::close(file);
    return *trace;
  }
  auto trace = std::unique_ptr<Trace>(new Trace(file, status.st_dev, status.st_ino));
  trace->process_ = getpid();
  const std::string process = std::to_string(trace->process_);
  errno = EINVAL;
  if (!S_ISREG(status.st_mode) || ftruncate(file, 0) != 0 ||
      !trace->append("[\n{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":" + process +
                     ",\"args\":{\"name\":\"diffusion-native\"}}")) {
    const char* why = S_ISREG(status.st_mode) ? strerror(errno) : "not a regular file";
    ::close(file);
    fail_to_write(path, why);
  }
  traces.push_back(std::move(trace));
  return *traces.back();
}

int32_t Trace::add_row(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const int32_t row = ++rows_;
  failed_ = failed_ || !append(",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":" + std::to_string(process_) +
                               ",\"tid\":" + std::to_string(row) + ",\"args\":{\"name\":\"" + name + "\"}}");
  return row;
}

void Trace::write(const std::string& events) {
  const std::lock_guard lock(mutex_);
  failed_ = failed_ || !append(events);
}

// Over the end of what is there; and the end anew.
bool Trace::append(const std::string& text) {
  const std::string whole = text + "\n]\n";
  for (size_t at = 0; at < whole.size();) {
    const ssize_t written = pwrite(file_, whole.data() + at, whole.size() - at, size_ + static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int cause = errno;
      // A part of an event may have been written; without it the file is whole again.
      if (ftruncate(file_, size_) == 0 && pwrite(file_, "\n]\n", 3, size_) == 3) errno = cause;
      return false;
    }
    at += static_cast<size_t>(written);
  }
  size_ += static_cast<int64_t>(text.size());
  return true;
}

}  // namespace diffusion
