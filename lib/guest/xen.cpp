// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/abi/e820.hpp>
#include <pvh/abi/xen_event_channel.hpp>
#include <pvh/abi/xen_hvm.hpp>
#include <pvh/abi/xen_memory.hpp>
#include <pvh/abi/xen_sched.hpp>

#include "internal/xen_call.hpp"

namespace pvh::guest::xen {

Result<std::uint32_t> memory_map(Machine& machine, const Token& token, base::MutableBytes buffer) {
  const std::size_t room = buffer.size() / sizeof(abi::e820entry);
  const auto capacity = static_cast<std::uint32_t>(std::min<std::uint64_t>(room, UINT32_MAX));
  ByMode<abi::xen_memory_map, abi::compat_memory_map> argument{};
  argument.nr_entries = base::Le32(capacity);
  argument.buffer = LeWord(linear(buffer.data()));
  const auto answer = done(machine.hypercall(token, abi::__HYPERVISOR_memory_op,
                                             abi::XENMEM_memory_map, linear(&argument)));
  if (!answer) {
    return std::unexpected(answer.error());
  }
  const std::uint32_t stored = argument.nr_entries.get();
  if (stored > capacity) {
    return std::unexpected(Error::kBadAnswer);
  }
  return stored;
}

void shutdown(Machine& machine, const Token& token, ShutdownReason reason) {
  const abi::sched_shutdown argument{.reason = base::Le32(static_cast<std::uint32_t>(reason))};
  static_cast<void>(machine.hypercall(token, abi::__HYPERVISOR_sched_op, abi::SCHEDOP_shutdown,
                                      linear(&argument)));
}

Result<void> console_write(Machine& machine, const Token& token, std::string_view text) {
  return done(machine.hypercall(token, abi::__HYPERVISOR_console_io, abi::CONSOLEIO_write,
                                text.size(), linear(text.data())));
}

Result<std::uint64_t> get_param(Machine& machine, const Token& token, std::uint32_t index) {
  abi::xen_hvm_param argument{
      .domid = base::Le16(abi::DOMID_SELF), .pad = {}, .index = base::Le32(index), .value = {}};
  const auto answer = done(
      machine.hypercall(token, abi::__HYPERVISOR_hvm_op, abi::HVMOP_get_param, linear(&argument)));
  if (!answer) {
    return std::unexpected(answer.error());
  }
  return argument.value.get();
}

Result<void> set_param(Machine& machine, const Token& token, std::uint32_t index,
                       std::uint64_t value) {
  const abi::xen_hvm_param argument{.domid = base::Le16(abi::DOMID_SELF),
                                    .pad = {},
                                    .index = base::Le32(index),
                                    .value = base::Le64(value)};
  return done(
      machine.hypercall(token, abi::__HYPERVISOR_hvm_op, abi::HVMOP_set_param, linear(&argument)));
}

Result<void> send_event(Machine& machine, const Token& token, std::uint32_t port) {
  const abi::evtchn_send argument{.port = base::Le32(port)};
  return done(machine.hypercall(token, abi::__HYPERVISOR_event_channel_op, abi::EVTCHNOP_send,
                                linear(&argument)));
}

SharedPages shared_pages(Machine& machine, const Token& token) {
  // 0 and all ones are how a toolstack says "none"; a page beyond the address space is none either.
  const auto page = [&](std::uint32_t index) -> std::optional<base::PhysAddr> {
    const auto frame = get_param(machine, token, index);
    if (!frame || *frame == 0 || *frame > UINT64_MAX / base::kPageSize.value()) {
      return std::nullopt;
    }
    return base::PhysAddr(*frame * base::kPageSize.value());
  };
  SharedPages pages{.console = page(abi::HVM_PARAM_CONSOLE_PFN),
                    .xenstore = page(abi::HVM_PARAM_STORE_PFN)};
  if (pages.console) {
    const auto port = get_param(machine, token, abi::HVM_PARAM_CONSOLE_EVTCHN);
    pages.console_port = port ? static_cast<std::uint32_t>(*port) : 0;
  }
  return pages;
}

Result<void> map_shared_info(Machine& machine, const Token& token, base::PhysAddr page) {
  // Line 1, which nobody uses: anything but 0 says that the domain knows of Xen.
  constexpr std::uint64_t kEnlightened = 1;
  const auto frame = frame_of(page);
  if (!frame) {
    return std::unexpected(Error::kInvalid);
  }
  ByMode<abi::xen_add_to_physmap, abi::compat_add_to_physmap> argument{};
  argument.domid = base::Le16(abi::DOMID_SELF);
  argument.space = base::Le32(abi::XENMAPSPACE_shared_info);
  argument.gpfn = LeWord(*frame);
  const auto added = done(machine.hypercall(token, abi::__HYPERVISOR_memory_op,
                                            abi::XENMEM_add_to_physmap, linear(&argument)));
  if (!added) {
    return added;
  }
  const auto latched = set_param(machine, token, abi::HVM_PARAM_CALLBACK_IRQ, kEnlightened);
  if (!latched) {
    // A page of unknown layout is of no use. Should it stay, nothing is lost but the page.
    [[maybe_unused]] const auto removed = unmap_shared_info(machine, token, page);
  }
  return latched;
}

Result<void> unmap_shared_info(Machine& machine, const Token& token, base::PhysAddr page) {
  const auto frame = frame_of(page);
  if (!frame) {
    return std::unexpected(Error::kInvalid);
  }
  ByMode<abi::xen_remove_from_physmap, abi::compat_remove_from_physmap> argument{};
  argument.domid = base::Le16(abi::DOMID_SELF);
  argument.gpfn = LeWord(*frame);
  return done(machine.hypercall(token, abi::__HYPERVISOR_memory_op, abi::XENMEM_remove_from_physmap,
                                linear(&argument)));
}

Result<std::uint32_t> version(Machine& machine, const Token& token) {
  return value_of(machine.hypercall(token, abi::__HYPERVISOR_xen_version, abi::XENVER_version, 0),
                  INT32_MAX);
}

}  // namespace pvh::guest::xen
