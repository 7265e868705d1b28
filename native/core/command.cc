#include "core/command.h"

#include <algorithm>

namespace diffusion {

FaultPtr Faults::find(const Extent* extents, size_t count) const {
  for (size_t i = 0; i < count; ++i) {
    const auto found = damage_.find(extents[i].id);
    if (found == damage_.end()) continue;
    for (const Damage& damage : found->second)
      if (damage.begin < extents[i].end && extents[i].begin < damage.end) return damage.fault;
  }
  return nullptr;
}

void Faults::settle(const Extent* extents, size_t count, const FaultPtr& fault) {
  for (size_t i = 0; i < count; ++i) {
    const auto [id, begin, end] = extents[i];
    std::vector<Damage>& damages = damage_[id];
    for (size_t at = damages.size(); at-- > 0;) {  // what is added lies behind
      const Damage damage = damages[at];
      if (damage.fault->lasting || damage.end <= begin || end <= damage.begin) continue;
      damages.erase(damages.begin() + static_cast<ptrdiff_t>(at));
      if (damage.begin < begin) damages.push_back({damage.begin, begin, damage.fault});
      if (end < damage.end) damages.push_back({end, damage.end, damage.fault});
    }
    if (fault) damages.push_back({begin, end, fault});
    if (damages.empty()) damage_.erase(id);
  }
}

bool Faults::any_of(const std::vector<StorageId>& sorted) const {
  return std::any_of(damage_.begin(), damage_.end(),
                     [&](const auto& entry) { return std::binary_search(sorted.begin(), sorted.end(), entry.first); });
}

}  // namespace diffusion
