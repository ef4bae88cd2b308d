// SPDX-License-Identifier: BSD-2-Clause
// What the runtime asks of the machine under it, and all that it asks: physical memory, CPUID,
// MSRs, ports, hypercalls. One class of this shape exists for a kernel (internal/x86_machine.hpp:
// instructions, no calls) and one for a host (internal/hosted_machine.hpp: whatever a test puts
// behind it); everything else in this library is the same source for both.
//
// Physical memory is reached by address, never by pointer: `read` and `write` copy, `view` gives a
// pointer only where one stays valid. Each checks that the range is mapped, answers false or
// nothing when it is not, and never faults on a bad address.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/guest/xen_token.hpp>

namespace pvh::guest {

struct CpuidResult {
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;

  friend constexpr bool operator==(const CpuidResult&, const CpuidResult&) = default;
};

// What fits a register of the mode that the kernel runs in: an argument of a hypercall.
using Word = std::uintptr_t;

template <typename M>
concept MachineShape =
    requires(M& machine, base::PhysAddr address, base::Range range, base::Bytes bytes,
             base::MutableBytes buffer, const xen::Token& token, std::uint8_t byte,
             std::uint16_t port, std::uint32_t number, std::uint64_t value, Word word) {
      // Copies out.size() bytes from `address`. False: not all of it is reachable, and then `out`
      // is unspecified.
      { machine.read(address, buffer) } -> std::same_as<bool>;
      { machine.write(address, bytes) } -> std::same_as<bool>;
      // The bytes where they lie, for as long as the machine's page tables stay; nothing when the
      // range is reached only through a window.
      { machine.view(range) } -> std::same_as<std::optional<base::MutableBytes>>;
      // One access of exactly this width, for device registers in memory.
      { machine.read_mmio32(address) } -> std::same_as<std::optional<std::uint32_t>>;
      { machine.write_mmio32(address, number) } -> std::same_as<bool>;
      // Subleaf 0 where the leaf has none.
      { machine.cpuid(number, number) } -> std::same_as<CpuidResult>;
      // The caller knows that the MSR exists: another one is a fault.
      { machine.read_msr(number) } -> std::same_as<std::uint64_t>;
      { machine.write_msr(number, value) } -> std::same_as<void>;
      // The time stamp counter, which every processor has.
      { machine.read_tsc() } -> std::same_as<std::uint64_t>;
      { machine.in8(port) } -> std::same_as<std::uint8_t>;
      { machine.in16(port) } -> std::same_as<std::uint16_t>;
      { machine.in32(port) } -> std::same_as<std::uint32_t>;
      { machine.out8(port, byte) } -> std::same_as<void>;
      { machine.out16(port, port) } -> std::same_as<void>;
      { machine.out32(port, number) } -> std::same_as<void>;
      // Xen's answer: not negative, or minus an error number. Whoever has a token is on Xen.
      {
        machine.hypercall(token, number, word, word, word, word, word)
      } -> std::same_as<std::intptr_t>;
      { machine.pause() } -> std::same_as<void>;  // a turn of a loop that waits
    };

}  // namespace pvh::guest

#if __STDC_HOSTED__
#include <pvh/guest/internal/hosted_machine.hpp>
#else
#include <pvh/guest/internal/x86_machine.hpp>
#endif

static_assert(pvh::guest::MachineShape<pvh::guest::Machine>);
