// SPDX-License-Identifier: BSD-2-Clause
// What may fault, done so that a fault is an answer: every exception of this processor ends the
// innermost attempt().
#pragma once

#include <cstdint>

namespace pvh::kernels::hostile {

// From now on exceptions are answers, and not the runtime's to tell. Of the boot processor.
void catch_exceptions();

// The IDT that does it, for attacks that load another one.
struct [[gnu::packed]] TablePointer {
  std::uint16_t limit;
  std::uint64_t base;
};
[[nodiscard]] TablePointer catching_idt();

// False: it faulted; what it had not done by then is not done. `argument` goes to `act` as it is.
extern "C" bool hostile_attempt(void (*act)(void*), void* argument);

template <typename Act>
bool attempt(Act act) {
  return hostile_attempt([](void* argument) { (*static_cast<Act*>(argument))(); }, &act);
}

}  // namespace pvh::kernels::hostile
