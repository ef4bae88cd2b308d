// SPDX-License-Identifier: BSD-2-Clause
// Xen's calls, as far as booting needs them. All take the token that detection hands out; each is
// one hypercall unless it says otherwise. Source: xen/include/public in xen.git; numbers and
// layouts are in pvh/abi/xen_*.hpp. Arguments in memory go by linear address and 32-bit callers use
// the compat layouts, so the kernel must be mapped where its pointers say (it is).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest::xen {

// Xen's error numbers, which are Linux's, as the positive numbers. Others come as they are.
enum class Error : std::uint16_t {
  kPermission = 1,       // EPERM
  kNoEntry = 2,          // ENOENT
  kFault = 14,           // EFAULT: it could not follow an address
  kBusy = 16,            // EBUSY
  kExists = 17,          // EEXIST
  kInvalid = 22,         // EINVAL
  kNotImplemented = 38,  // ENOSYS
  kBadAnswer = 0xffff,   // an answer that the interface does not know, such as a count too high
};

template <typename T>
using Result = std::expected<T, Error>;

// XENMEM_memory_map: fills `buffer` with packed 20-byte entries (memory_map::Form::kPacked) and
// says how many; an answer above the buffer's capacity is kBadAnswer. Xen cuts the map off
// silently: a count equal to the capacity, buffer.size() / 20, may be all of it or not.
[[nodiscard]] Result<std::uint32_t> memory_map(Machine& machine, const Token& token,
                                               base::MutableBytes buffer);

enum class ShutdownReason : std::uint32_t { kPowerOff = 0, kReboot = 1, kCrash = 3 };

// SCHEDOP_shutdown. Returns only when Xen refuses.
void shutdown(Machine& machine, const Token& token, ShutdownReason reason);

// CONSOLEIO_write: the hardware domain's way to Xen's console; other domains get kPermission unless
// Xen was built for debugging.
[[nodiscard]] Result<void> console_write(Machine& machine, const Token& token,
                                         std::string_view text);

// HVMOP_get_param and HVMOP_set_param of this domain; HVM_PARAM_* are in pvh/abi/xen_hvm.hpp.
[[nodiscard]] Result<std::uint64_t> get_param(Machine& machine, const Token& token,
                                              std::uint32_t index);
[[nodiscard]] Result<void> set_param(Machine& machine, const Token& token, std::uint32_t index,
                                     std::uint64_t value);

// EVTCHNOP_send: tells the other end of the event channel `port`.
[[nodiscard]] Result<void> send_event(Machine& machine, const Token& token, std::uint32_t port);

// The pages that a toolstack shares with this domain: the console's and xenstore's ring. Whatever
// is absent (a dom0 has neither) is nothing. Two to four hypercalls.
struct SharedPages {
  std::optional<base::PhysAddr> console;
  std::uint32_t console_port = 0;  // event channel
  std::optional<base::PhysAddr> xenstore;
};
[[nodiscard]] SharedPages shared_pages(Machine& machine, const Token& token);

// Puts shared_info at `page`, which is page-aligned: best a page that is in no entry of the memory
// map (find_shared_info_page in memory.hpp); RAM works but costs Xen a superpage. Then latches its
// layout to the mode of the caller by HVM_PARAM_CALLBACK_IRQ, which also marks the domain
// "enlightened". unmap_shared_info takes it away again (before a kexec).
[[nodiscard]] Result<void> map_shared_info(Machine& machine, const Token& token,
                                           base::PhysAddr page);
[[nodiscard]] Result<void> unmap_shared_info(Machine& machine, const Token& token,
                                             base::PhysAddr page);

// The number of this virtual processor: Xen's leaf base+4, where it tells.
[[nodiscard]] std::optional<std::uint32_t> vcpu_id(Machine& machine, const Token& token);

// VCPUOP_register_vcpu_info: 64 bytes that must not cross a page. Once for each processor, needed
// above 31.
[[nodiscard]] Result<void> register_vcpu_info(Machine& machine, const Token& token,
                                              std::uint32_t vcpu, base::PhysAddr place);

// VCPUOP_is_up. kNoEntry: there is no such processor, which is how to count them.
[[nodiscard]] Result<bool> vcpu_is_up(Machine& machine, const Token& token, std::uint32_t vcpu);

// A processor started right in the caller's mode, without a trampoline: flat segments, the given
// page tables (64-bit) or none (32-bit).
struct VcpuStart {
  Word entry;                                         // linear address
  Word stack;                                         // linear address; as it is, nothing is pushed
  Word argument;                                      // in RDI (64-bit) or EAX (32-bit)
  std::uint64_t cr0 = 0, cr3 = 0, cr4 = 0, efer = 0;  // as the caller's own, in 64-bit mode
};
// VCPUOP_initialise and VCPUOP_up: two hypercalls. kExists: it was initialised before.
[[nodiscard]] Result<void> start_vcpu(Machine& machine, const Token& token, std::uint32_t vcpu,
                                      const VcpuStart& start);

// XENVER_version: major << 16 | minor. It is in CPUID too; this proves that hypercalls work.
[[nodiscard]] Result<std::uint32_t> version(Machine& machine, const Token& token);

}  // namespace pvh::guest::xen
