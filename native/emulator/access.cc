#include "emulator/access.h"

#include "emulator/block.h"
#include "emulator/check_access.h"

namespace diffusion::emulator {

void check_read(const void* address, size_t bytes) { check_access<false>(address, bytes); }

void check_write(const void* address, size_t bytes) { check_access<true>(address, bytes); }

void check_atomic(const void* address, size_t bytes, const std::function<void()>& exchange) {
  Block& block = *current_block;
  if (!on_device(address)) {
    if (!block.owns(address, bytes)) block.check_private(address, bytes, "atomic operation on");
    return exchange();
  }
  block.check_usable(address, bytes, "atomic operation on", true);
  Races& races = block.races();
  if (!races.watched()) return exchange();
  races.synchronize(address, block.number(), block.published(), block.known(), exchange);
  int32_t* cells[] = {device_window.writers + device_offset(address), device_window.readers + device_offset(address)};
  for (size_t i = 0; i < bytes; ++i) {
    for (int32_t* cell : cells)
      if (cell[i] >= races.first() && cell[i] != block.number() && cell[i] != races.atomic())
        block.check_order(cell[i], address, bytes, "atomic operation on", cell == cells[0]);
    cells[0][i] = races.atomic();
  }
}

void note_fence() { current_block->publish(); }

}  // namespace diffusion::emulator
