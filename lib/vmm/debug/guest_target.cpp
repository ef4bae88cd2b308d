// SPDX-License-Identifier: BSD-2-Clause
#include "guest_target.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace pvh::vmm::debug {
namespace {

using gdb::Motion;
using gdb::Stop;
using gdb::StopReason;

constexpr std::byte kInt3{0xcc};
constexpr std::uint32_t kDebugException = 1;  // #DB; the other is #BP

// Whether it would be found again by going on: the instruction at a breakpoint has not run yet.
bool comes_again(StopReason reason) {
  return reason == StopReason::kSoftwareBreakpoint || reason == StopReason::kHardwareBreakpoint;
}

StopReason reason_of(gdb::BreakpointKind kind) {
  switch (kind) {
    case gdb::BreakpointKind::kSoftware:
      return StopReason::kSoftwareBreakpoint;
    case gdb::BreakpointKind::kHardware:
      return StopReason::kHardwareBreakpoint;
    case gdb::BreakpointKind::kWrite:
      return StopReason::kWrite;
    case gdb::BreakpointKind::kAccess:
      return StopReason::kAccess;
  }
  return StopReason::kHardwareBreakpoint;
}

std::string_view name_of_state(std::uint32_t state) {
  switch (state) {
    case KVM_MP_STATE_RUNNABLE:
      return "running";
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
    case KVM_MP_STATE_SIPI_RECEIVED:
      return "not started";
    case KVM_MP_STATE_HALTED:
      return "halted";
    default:
      return "state unknown";
  }
}

std::string_view name_of_mode(const kvm_sregs& sregs) {
  constexpr std::uint64_t kProtected = 1 << 0;    // CR0.PE
  constexpr std::uint64_t kLongActive = 1 << 10;  // EFER.LMA
  if ((sregs.cr0 & kProtected) == 0) {
    return "real mode";
  }
  if ((sregs.efer & kLongActive) != 0 && sregs.cs.l != 0) {
    return "64-bit";
  }
  return sregs.cs.db != 0 ? "32-bit" : "16-bit";
}

template <typename T>
bool differ(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) != 0;
}

}  // namespace

// ---- memory

std::optional<base::PhysAddr> GuestTarget::translate(std::size_t vcpu, std::uint64_t linear) const {
  std::array<std::byte, 1> probe{};
  const auto place = parts_.vcpus[vcpu].translate(linear);
  if (place && place->valid != 0) {
    const base::PhysAddr address(place->physical_address);
    if (parts_.memory.read(address, probe)) {
      return address;
    }
  }
  for (const LinkedRange& range : parts_.link_map) {
    const std::uint64_t offset = linear - range.linear;
    if (linear >= range.linear && offset < range.physical.size().value()) {
      return range.physical.first().checked_add(base::ByteSize(offset));
    }
  }
  return std::nullopt;
}

// Page by page, as far as there is memory.
std::vector<GuestTarget::Piece> GuestTarget::pieces(std::size_t vcpu, std::uint64_t linear,
                                                    std::size_t size) const {
  std::vector<Piece> result;
  while (size != 0) {
    const auto address = translate(vcpu, linear);
    if (!address) {
      break;
    }
    const std::uint64_t in_page = base::kPageSize.value() - linear % base::kPageSize.value();
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(size, in_page));
    result.push_back({*address, part});
    linear += part;  // past the last address comes 0: translated like any other
    size -= part;
  }
  return result;
}

std::size_t GuestTarget::read_memory(gdb::Thread thread, std::uint64_t address,
                                     base::MutableBytes out) {
  std::size_t done = 0;
  for (const Piece& piece : pieces(thread, address, out.size())) {
    const auto part = out.subspan(done, piece.size);
    if (!parts_.memory.read(piece.address, part)) {
      break;
    }
    for (auto it = software_.lower_bound(piece.address); it != software_.end(); ++it) {
      const auto offset = it->first.offset_from(piece.address);
      if (!offset || offset->value() >= piece.size) {
        break;
      }
      part[static_cast<std::size_t>(offset->value())] = it->second.original;
    }
    done += piece.size;
  }
  return done;
}

bool GuestTarget::write_memory(gdb::Thread thread, std::uint64_t address, base::Bytes in) {
  const auto places = pieces(thread, address, in.size());
  std::size_t total = 0;
  for (const Piece& piece : places) {
    total += piece.size;
  }
  if (total != in.size()) {
    return false;
  }
  for (const Piece& piece : places) {
    std::vector<std::byte> part(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(piece.size));
    in = in.subspan(piece.size);
    for (auto it = software_.lower_bound(piece.address); it != software_.end(); ++it) {
      const auto offset = it->first.offset_from(piece.address);
      if (!offset || offset->value() >= piece.size) {
        break;
      }
      // Beneath the int3.
      it->second.original = std::exchange(part[static_cast<std::size_t>(offset->value())], kInt3);
    }
    if (!parts_.memory.write(piece.address, part)) {
      return false;
    }
  }
  return true;
}

// ---- registers

std::string GuestTarget::describe(gdb::Thread thread) {
  const auto state = parts_.vcpus[thread].get_mp_state();
  const auto sregs = parts_.vcpus[thread].get_sregs();
  return fmt::format("vCPU {}, {}, {}", thread,
                     state ? name_of_state(state->mp_state) : "state unknown",
                     sregs ? name_of_mode(*sregs) : "mode unknown");
}

std::optional<VcpuRegisters> GuestTarget::registers_of(gdb::Thread thread) const {
  const kvm::Vcpu& vcpu = parts_.vcpus[thread];
  const auto regs = vcpu.get_regs();
  const auto sregs = vcpu.get_sregs();
  const auto fpu = vcpu.get_fpu();
  if (!regs || !sregs || !fpu) {
    return std::nullopt;
  }
  return VcpuRegisters{*regs, *sregs, *fpu};
}

std::optional<std::vector<std::byte>> GuestTarget::read_registers(gdb::Thread thread) {
  const auto registers = registers_of(thread);
  if (!registers) {
    return std::nullopt;
  }
  const auto bytes = to_gdb(*registers);
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

bool GuestTarget::write_registers(gdb::Thread thread, base::Bytes registers) {
  const auto before = registers_of(thread);
  if (!before) {
    return false;
  }
  const VcpuRegisters after = from_gdb(*before, registers);
  kvm::Vcpu& vcpu = parts_.vcpus[thread];
  // Only what changed: KVM drops an exception that waits when the general registers are set.
  return (!differ(before->regs, after.regs) || vcpu.set_regs(after.regs)) &&
         (!differ(before->sregs, after.sregs) || vcpu.set_sregs(after.sregs)) &&
         (!differ(before->fpu, after.fpu) || vcpu.set_fpu(after.fpu));
}

std::optional<std::uint64_t> GuestTarget::linear_pc(std::size_t vcpu) const {
  const auto regs = parts_.vcpus[vcpu].get_regs();
  const auto sregs = parts_.vcpus[vcpu].get_sregs();
  if (!regs || !sregs) {
    return std::nullopt;
  }
  return sregs->cs.base + regs->rip;
}

// ---- breakpoints

std::optional<gdb::BreakpointError> GuestTarget::insert(gdb::Thread thread,
                                                        const gdb::Breakpoint& breakpoint) {
  if (breakpoint.kind != gdb::BreakpointKind::kSoftware) {
    if (const auto error = hardware_.insert(breakpoint)) {
      return error;
    }
    if (!set_debug(thread, 0)) {
      hardware_.remove(breakpoint);
      return gdb::BreakpointError::kHost;
    }
    return std::nullopt;
  }
  const auto address = translate(thread, breakpoint.address);
  std::array<std::byte, 1> original{};
  if (!address || !parts_.memory.read(*address, original)) {
    return gdb::BreakpointError::kNotMapped;
  }
  const auto [place, added] = software_.try_emplace(*address, SoftwareBreakpoint{original[0], {}});
  place->second.linear.insert(breakpoint.address);
  if (added) {
    put(*address, kInt3);
  }
  return std::nullopt;
}

bool GuestTarget::remove(const gdb::Breakpoint& breakpoint) {
  return breakpoint.kind == gdb::BreakpointKind::kSoftware ? remove_software(breakpoint.address)
                                                           : hardware_.remove(breakpoint);
}

bool GuestTarget::remove_software(std::uint64_t linear) {
  const auto place = std::ranges::find_if(
      software_, [&](const auto& entry) { return entry.second.linear.contains(linear); });
  if (place == software_.end()) {
    return false;
  }
  place->second.linear.erase(linear);
  if (place->second.linear.empty()) {
    put_back(place->first, place->second.original);
    software_.erase(place);
  }
  return true;
}

void GuestTarget::put(base::PhysAddr address, std::byte value) {
  // It was read there: the guest's memory does not go away.
  [[maybe_unused]] const auto done = parts_.memory.write(address, std::array{value});
}

// Unless the guest has written something else there since.
void GuestTarget::put_back(base::PhysAddr address, std::byte original) {
  std::array<std::byte, 1> now{};
  if (parts_.memory.read(address, now) && now[0] == kInt3) {
    put(address, original);
  }
}

std::optional<base::PhysAddr> GuestTarget::software_at(std::size_t vcpu,
                                                       std::uint64_t linear) const {
  const auto address = translate(vcpu, linear);
  return address && software_.contains(*address) ? address : std::nullopt;
}

// ---- what happened

std::optional<Stop> GuestTarget::take_events() {
  if (ready_) {
    return std::exchange(ready_, std::nullopt);
  }
  while (const auto event = parts_.gate.next_event()) {
    if (auto stop = take_event(*event)) {
      return stop;
    }
  }
  return std::exchange(ready_, std::nullopt);
}

std::optional<Stop> GuestTarget::take_event(const VcpuGate::Event& event) {
  VcpuState& state = vcpus_[event.vcpu];
  const bool stepped_over = step_over_ && step_over_->vcpu == event.vcpu;
  const auto stop = judge(event);
  end_step_over();
  if (stop &&
      !(stepped_over && stop->reason == StopReason::kStepped && state.motion == Motion::kGo)) {
    return stop_all(*stop);
  }
  if (stepped_over) {
    state.reported.reset();
    go_on();
  } else {
    parts_.gate.release(event.vcpu);
  }
  return std::nullopt;
}

std::optional<Stop> GuestTarget::judge(const VcpuGate::Event& event) {
  if (event.what == VcpuGate::What::kDebug) {
    return judge_debug(event.vcpu, event.debug);
  }
  const bool crashed = event.what == VcpuGate::What::kCrashed;
  return Stop{crashed ? StopReason::kCrashed : StopReason::kCannotRun, event.vcpu};
}

std::optional<Stop> GuestTarget::judge_debug(std::size_t vcpu, const kvm::DebugExit& exit) {
  const bool stepping_over = step_over_ && step_over_->vcpu == vcpu;
  if (exit.exception == kDebugException) {
    if (const auto hit = hardware_.hit(exit.dr6)) {
      return Stop{reason_of(hit->kind), vcpu, hit->address};
    }
    const bool stepping = vcpus_[vcpu].motion == Motion::kStep || stepping_over;
    if (stepping && (exit.dr6 & kDr6SingleStep) != 0) {
      return Stop{StopReason::kStepped, vcpu};
    }
  } else if (!stepping_over && software_at(vcpu, exit.pc)) {
    return Stop{StopReason::kSoftwareBreakpoint, vcpu};
  }
  give_back(vcpu, exit);
  return std::nullopt;
}

// The exception was the guest's own.
void GuestTarget::give_back(std::size_t vcpu, const kvm::DebugExit& exit) {
  std::uint32_t inject = KVM_GUESTDBG_INJECT_BP;
  if (exit.exception == kDebugException) {
    inject = KVM_GUESTDBG_INJECT_DB;
    constexpr std::uint64_t kCauses = 0xe00f;  // BT, BS, BD, B3 to B0
    if (auto registers = parts_.vcpus[vcpu].get_debugregs()) {
      registers->dr6 |= exit.dr6 & kCauses;
      [[maybe_unused]] const auto done = parts_.vcpus[vcpu].set_debugregs(*registers);
    }
  }
  // KVM refuses while another exception waits, and then that one is delivered.
  [[maybe_unused]] const bool done = set_debug(vcpu, inject | step_flags(vcpus_[vcpu].motion));
}

Stop GuestTarget::stop_all(Stop first) {
  parts_.gate.hold_all();
  end_step_over();
  // What else happened until all stood: told later, or found again.
  while (const auto event = parts_.gate.next_event()) {
    const auto stop = judge(*event);
    if (stop && !comes_again(stop->reason) && stop->reason != StopReason::kStepped) {
      vcpus_[event->vcpu].undelivered = stop;
    }
  }
  for (VcpuState& state : vcpus_) {
    state.motion = Motion::kStay;
  }
  if (comes_again(first.reason)) {
    vcpus_[first.thread].reported = linear_pc(first.thread);
  }
  return first;
}

Stop GuestTarget::attach() {
  parts_.gate.keep_crashes(true);
  return stop_all({StopReason::kAttached, 0});
}

Stop GuestTarget::interrupt() {
  if (ready_) {
    return *std::exchange(ready_, std::nullopt);
  }
  const auto mover = std::ranges::find_if(
      vcpus_, [](const VcpuState& state) { return state.motion != Motion::kStay; });
  const auto thread = mover == vcpus_.end() ? 0 : static_cast<gdb::Thread>(mover - vcpus_.begin());
  return stop_all({StopReason::kInterrupted, thread});
}

// ---- going on

void GuestTarget::resume(std::span<const Motion> motions) {
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    vcpus_[i].motion = motions[i];
  }
  for (VcpuState& state : vcpus_) {
    if (state.undelivered && state.motion != Motion::kStay) {
      ready_ = std::exchange(state.undelivered, std::nullopt);
      return;
    }
  }
  go_on();
}

void GuestTarget::go_on() {
  if (start_step_over()) {
    return;
  }
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    if (vcpus_[i].motion != Motion::kStay) {
      run(i, vcpus_[i].motion);
    }
  }
}

bool GuestTarget::start_step_over() {
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    const VcpuState& state = vcpus_[i];
    if (state.motion == Motion::kStay || !state.reported || state.reported != linear_pc(i)) {
      continue;
    }
    if (const auto address = software_at(i, *state.reported)) {
      step_over_ = StepOver{i, *address};
      put_back(*address, software_.at(*address).original);
      run(i, Motion::kStep);
      return true;
    }
  }
  return false;
}

void GuestTarget::end_step_over() {
  if (step_over_) {
    put(step_over_->address, kInt3);
    step_over_.reset();
  }
}

void GuestTarget::run(std::size_t vcpu, Motion motion) {
  VcpuState& state = vcpus_[vcpu];
  if (state.reported && hardware_.stops_at(*state.reported) && state.reported == linear_pc(vcpu)) {
    constexpr std::uint64_t kResume = 1 << 16;  // RFLAGS.RF: not again at this instruction
    if (auto regs = parts_.vcpus[vcpu].get_regs()) {
      regs->rflags |= kResume;
      [[maybe_unused]] const auto done = parts_.vcpus[vcpu].set_regs(*regs);
    }
  }
  if (!step_over_) {
    state.reported.reset();
  }
  // What KVM accepted when the breakpoints were set it accepts now.
  [[maybe_unused]] const bool done = set_debug(vcpu, step_flags(motion));
  parts_.gate.release(vcpu);
}

std::uint32_t GuestTarget::step_flags(Motion motion) const {
  if (motion != Motion::kStep) {
    return 0;
  }
  // An interrupt that waits would turn every step into one to its handler.
  return KVM_GUESTDBG_SINGLESTEP | (parts_.can_block_interrupts ? KVM_GUESTDBG_BLOCKIRQ : 0);
}

bool GuestTarget::set_debug(std::size_t vcpu, std::uint32_t more) {
  kvm_guest_debug debug{};
  debug.control = KVM_GUESTDBG_ENABLE | more;
  if (!software_.empty()) {
    debug.control |= KVM_GUESTDBG_USE_SW_BP;
  }
  if (hardware_.any()) {
    debug.control |= KVM_GUESTDBG_USE_HW_BP;
    std::ranges::copy(hardware_.addresses(), std::begin(debug.arch.debugreg));
    debug.arch.debugreg[7] = hardware_.dr7();
  }
  return parts_.vcpus[vcpu].set_guest_debug(debug).has_value();
}

void GuestTarget::detach() {
  for (const auto& [address, breakpoint] : software_) {
    put_back(address, breakpoint.original);
  }
  software_.clear();
  hardware_.clear();
  parts_.gate.keep_crashes(false);
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    vcpus_[i] = {};
    [[maybe_unused]] const auto done = parts_.vcpus[i].set_guest_debug({});
  }
  parts_.gate.release_all();
}

}  // namespace pvh::vmm::debug
