// Where exceptions end: a backend's functions report them as a Failure.
#pragma once

#include <cstdio>
#include <exception>
#include <new>

#include "core/backend.h"
#include "core/error.h"

namespace diffusion {

inline void report(Failure* failure, const char* code, const char* message) {
  snprintf(failure->code, sizeof failure->code, "%s", code);
  snprintf(failure->message, sizeof failure->message, "%s", message);
  failure->lost = false;
}

// f(), or false and a filled Failure.
template <class F>
bool guarded(Failure* failure, const F& f) {
  try {
    f();
    return true;
  } catch (const Error& error) {
    report(failure, error.code, error.what());
  } catch (const std::bad_alloc&) {
    report(failure, code::out_of_memory, "the system has no memory left");
  } catch (const std::exception& error) {
    report(failure, code::device, error.what());
  } catch (...) {
    report(failure, code::device, "unknown failure");
  }
  return false;
}

}  // namespace diffusion
