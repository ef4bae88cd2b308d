// SPDX-License-Identifier: BSD-2-Clause
// The proof that Xen runs this kernel. Every hypercall takes one and only detect_hypervisors()
// hands them out, so that a hypercall anywhere else does not compile.
#pragma once

#include <cstdint>

namespace pvh::guest::xen {

// How a hypercall enters Xen.
enum class Transport : std::uint8_t {
  kVmcall,         // Intel, Centaur, Zhaoxin
  kVmmcall,        // AMD, Hygon
  kHypercallPage,  // any other processor: 128 stubs of 32 bytes that Xen wrote
};

class Detection;  // how tokens are made; private to this library

class Token {
 public:
  // The first of Xen's CPUID leaves: 0x40000000, or higher behind another hypervisor's.
  [[nodiscard]] constexpr std::uint32_t cpuid_base() const { return cpuid_base_; }
  [[nodiscard]] constexpr Transport transport() const { return transport_; }
  // Linear address of the hypercall page; 0 with the other transports.
  [[nodiscard]] constexpr std::uintptr_t page() const { return page_; }

 private:
  friend class Detection;
  constexpr Token(std::uint32_t cpuid_base, Transport transport, std::uintptr_t page)
      : page_(page), cpuid_base_(cpuid_base), transport_(transport) {}

  std::uintptr_t page_;
  std::uint32_t cpuid_base_;
  Transport transport_;
};

}  // namespace pvh::guest::xen
