// What this process may use of the machine: containers limit it below what the hardware has.
#pragma once

#include <cstdint>
#include <string>

namespace diffusion::cpu {

struct Machine {
  std::string name;         // of the processor
  const char* isa;          // the best instruction set in common with this library
  int32_t threads;          // by affinity and by the control group's quota of processor time
  int64_t memory_bytes;     // in all
  int64_t available_bytes;  // without taking from others
};

Machine machine();

// Whether oneDNN computes in bf16 with the instructions made for it: it can be told to leave instruction sets unused.
bool computes_bf16();

}  // namespace diffusion::cpu
