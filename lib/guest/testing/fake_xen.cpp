// SPDX-License-Identifier: BSD-2-Clause
#include "lib/guest/testing/fake_xen.hpp"

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>
#include <pvh/abi/e820.hpp>
#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/abi/xen_event_channel.hpp>
#include <pvh/abi/xen_hvm.hpp>
#include <pvh/abi/xen_hypercall.hpp>
#include <pvh/abi/xen_memory.hpp>
#include <pvh/abi/xen_sched.hpp>
#include <pvh/abi/xen_shared_info.hpp>

namespace pvh::guest::testing {
namespace {

constexpr std::uint32_t kVersion = 4u << 16 | 17;

constexpr std::intptr_t failed(std::uint32_t number) {
  return -static_cast<std::intptr_t>(number);
}

// Arguments lie in the host's memory.
char* pointer(Word place) {
  return reinterpret_cast<char*>(place);  // NOLINT(performance-no-int-to-ptr): a call has numbers
}

template <base::Wire T>
T take(Word place) {
  std::array<std::byte, sizeof(T)> bytes;
  std::memcpy(bytes.data(), pointer(place), sizeof(T));
  return std::bit_cast<T>(bytes);
}

template <base::Wire T>
void give(Word place, const T& value) {
  const auto bytes = base::to_bytes(value);
  std::memcpy(pointer(place), bytes.data(), bytes.size());
}

struct Segment {
  std::uint16_t ar;
  std::uint32_t limit;

  [[nodiscard]] bool present() const { return (ar & 0x80) != 0; }
  [[nodiscard]] bool is_system() const { return (ar & 0x10) == 0; }
  [[nodiscard]] bool is_code() const { return (ar & 0x8) != 0; }
  // Of data: writable; of code: readable.
  [[nodiscard]] bool bit_1() const { return (ar & 0x2) != 0; }
  [[nodiscard]] unsigned dpl() const { return (ar >> 5) & 3u; }
  [[nodiscard]] bool sound() const { return ar >> 12 == 0; }
};

bool is_data_or_code(const Segment& segment) {
  return segment.sound() && segment.present() && !segment.is_system();
}

// DS and ES, which may be null.
bool is_readable_from(const Segment& segment, unsigned dpl) {
  if (segment.ar == 0) {
    return true;
  }
  return is_data_or_code(segment) && (!segment.is_code() || segment.bit_1()) &&
         segment.dpl() <= dpl;
}

}  // namespace

FakeXen::FakeXen(FakeMachine& machine, Viridian viridian)
    : cpuid_base_(viridian == Viridian::kInFront ? 0x40000100 : 0x40000000),
      msr_base_(viridian == Viridian::kInFront ? 0x40000200 : 0x40000000) {
  machine.set_vendor("GenuineIntel");
  if (viridian == Viridian::kInFront) {
    machine.add_hypervisor(0x40000000, 0x4000000a, "Microsoft Hv");
  }
  machine.add_hypervisor(cpuid_base_, cpuid_base_ + 5, "XenVMMXenVMM");
  machine.leaves[{cpuid_base_ + abi::kXenCpuidVersion, 0}].eax = kVersion;
  machine.leaves[{cpuid_base_ + abi::kXenCpuidHypercallPage, 0}] = {1, msr_base_, 0, 0};
  machine.leaves[{cpuid_base_ + abi::kXenCpuidTime, 0}].ecx = 2'400'000;
  machine.leaves[{cpuid_base_ + abi::kXenCpuidHvm, 0}] = {abi::XEN_HVM_CPUID_VCPU_ID_PRESENT, 0, 0,
                                                          0};
  machine.on_hypercall = [this](const FakeMachine::Hypercall& made) { return call(made); };
  machine.on_write_msr = [this](std::uint32_t msr, std::uint64_t value) {
    write_stubs(msr, value);
  };
}

void FakeXen::write_stubs(std::uint32_t msr, std::uint64_t value) {
  if (msr != msr_base_ || value != hypercall_page_address) {
    return;
  }
  constexpr std::byte kMovImmediateToEax{0xb8};
  std::ranges::fill(hypercall_page, std::byte{});
  for (std::size_t at = 0; at < hypercall_page.size(); at += abi::kHypercallPageStubSize) {
    hypercall_page[at] = kMovImmediateToEax;
  }
}

std::intptr_t FakeXen::call(const FakeMachine::Hypercall& call) {
  if (const auto found = forced.find({call.number, static_cast<std::uint32_t>(call.a)});
      found != forced.end()) {
    return found->second;
  }
  switch (call.number) {
    case abi::__HYPERVISOR_memory_op:
      return memory_op(call.a, call.b);
    case abi::__HYPERVISOR_xen_version:
      return call.a == abi::XENVER_version ? std::intptr_t{kVersion} : failed(abi::XEN_ENOSYS);
    case abi::__HYPERVISOR_console_io:
      return console_io(call.a, call.b, call.c);
    case abi::__HYPERVISOR_vcpu_op:
      return vcpu_op(call.a, call.b, call.c);
    case abi::__HYPERVISOR_sched_op:
      return sched_op(call.a, call.b);
    case abi::__HYPERVISOR_event_channel_op:
      return event_channel_op(call.a, call.b);
    case abi::__HYPERVISOR_hvm_op:
      return hvm_op(call.a, call.b);
    default:
      return failed(abi::XEN_ENOSYS);
  }
}

std::intptr_t FakeXen::tell_map(Word argument) {
  if (!map) {
    return failed(abi::XEN_ENOSYS);
  }
  auto asked = take<abi::xen_memory_map>(argument);
  const std::size_t count = std::min<std::size_t>(asked.nr_entries.get(), map->size());
  for (std::size_t i = 0; i < count; ++i) {
    const memory_map::RawEntry& entry = (*map)[i];
    give(asked.buffer.get() + i * sizeof(abi::e820entry),
         abi::e820entry{.addr = base::Le64(entry.addr),
                        .size = base::Le64(entry.size),
                        .type = base::Le32(entry.type)});
  }
  asked.nr_entries = base::Le32(claimed_entries.value_or(static_cast<std::uint32_t>(count)));
  give(argument, asked);
  return 0;
}

std::intptr_t FakeXen::memory_op(Word command, Word argument) {
  switch (command) {
    case abi::XENMEM_memory_map:
      return tell_map(argument);
    case abi::XENMEM_add_to_physmap: {
      const auto asked = take<abi::xen_add_to_physmap>(argument);
      if (asked.domid.get() != abi::DOMID_SELF ||
          asked.space.get() != abi::XENMAPSPACE_shared_info || asked.idx.get() != 0) {
        return failed(abi::XEN_EINVAL);
      }
      shared_info_frames = {asked.gpfn.get()};
      return 0;
    }
    case abi::XENMEM_remove_from_physmap: {
      const auto asked = take<abi::xen_remove_from_physmap>(argument);
      if (asked.domid.get() != abi::DOMID_SELF) {
        return failed(abi::XEN_EINVAL);
      }
      return shared_info_frames.erase(asked.gpfn.get()) == 1 ? 0 : failed(abi::XEN_ENOENT);
    }
    default:
      return failed(abi::XEN_ENOSYS);
  }
}

std::intptr_t FakeXen::hvm_op(Word command, Word argument) {
  if (command != abi::HVMOP_get_param && command != abi::HVMOP_set_param) {
    return failed(abi::XEN_ENOSYS);
  }
  auto asked = take<abi::xen_hvm_param>(argument);
  if (asked.domid.get() != abi::DOMID_SELF || asked.index.get() >= abi::HVM_NR_PARAMS) {
    return failed(abi::XEN_EINVAL);
  }
  std::uint64_t& param = params[asked.index.get()];
  if (command == abi::HVMOP_get_param) {
    asked.value = base::Le64(param);
    give(argument, asked);
    return 0;
  }
  if (asked.index.get() == abi::HVM_PARAM_CALLBACK_IRQ) {
    width_of_shared_info = 64;
  }
  param = asked.value.get();
  return 0;
}

std::intptr_t FakeXen::sched_op(Word command, Word argument) {
  if (command != abi::SCHEDOP_shutdown) {
    return failed(abi::XEN_ENOSYS);
  }
  shutdowns.push_back(take<abi::sched_shutdown>(argument).reason.get());
  return 0;
}

std::intptr_t FakeXen::event_channel_op(Word command, Word argument) {
  if (command != abi::EVTCHNOP_send) {
    return failed(abi::XEN_ENOSYS);
  }
  sent_events.push_back(take<abi::evtchn_send>(argument).port.get());
  return 0;
}

std::intptr_t FakeXen::console_io(Word command, Word size, Word text) {
  if (!is_hardware_domain) {
    return failed(abi::XEN_EPERM);
  }
  if (command != abi::CONSOLEIO_write) {
    return failed(abi::XEN_ENOSYS);
  }
  console.append(pointer(text), size);
  return 0;
}

std::intptr_t FakeXen::vcpu_op(Word command, Word number, Word argument) {
  if (number >= vcpus.size()) {
    return failed(abi::XEN_ENOENT);
  }
  Vcpu& vcpu = vcpus[number];
  switch (command) {
    case abi::VCPUOP_initialise:
      return vcpu.initialised ? failed(abi::XEN_EEXIST) : initialise(vcpu, argument);
    case abi::VCPUOP_up:
      if (!vcpu.initialised) {
        return failed(abi::XEN_EINVAL);
      }
      vcpu.up = true;
      return 0;
    case abi::VCPUOP_down:
      vcpu.up = false;
      return 0;
    case abi::VCPUOP_is_up:
      return vcpu.up ? 1 : 0;
    case abi::VCPUOP_register_vcpu_info: {
      const auto asked = take<abi::vcpu_register_vcpu_info>(argument);
      if (vcpu.info || asked.offset.get() > base::kPageSize.value() - abi::kVcpuInfoSize) {
        return failed(abi::XEN_EINVAL);
      }
      vcpu.info = asked.mfn.get() * base::kPageSize.value() + asked.offset.get();
      return 0;
    }
    default:
      return failed(abi::XEN_ENOSYS);
  }
}

std::intptr_t FakeXen::initialise(Vcpu& vcpu, Word argument) {
  const auto keep = [&](auto& place, const auto& context) {
    const std::intptr_t answer = check(context);
    if (answer == 0) {
      place = context;
      vcpu.initialised = true;
    }
    return answer;
  };
  const auto mode = take<base::Le32>(argument).get();
  if (mode == abi::VCPU_HVM_MODE_64B) {
    return keep(vcpu.context_64, take<abi::vcpu_hvm_context_64>(argument));
  }
  if (mode == abi::VCPU_HVM_MODE_32B) {
    return keep(vcpu.context_32, take<abi::vcpu_hvm_context_32>(argument));
  }
  return failed(abi::XEN_EINVAL);
}

std::intptr_t FakeXen::check(const abi::vcpu_hvm_context_64& context) {
  constexpr std::uint64_t kPaging = std::uint64_t{1} << 31;   // CR0.PG
  constexpr std::uint64_t kPae = std::uint64_t{1} << 5;       // CR4.PAE
  constexpr std::uint64_t kLongMode = std::uint64_t{1} << 8;  // EFER.LME
  const std::uint64_t high = context.regs.rip.get() >> 47;
  const bool canonical = high == 0 || high == 0x1ffff;
  const bool good = context.mode.get() == abi::VCPU_HVM_MODE_64B && context.pad.get() == 0 &&
                    canonical && (context.regs.cr0.get() & kPaging) != 0 &&
                    (context.regs.cr4.get() & kPae) != 0 &&
                    (context.regs.efer.get() & kLongMode) != 0;
  return good ? 0 : failed(abi::XEN_EINVAL);
}

std::intptr_t FakeXen::check(const abi::vcpu_hvm_context_32& context) {
  const abi::vcpu_hvm_x86_32& regs = context.regs;
  constexpr std::uint32_t kPages = 1u << 11;  // G
  constexpr std::uint32_t kBusyTss = 0xb;
  constexpr std::uint16_t kBusy = 0x2;
  const Segment cs{regs.cs_ar.get(), regs.cs_limit.get()};
  const Segment ss{regs.ss_ar.get(), regs.ss_limit.get()};
  const Segment ds{regs.ds_ar.get(), regs.ds_limit.get()};
  const Segment es{regs.es_ar.get(), regs.es_limit.get()};
  const Segment tr{regs.tr_ar.get(), regs.tr_limit.get()};
  const bool pads = context.pad.get() == 0 && regs.pad1.get() == 0 &&
                    std::ranges::all_of(regs.pad2, [](base::Le16 pad) { return pad.get() == 0; });
  const std::uint32_t limit = (cs.ar & kPages) != 0 ? (cs.limit << 12 | 0xfff) : cs.limit;
  const bool good =
      context.mode.get() == abi::VCPU_HVM_MODE_32B && pads && is_data_or_code(cs) && cs.is_code() &&
      regs.eip.get() <= limit && is_data_or_code(ss) && !ss.is_code() && ss.bit_1() &&
      ss.dpl() == cs.dpl() && is_readable_from(ds, cs.dpl()) && is_readable_from(es, cs.dpl()) &&
      tr.sound() && tr.present() && tr.is_system() && ((tr.ar | kBusy) & 0xf) == kBusyTss;
  return good ? 0 : failed(abi::XEN_EINVAL);
}

}  // namespace pvh::guest::testing
