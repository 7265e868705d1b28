#include "emulator/simt.h"

namespace diffusion::emulator {
namespace {

uint3 plain(const dim3& v) { return {v.x, v.y, v.z}; }

}  // namespace

uint3 thread_index() { return plain(current_block->thread_index()); }
uint3 block_index() { return plain(current_block->block_index()); }
uint3 block_size() { return plain(current_block->block_size()); }
uint3 grid_size() { return plain(current_block->grid_size()); }
unsigned char* shared_memory() { return current_block->shared(); }
void barrier(int line) { current_block->barrier(line); }

}  // namespace diffusion::emulator
