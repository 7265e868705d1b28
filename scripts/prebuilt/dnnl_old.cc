// What Debian's oneDNN takes from the C++ runtime of GCC 9 and later, by means of what that of GCC 8 has; and the flag
// of glibc 2.32. Linked with the shared C++ runtime, which is the one that oneDNN uses.
#include <new>
#include <sstream>

#pragma GCC visibility push(default)
extern "C" {

char __libc_single_threaded = 0;

[[noreturn]] void _ZSt28__throw_bad_array_new_lengthv() { throw std::bad_array_new_length(); }

void _ZNSt7__cxx1118basic_stringstreamIcSt11char_traitsIcESaIcEEC1Ev(void* memory) {
  new (memory) std::stringstream(std::ios_base::in | std::ios_base::out);
}
void _ZNSt7__cxx1119basic_ostringstreamIcSt11char_traitsIcESaIcEEC1Ev(void* memory) {
  new (memory) std::ostringstream(std::ios_base::out);
}

// std::exception_ptr holds one pointer; a copy that is never destroyed is one reference more.
void _ZNSt15__exception_ptr13exception_ptrC1ERKS0_(void* to, const void* from);
void _ZNSt15__exception_ptr13exception_ptrD1Ev(void* pointer);

void _ZNSt15__exception_ptr13exception_ptr9_M_addrefEv(void* pointer) {
  void* copy;
  _ZNSt15__exception_ptr13exception_ptrC1ERKS0_(&copy, pointer);
}
void _ZNSt15__exception_ptr13exception_ptr10_M_releaseEv(void* pointer) {
  _ZNSt15__exception_ptr13exception_ptrD1Ev(pointer);
  *static_cast<void**>(pointer) = nullptr;
}
}
#pragma GCC visibility pop
