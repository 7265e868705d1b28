// What a block says about an access that the quick checks do not pass.
#include <link.h>

#include <cinttypes>

#include "emulator/block.h"
#include "emulator/device_memory.h"

namespace diffusion::emulator {
namespace {

// This library as it lies in memory: constants that kernels read.
struct Image {
  uintptr_t start = UINTPTR_MAX, end = 0;

  Image() {
    dl_iterate_phdr(
        [](dl_phdr_info* module, size_t, void* context) {
          Image found = *static_cast<Image*>(context);
          const auto here = reinterpret_cast<uintptr_t>(&describe_address);
          for (int i = 0; i < module->dlpi_phnum; ++i) {
            const auto& part = module->dlpi_phdr[i];
            if (part.p_type != PT_LOAD) continue;
            found.start = std::min<uintptr_t>(found.start, module->dlpi_addr + part.p_vaddr);
            found.end = std::max<uintptr_t>(found.end, module->dlpi_addr + part.p_vaddr + part.p_memsz);
          }
          if (here < found.start || here >= found.end) return 0;
          *static_cast<Image*>(context) = found;
          return 1;
        },
        this);
  }
};

}  // namespace

void Block::check_private(const void* address, size_t bytes, const char* what) {
  static const Image image;
  const auto at = reinterpret_cast<uintptr_t>(address), arguments = reinterpret_cast<uintptr_t>(launch_->arguments);
  if (at - arguments < launch_->argument_bytes || at - image.start < image.end - image.start) return;
  const auto offset = static_cast<int64_t>(at - reinterpret_cast<uintptr_t>(shared_));
  if (offset >= -static_cast<int64_t>(kMaxShared) && offset < static_cast<int64_t>(2 * kMaxShared))
    fault("%s %zu bytes at offset %" PRId64 " of shared memory, which has %zu bytes", what, bytes, offset,
          shared_bytes());
  fault("%s %zu bytes at %p, which is host memory", what, bytes, address);
}

void Block::check_usable(const void* address, size_t bytes, const char* what, bool to_write) {
  if (is_usable(address, bytes, to_write)) return;
  fault("%s %zu bytes at %p, %s%s", what, bytes, address, describe_address(address).c_str(),
        is_usable(address, bytes, false) ? ", which the operation only reads" : "");
}

void Block::check_cells(const int32_t* cells, const void* address, size_t bytes, const char* what, bool written) {
  for (size_t i = 0; i < bytes; ++i)
    if (cells[i] >= first_number_ && cells[i] != number_) check_order(cells[i], address, bytes, what, written);
}

void Block::check_order(int32_t cell, const void* address, size_t bytes, const char* what, bool written) {
  const Races& races = *launch_->races;
  if (races.ordered(cell, number_, known_)) return;
  char other[80];
  const auto index = static_cast<unsigned>(cell - races.first());
  const dim3& grid = launch_->grid;
  if (cell < races.several())
    snprintf(other, sizeof other, "block (%u, %u, %u) of this launch has", index % grid.x, index / grid.x % grid.y,
             index / grid.x / grid.y);
  else
    snprintf(other, sizeof other, "%s",
             cell == races.several()  ? "several blocks of this launch have"
             : cell == races.atomic() ? "an atomic operation of this launch has"
                                      : "a kernel that runs at the same time has");
  fault("%s %zu bytes at %p, %s, which %s %s", what, bytes, address, describe_address(address).c_str(), other,
        written ? "written" : "read");
}

}  // namespace diffusion::emulator
