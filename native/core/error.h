// The one exception type of the engine. It never crosses a shared-library boundary: backends turn it into a Failure.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace diffusion {

// The codes of lib/errors.ts.
namespace code {
inline constexpr const char* shape = "ERR_SHAPE";
inline constexpr const char* dtype = "ERR_DTYPE";
inline constexpr const char* option = "ERR_OPTION";
inline constexpr const char* disposed = "ERR_DISPOSED";
inline constexpr const char* device_mismatch = "ERR_DEVICE_MISMATCH";
inline constexpr const char* device = "ERR_DEVICE";
inline constexpr const char* out_of_memory = "ERR_OUT_OF_MEMORY";
}  // namespace code

struct Error : std::runtime_error {
  const char* code;
  Error(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
};

__attribute__((format(printf, 2, 3))) [[noreturn]] inline void fail(const char* code, const char* format, ...) {
  char text[480];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Error(code, text);
}

}  // namespace diffusion
