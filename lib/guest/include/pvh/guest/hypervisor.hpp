// SPDX-License-Identifier: BSD-2-Clause
// Who runs this kernel, by CPUID alone. A version 0 of start_info proves nothing, nor does EAX.
//
// Hypervisors present themselves in blocks of 256 leaves from 0x40000000 up: the first leaf's EAX
// is the block's last leaf and EBX, ECX, EDX are twelve characters. There may be several: Xen shows
// Hyper-V's interface first and its own at 0x40000100. Source: Xen's public/arch-x86/cpuid.h, KVM's
// Documentation/virt/kvm/x86/cpuid.rst, Microsoft's TLFS 2.4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <pvh/guest/machine.hpp>
#include <pvh/guest/xen_token.hpp>

namespace pvh::guest {

enum class HypervisorKind : std::uint8_t {
  kUnknown,
  kXen,
  kKvm,
  kHyperV,
  kTcg,  // QEMU's software emulation
  kBhyve,
  kVmware,
  kAcrn,
};

struct Hypervisor {
  HypervisorKind kind = HypervisorKind::kUnknown;
  std::array<char, 12> signature{};
  std::uint32_t base = 0;      // its first leaf
  std::uint32_t max_leaf = 0;  // its last; base + 1 where an old KVM says 0
};

[[nodiscard]] std::string_view to_string(HypervisorKind kind);

struct DetectOptions {
  // All 256 blocks, each a CPUID and so an exit. Without it the search ends at the first block that
  // is not there, but not before the third: nobody is known to leave a gap.
  bool all_blocks = false;
  // Where the hypercall page goes if the processor's vendor does not tell which instruction it has:
  // a page of the kernel's own, RAM, physically at hypercall_page_address. Without one such a Xen
  // is not used.
  base::MutableBytes hypercall_page = {};
  base::PhysAddr hypercall_page_address{};
};

// What was found, in ascending order.
class Hypervisors {
 public:
  static constexpr std::size_t kMost = 8;

  [[nodiscard]] constexpr std::span<const Hypervisor> all() const {
    return std::span(found_).first(count_);
  }
  [[nodiscard]] constexpr const Hypervisor* find(HypervisorKind kind) const {
    for (const Hypervisor& each : all()) {
      if (each.kind == kind) {
        return &each;
      }
    }
    return nullptr;
  }
  // Present when Xen is there and can be called.
  [[nodiscard]] constexpr const std::optional<xen::Token>& xen() const { return xen_; }

 private:
  friend class xen::Detection;
  std::array<Hypervisor, kMost> found_{};
  std::size_t count_ = 0;
  std::optional<xen::Token> xen_;
};

// Nothing is asked but CPUID, and with DetectOptions::hypercall_page also one MSR.
[[nodiscard]] Hypervisors detect_hypervisors(Machine& machine, const DetectOptions& options = {});

// Frequencies in kHz, where the hypervisor tells: Xen's leaf base+3 (TSC), and leaf 0x40000010 of
// KVM and VMware (TSC, local APIC timer).
struct Frequencies {
  std::optional<std::uint32_t> tsc_khz;
  std::optional<std::uint32_t> apic_timer_khz;
};
[[nodiscard]] Frequencies frequencies(Machine& machine, const Hypervisors& hypervisors);

}  // namespace pvh::guest
