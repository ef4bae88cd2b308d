// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/smp.hpp>

#ifdef __x86_64__
#include <pvh/guest/internal/arch.hpp>
#include <pvh/guest/pvh.hpp>
#include <pvh/guest/xen.hpp>

#include "internal/local_apic.hpp"
#include "internal/processor_start.hpp"

namespace pvh::guest {
namespace {

// One for all starters: they must not start at once. It stays where it is, because a processor may
// come when nobody waits any more.
constinit ProcessorStart the_start;
// On Xen a vCPU that has not answered cannot be called off; it would take the next one's start.
constinit bool lost_one = false;

// Durations in cycles of the time stamp counter, whose frequency may be unknown. Everything that
// runs this has one of 1 to 5 GHz: the waits become longer, never too short.
struct Durations {
  std::uint64_t after_init;
  std::uint64_t until_second_sipi;
  std::uint64_t until_given_up;
};

Durations durations(Boot& boot) {
  constexpr std::uint64_t kLargestKhz = 5'000'000;
  const auto told = frequencies(boot.machine(), boot.hypervisors()).tsc_khz;
  const std::uint64_t khz = told && *told != 0 ? *told : kLargestKhz;
  // 10 ms after INIT were for an APIC that was a chip of its own. A processor that only waits for
  // its turn on a busy host ignores the second SIPI; it may need seconds.
  return {.after_init = khz / 5, .until_second_sipi = khz * 10, .until_given_up = khz * 5000};
}

// Until the processor has arrived, or this many cycles.
bool wait(Machine& machine, std::uint64_t cycles) {
  const std::uint64_t begin = machine.read_tsc();
  do {
    if (the_start.state.load(std::memory_order_acquire) == kProcessorArrived) {
      return true;
    }
    machine.pause();
  } while (machine.read_tsc() - begin < cycles);
  return false;
}

// False: it will not come, or it is on its way and does not arrive.
bool call_off() {
  std::uint32_t expected = kProcessorWanted;
  return the_start.state.compare_exchange_strong(expected, kProcessorNotWanted);
}

void prepare(const arch::ControlState& control, ProcessorEntry entry, void* argument, void* stack) {
  the_start.cr3 = control.cr3;
  the_start.cr4 = control.cr4;
  the_start.stack = stack;
  the_start.entry = entry;
  the_start.argument = argument;
  the_start.state.store(kProcessorWanted, std::memory_order_release);
}

// Everything is written anew for each start: a page below 1 MiB is easily damaged.
bool place_trampoline(Machine& machine, base::PhysAddr page, const arch::ControlState& control) {
  constexpr std::uint64_t kLongModeActive = 1u << 10;  // of EFER, the processor's own
  const base::Bytes code(pvh_trampoline, pvh_trampoline_end);
  const std::size_t offset = static_cast<std::size_t>(pvh_trampoline_data - pvh_trampoline);
  auto data = base::read_at<TrampolineData>(code, offset);
  if (!data) {
    return false;
  }
  const auto low = [](std::uint64_t value) {
    return base::Le32(static_cast<std::uint32_t>(value));
  };
  const auto in_page = [&](base::Le32 at) { return low(page.value() + at.get()); };
  data->gdt_base = in_page(data->gdt_base);
  data->protected_mode_entry = in_page(data->protected_mode_entry);
  data->long_mode_entry = in_page(data->long_mode_entry);
  data->cr3 = low(arch::identity_cr3().value());
  data->efer = low(control.efer & ~kLongModeActive);
  data->cr0 = low(control.cr0);
  data->start = base::Le64(reinterpret_cast<std::uintptr_t>(&the_start));
  data->entry = base::Le64(reinterpret_cast<std::uintptr_t>(pvh_processor_entry));
  return machine.write(page, code) &&
         machine.write(base::PhysAddr(page.value() + offset), base::to_bytes(*data));
}

std::expected<void, StartError> start_by_apic(Machine& machine, LocalApic apic,
                                              const Durations& times, std::uint32_t apic_id,
                                              base::PhysAddr page) {
  const std::uint32_t vector = static_cast<std::uint32_t>(page.value() / base::kPageSize.value());
  if (!apic.send(apic_id, kApicInit)) {
    return std::unexpected(StartError::kNoLocalApic);
  }
  static_cast<void>(wait(machine, times.after_init));
  for (const std::uint64_t cycles : {times.until_second_sipi, times.until_given_up}) {
    static_cast<void>(apic.send(apic_id, kApicStartUp | vector));
    if (wait(machine, cycles)) {
      return {};
    }
  }
  if (!call_off() && wait(machine, times.until_given_up)) {
    return {};
  }
  // Back to waiting for a SIPI.
  static_cast<void>(apic.send(apic_id, kApicInit));
  return std::unexpected(StartError::kNoAnswer);
}

std::expected<void, StartError> start_by_xen(Machine& machine, const xen::Token& token,
                                             const Durations& times, std::uint32_t vcpu,
                                             const arch::ControlState& control) {
  const xen::VcpuStart start{.entry = reinterpret_cast<Word>(pvh_processor_entry),
                             .stack = reinterpret_cast<Word>(the_start.stack),
                             .argument = reinterpret_cast<Word>(&the_start),
                             .cr0 = control.cr0,
                             .cr3 = control.cr3,
                             .cr4 = control.cr4,
                             .efer = control.efer};
  if (!xen::start_vcpu(machine, token, vcpu, start)) {
    static_cast<void>(call_off());
    return std::unexpected(StartError::kXenRefused);
  }
  if (wait(machine, times.until_given_up) || (!call_off() && wait(machine, times.until_given_up))) {
    return {};
  }
  lost_one = true;
  return std::unexpected(StartError::kNoAnswer);
}

}  // namespace

std::expected<void, StartError> ProcessorStarter::start(const Processor& processor,
                                                        ProcessorEntry entry, void* argument,
                                                        void* stack) {
  Machine& machine = boot_->machine();
  if (lost_one) {
    return std::unexpected(StartError::kNoAnswer);
  }
  const arch::ControlState control = arch::control_state();
  const Durations times = durations(*boot_);
  if (boot_->xen()) {
    prepare(control, entry, argument, stack);
    return start_by_xen(machine, *boot_->xen(), times, processor.uid, control);
  }
  const auto apic = LocalApic::find(machine);
  if (!apic) {
    return std::unexpected(StartError::kNoLocalApic);
  }
  if (!trampoline_) {
    trampoline_ = boot_->allocate_low_page();
  }
  if (!trampoline_ || !place_trampoline(machine, trampoline_->first(), control)) {
    return std::unexpected(StartError::kNoLowPage);
  }
  prepare(control, entry, argument, stack);
  return start_by_apic(machine, *apic, times, processor.apic_id, trampoline_->first());
}

}  // namespace pvh::guest

void pvh_processor_start(pvh::guest::ProcessorStart* start) {
  using namespace pvh::guest;
  const ProcessorEntry entry = start->entry;
  void* const argument = start->argument;
  arch::load_descriptors();
  start->state.store(kProcessorArrived, std::memory_order_release);
  entry(argument);
  halt_forever();
}

#else

namespace pvh::guest {

std::expected<void, StartError> ProcessorStarter::start(const Processor& /*processor*/,
                                                        ProcessorEntry /*entry*/,
                                                        void* /*argument*/, void* /*stack*/) {
  return std::unexpected(StartError::kUnsupported);
}

}  // namespace pvh::guest

#endif
