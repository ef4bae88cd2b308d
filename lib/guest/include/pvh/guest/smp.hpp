// SPDX-License-Identifier: BSD-2-Clause
// Starting the other processors, by INIT-SIPI-SIPI through a trampoline below 1 MiB, or on Xen
// right in 64-bit mode. Each calls the kernel's function on a stack that the kernel gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include <pvh/base/address.hpp>
#include <pvh/guest/acpi.hpp>
#include <pvh/guest/boot.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest {

enum class StartError : std::uint8_t {
  kNoLowPage,    // no free page below 0xa0000 for the trampoline
  kNoLocalApic,  // it is switched off or its registers cannot be reached
  kNoAnswer,     // the processor did not arrive in time
  kXenRefused,   // VCPUOP_initialise or VCPUOP_up failed
  kUnsupported,  // a 32-bit kernel
};

// Called on the new processor in 64-bit mode, paging as the starter's, interrupts off. It must not
// return.
using ProcessorEntry = void (*)(void* argument);

// The processors of this machine besides the one that runs, and who they are: from the MADT, and on
// Xen, where there may be none, by asking for each number. `id` is the APIC id, or on Xen the
// vCPU's number. As the first part of `out`; `needed` counts all.
struct OtherProcessors {
  std::span<Processor> processors;
  std::size_t needed = 0;
};
[[nodiscard]] OtherProcessors other_processors(Boot& boot, std::span<Processor> out);

// Starts processors one after the other: they share one trampoline, which is allocated at the first
// start and stays. Not for two starters at once.
class ProcessorStarter {
 public:
  explicit ProcessorStarter(Boot& boot) : boot_(&boot) {}

  // `stack` is the end of the stack, 16-byte aligned. Waits until the processor runs on it, about a
  // second at most.
  [[nodiscard]] std::expected<void, StartError> start(const Processor& processor,
                                                      ProcessorEntry entry, void* argument,
                                                      void* stack);

 private:
  Boot* boot_;
  std::optional<base::Range> trampoline_;
};

}  // namespace pvh::guest
