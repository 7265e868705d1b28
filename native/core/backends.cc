#include "core/backends.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "core/error.h"

namespace diffusion {

namespace {

// Sets an environment variable for as long as a library takes to load, unless the user has set it.
class LoadTimeVariable {
 public:
  LoadTimeVariable(const char* name, const char* value) : name_(name), set_(std::getenv(name) == nullptr) {
    if (set_) setenv(name, value, 0);
  }
  ~LoadTimeVariable() {
    if (set_) unsetenv(name_);
  }

 private:
  const char* name_;
  bool set_;
};

}  // namespace

LoadedBackend& load_backend(const std::string& path) {
  // Never destroyed: executors may still run while the process exits.
  static auto& mutex = *new std::mutex;
  static auto& loaded = *new std::map<std::string, std::unique_ptr<LoadedBackend>>;
  const std::lock_guard lock(mutex);
  if (const auto found = loaded.find(path); found != loaded.end()) return *found->second;

  // Threads that wait for the next parallel region sleep instead of taking a core from the event loop.
  // A short spin first: without it every parallel region costs 40 µs on two cores, with it 0.6 µs; ten times as long
  // stalls a busy machine for milliseconds.
  const LoadTimeVariable wait_policy("OMP_WAIT_POLICY", "passive");
  const LoadTimeVariable spin_count("GOMP_SPINCOUNT", "1000");
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) fail(code::device, "%s", dlerror());
  const auto get_backend = reinterpret_cast<GetBackend>(dlsym(library, kBackendSymbol));
  if (get_backend == nullptr) fail(code::device, "%s is not a backend: it has no %s", path.c_str(), kBackendSymbol);
  const Backend* backend = get_backend();
  if (backend->abi != kAbi)
    fail(code::device, "%s was built for ABI %u, this engine needs %u; build both again", path.c_str(), backend->abi,
         kAbi);
  return *loaded.emplace(path, std::make_unique<LoadedBackend>(*backend)).first->second;
}

}  // namespace diffusion
