// `emulator_cases <name>` prints what the emulator made of one of the cases; without a name, their names.
#include <cstdio>

#include "cases.h"

int main(int count, char** arguments) {
  const auto found = cases::all().find(count > 1 ? arguments[1] : "");
  if (found == cases::all().end()) {
    for (const auto& [name, run] : cases::all()) printf("%s\n", name.c_str());
    return 2;
  }
  printf("%s\n", found->second().c_str());
  return 0;
}
