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
  kNoLocalApic,  // it is switched off, or its registers or this processor cannot be reached by it
  kNoAnswer,     // the processor did not arrive in time
  kXenRefused,   // VCPUOP_initialise or VCPUOP_up failed
  kUnsupported,  // a 32-bit kernel
};

// Called on the new processor in 64-bit mode, with the starter's control registers and page tables,
// the runtime's GDT and IDT, and interrupts off. When it returns, the processor halts for good.
using ProcessorEntry = void (*)(void* argument);

// The processors of this machine that can be started, without the one that runs: the enabled ones
// of the MADT, and on Xen, where there may be no MADT, those that Xen knows: their `uid` is the
// vCPU's number there, and `apic_id` is kUnknownApicId if no MADT tells it. As the first part of
// `out`; `needed` counts all.
inline constexpr std::uint32_t kUnknownApicId = UINT32_MAX;
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

  // `stack` is the end of the stack, 16-byte aligned. Waits until the processor runs on it, some
  // seconds at most; one that has not answered will not come later.
  [[nodiscard]] std::expected<void, StartError> start(const Processor& processor,
                                                      ProcessorEntry entry, void* argument,
                                                      void* stack);

 private:
  [[maybe_unused]] Boot* boot_;  // a 32-bit kernel has no use for it
  std::optional<base::Range> trampoline_;
};

}  // namespace pvh::guest
