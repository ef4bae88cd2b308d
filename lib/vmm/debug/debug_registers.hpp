// SPDX-License-Identifier: BSD-2-Clause
// x86's four debug registers: which of them a breakpoint takes, what DR7 says of them, and which
// one DR6 says was hit. Pure. [intel/vol3 ch. 18.2]
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "../gdb/target.hpp"

namespace pvh::vmm::debug {

inline constexpr std::size_t kDebugRegisters = 4;
inline constexpr std::uint64_t kDr6SingleStep = 1 << 14;

class DebugRegisters {
 public:
  // A watchpoint that is not aligned, or longer than 8 bytes, takes several registers. Changes
  // nothing when there are not enough. A breakpoint that is there already is not set twice.
  [[nodiscard]] std::optional<gdb::BreakpointError> insert(const gdb::Breakpoint& breakpoint);
  // Whether it was there.
  bool remove(const gdb::Breakpoint& breakpoint);
  void clear() { slots_ = {}; }

  [[nodiscard]] bool any() const;
  // DR0 to DR3; 0 where none is used.
  [[nodiscard]] std::array<std::uint64_t, kDebugRegisters> addresses() const;
  [[nodiscard]] std::uint64_t dr7() const;
  // The breakpoint that DR6 names; nothing when it names none of ours.
  [[nodiscard]] std::optional<gdb::Breakpoint> hit(std::uint64_t dr6) const;
  // Whether an instruction at this address would stop.
  [[nodiscard]] bool stops_at(std::uint64_t address) const;

 private:
  struct Slot {
    gdb::Breakpoint whole;  // what was asked for
    std::uint64_t address;  // of this part of it
    std::uint64_t size;     // 1, 2, 4 or 8, and address is a multiple of it
  };
  std::array<std::optional<Slot>, kDebugRegisters> slots_;
};

}  // namespace pvh::vmm::debug
