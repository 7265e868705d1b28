#include "core/executor.h"

#include <future>

#include "core/profile.h"

namespace diffusion {

bool Command::is_skipped(const Executor& executor) const { return executor.closed != nullptr; }

void Executor::execute_profiled(const CommandPtr& command) { profile->execute(*this, command); }

void Executor::write_profile() {
  if (profile) profile->write(*this);
}

bool Executor::map_again(const void* address, Failure& failure) {
  const auto* at = static_cast<const char*>(address);
  for (auto slab = unmapped.begin(); slab != unmapped.end(); ++slab) {
    const auto* base = static_cast<const char*>(slab->address);
    if (at < base || at >= base + slab->bytes) continue;
    if (!backend.map(stream, slab->address, slab->bytes, &failure)) return false;
    unmapped.erase(slab);
    return true;
  }
  return true;
}

void Executor::wait() {
  if (stream == nullptr) return;
  std::promise<void> ended;
  backend.notify(
      stream, [](void* context, const Failure*) { static_cast<std::promise<void>*>(context)->set_value(); }, &ended);
  ended.get_future().wait();
}

}  // namespace diffusion
