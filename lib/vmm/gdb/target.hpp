// SPDX-License-Identifier: BSD-2-Clause
// What gdb's server needs of a machine: threads (one a vCPU, counted from 0), their registers,
// their view of memory, breakpoints, and a way to stop all and to let some go. All-stop: whatever
// is not resume() or interrupt() is called only while every thread stands still.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <pvh/base/bytes.hpp>

namespace pvh::vmm::gdb {

using Thread = std::size_t;

// The protocol's own numbers. There is no watchpoint for reads alone on x86 (type 3).
enum class BreakpointKind : std::uint8_t { kSoftware = 0, kHardware = 1, kWrite = 2, kAccess = 4 };

struct Breakpoint {
  BreakpointKind kind;
  std::uint64_t address;  // linear
  std::uint64_t size;     // of what is watched; 1 for the kinds that stop at an instruction

  friend bool operator==(const Breakpoint&, const Breakpoint&) = default;
};

enum class BreakpointError : std::uint8_t {
  kNotMapped,  // no memory there to put an int3 into
  kTooMany,    // the processor has four debug registers
  kBadSize,
  kHost  // KVM refused
};

enum class StopReason : std::uint8_t {
  kAttached,  // nothing happened; the debugger came
  kInterrupted,
  kStepped,
  kSoftwareBreakpoint,
  kHardwareBreakpoint,
  kWrite,
  kAccess,
  kCrashed,   // a triple fault; going on ends the machine
  kCannotRun  // KVM gave up; going on ends the machine
};

struct Stop {
  StopReason reason;
  Thread thread;
  std::uint64_t address = 0;  // kWrite and kAccess: of the watchpoint
};

enum class Motion : std::uint8_t { kStay, kStep, kGo };

class Target {
 public:
  virtual ~Target() = default;

  [[nodiscard]] virtual Thread threads() const = 0;
  [[nodiscard]] virtual std::string describe(Thread thread) = 0;

  // In the order and the sizes of registers.hpp, all of them.
  [[nodiscard]] virtual std::optional<std::vector<std::byte>> read_registers(Thread thread) = 0;
  [[nodiscard]] virtual bool write_registers(Thread thread, base::Bytes registers) = 0;

  // As `thread` sees it, without our breakpoints. How many bytes from the start could be read.
  [[nodiscard]] virtual std::size_t read_memory(Thread thread, std::uint64_t address,
                                                base::MutableBytes out) = 0;
  [[nodiscard]] virtual bool write_memory(Thread thread, std::uint64_t address, base::Bytes in) = 0;

  [[nodiscard]] virtual std::optional<BreakpointError> insert(Thread thread,
                                                              const Breakpoint& breakpoint) = 0;
  // Whether it was there.
  virtual bool remove(const Breakpoint& breakpoint) = 0;

  // One motion for each thread, not all of them kStay.
  virtual void resume(std::span<const Motion> motions) = 0;
  // Stops what runs. The reason may be another when something else stopped it first.
  [[nodiscard]] virtual Stop interrupt() = 0;
  // Removes all breakpoints and lets everything run.
  virtual void detach() = 0;
  // Ends the machine.
  virtual void kill() = 0;

 protected:
  Target() = default;
  Target(const Target&) = default;
  Target& operator=(const Target&) = default;
};

}  // namespace pvh::vmm::gdb
