// SPDX-License-Identifier: BSD-2-Clause
#include "debug_registers.hpp"

#include <algorithm>
#include <ranges>

namespace pvh::vmm::debug {
namespace {

using gdb::BreakpointKind;

struct Part {
  std::uint64_t address;
  std::uint64_t size;
};

// The aligned pieces of 1, 2, 4 and 8 bytes that [address, address + size) is made of; at most one
// more than there are registers for.
std::vector<Part> parts_of(std::uint64_t address, std::uint64_t size) {
  std::vector<Part> parts;
  while (size != 0 && parts.size() <= kDebugRegisters) {
    std::uint64_t part = 8;
    while (part > size || address % part != 0) {
      part /= 2;
    }
    parts.push_back({address, part});
    address += part;
    size -= part;
  }
  return parts;
}

// R/W and LEN of one register, as they stand in DR7.
std::uint64_t condition(BreakpointKind kind, std::uint64_t size) {
  std::uint64_t when = 0;
  if (kind == BreakpointKind::kWrite) {
    when = 1;
  } else if (kind == BreakpointKind::kAccess) {
    when = 3;
  }
  const std::uint64_t length = size == 8 ? 2 : size - 1;
  return when | length << 2;
}

}  // namespace

std::optional<gdb::BreakpointError> DebugRegisters::insert(const gdb::Breakpoint& breakpoint) {
  if (breakpoint.size == 0 || breakpoint.address + (breakpoint.size - 1) < breakpoint.address) {
    return gdb::BreakpointError::kBadSize;
  }
  const auto is_it = [&](const auto& slot) { return slot && slot->whole == breakpoint; };
  if (std::ranges::any_of(slots_, is_it)) {
    return std::nullopt;
  }
  const auto parts = parts_of(breakpoint.address, breakpoint.size);
  const auto is_free = [](const auto& slot) { return !slot; };
  if (parts.size() > static_cast<std::size_t>(std::ranges::count_if(slots_, is_free))) {
    return gdb::BreakpointError::kTooMany;
  }
  for (const Part& part : parts) {
    *std::ranges::find_if(slots_, is_free) = Slot{breakpoint, part.address, part.size};
  }
  return std::nullopt;
}

bool DebugRegisters::remove(const gdb::Breakpoint& breakpoint) {
  bool found = false;
  for (auto& slot : slots_) {
    if (slot && slot->whole == breakpoint) {
      slot.reset();
      found = true;
    }
  }
  return found;
}

bool DebugRegisters::any() const {
  return std::ranges::any_of(slots_, [](const auto& slot) { return slot.has_value(); });
}

std::array<std::uint64_t, kDebugRegisters> DebugRegisters::addresses() const {
  std::array<std::uint64_t, kDebugRegisters> addresses{};
  for (std::size_t i = 0; i < kDebugRegisters; ++i) {
    addresses[i] = slots_[i] ? slots_[i]->address : 0;
  }
  return addresses;
}

std::uint64_t DebugRegisters::dr7() const {
  constexpr std::uint64_t kAlwaysSet = 1 << 10;
  constexpr std::uint64_t kExact = 1 << 9;
  std::uint64_t value = kAlwaysSet | (any() ? kExact : 0);
  for (std::size_t i = 0; i < kDebugRegisters; ++i) {
    if (slots_[i]) {
      value |= std::uint64_t{2} << (2 * i);  // "global": on for all tasks
      value |= condition(slots_[i]->whole.kind, slots_[i]->size) << (16 + 4 * i);
    }
  }
  return value;
}

std::optional<gdb::Breakpoint> DebugRegisters::hit(std::uint64_t dr6) const {
  for (std::size_t i = 0; i < kDebugRegisters; ++i) {
    if (slots_[i] && (dr6 & std::uint64_t{1} << i) != 0) {
      return slots_[i]->whole;
    }
  }
  return std::nullopt;
}

bool DebugRegisters::stops_at(std::uint64_t address) const {
  return std::ranges::any_of(slots_, [&](const auto& slot) {
    return slot && slot->whole.kind == BreakpointKind::kHardware && slot->address == address;
  });
}

}  // namespace pvh::vmm::debug
