// What the C++ runtime that is linked in asks for, and glibc 2.28 lacks.
#include <sys/random.h>
#include <sys/stat.h>

extern "C" int __fxstat(int version, int file, struct stat* status);
extern "C" int __fxstat64(int version, int file, struct stat64* status);

#pragma GCC visibility push(hidden)
extern "C" {

// Whether references may be counted without locked instructions: since 2.32.
char __libc_single_threaded = 0;

// For std::random_device: since 2.36.
unsigned arc4random() {
  unsigned word = 0;
  while (getrandom(&word, sizeof word, 0) != sizeof word) continue;
  return word;
}

// For traces and std::filebuf: since 2.33. Before, they were macros over these, of which x86-64 has one version.
int fstat(int file, struct stat* status) noexcept { return __fxstat(1, file, status); }
int fstat64(int file, struct stat64* status) noexcept { return __fxstat64(1, file, status); }
}
#pragma GCC visibility pop
