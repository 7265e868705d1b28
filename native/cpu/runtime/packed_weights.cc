#include "cpu/runtime/packed_weights.h"

#include <algorithm>

namespace diffusion::cpu {
namespace {

constexpr size_t kMostCopies = 4096;
constexpr int64_t kForgotten = 65536;  // uses of any weights after which a copy that was not among them is dropped
constexpr int64_t kMostPatience = 64;
constexpr size_t kAlignment = 64;

size_t rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

PackedWeights::~PackedWeights() {
  for (auto& [address, copy] : copies_) drop(copy);
}

PackedWeights::Place PackedWeights::use(const Source& source, const dnnl::memory::desc& layout) {
  ++uses_;
  const auto [first, last] = copies_.equal_range(source.begin);
  auto found = std::find_if(first, last, [&](const auto& item) {
    const Copy& copy = item.second;
    return copy.source.rows == source.rows && copy.source.form == source.form && copy.source.end == source.end &&
           copy.layout == layout;
  });
  if (found == last) {
    if (copies_.size() >= kMostCopies) {
      for (auto& [address, copy] : copies_) drop(copy);
      copies_.clear();
    }
    found = copies_.emplace(source.begin, Copy{source, layout, nullptr});
    longest_ = std::max(longest_, source.end - source.begin);
  }
  Copy& copy = found->second;
  copy.last_use = uses_;
  ++copy.uses;
  if (copy.data) return {copy.data.get(), true};
  const size_t bytes = rounded(layout.get_size());
  if (copy.uses <= copy.patience || !make_room(bytes)) return {nullptr, false};
  copy.data.reset(std::aligned_alloc(kAlignment, bytes));
  if (copy.data) return {copy.data.get(), false};
  if (options_.account != nullptr) options_.account(options_.context, -static_cast<int64_t>(bytes));
  total_ -= bytes;
  return {nullptr, false};
}

void PackedWeights::written(const void* address, size_t bytes) {
  const auto* const begin = static_cast<const char*>(address);
  const auto* const end = begin + bytes;
  for (auto item = copies_.lower_bound(begin - longest_); item != copies_.end() && item->first < end; ++item) {
    Copy& copy = item->second;
    if (copy.source.end <= begin) continue;
    // Copies that served only a few times cost more than they saved.
    if (copy.data && copy.uses < 4 * copy.patience) copy.patience = std::min(2 * copy.patience, kMostPatience);
    copy.uses = 0;
    drop(copy);
  }
}

// Never more than half of the memory that the limit leaves.
bool PackedWeights::make_room(size_t bytes) {
  for (auto& [address, copy] : copies_)
    if (copy.data && copy.last_use < uses_ - kForgotten) drop(copy);
  if (options_.account != nullptr) {
    if (!options_.account(options_.context, static_cast<int64_t>(bytes + total_))) return false;
    options_.account(options_.context, -static_cast<int64_t>(total_));
  }
  total_ += bytes;
  return true;
}

void PackedWeights::drop(Copy& copy) {
  if (!copy.data) return;
  const size_t bytes = rounded(copy.layout.get_size());
  copy.data.reset();
  total_ -= bytes;
  if (options_.account != nullptr) options_.account(options_.context, -static_cast<int64_t>(bytes));
}

}  // namespace diffusion::cpu
