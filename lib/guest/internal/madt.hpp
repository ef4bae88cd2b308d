// SPDX-License-Identifier: BSD-2-Clause
// The MADT's processors, entry by entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <pvh/base/address.hpp>
#include <pvh/guest/acpi.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest::acpi {

class MadtWalk {
 public:
  // Nothing to walk when there is no right MADT.
  MadtWalk(Machine& machine, const Rsdp& rsdp, Diagnostics& diagnostics);

  // Processors that run, or may once be plugged in. The same one may come twice.
  [[nodiscard]] std::optional<Processor> next();

 private:
  Machine* machine_;
  std::uint64_t at_ = 0;  // offsets in the table
  std::uint64_t size_ = 0;
  base::PhysAddr table_;
  bool tells_online_capable_ = false;
};

// Each processor once.
class ProcessorList {
 public:
  explicit ProcessorList(std::span<Processor> out) : out_(out) {}

  void add(const Processor& processor) {
    for (const Processor& each : out_.first(used_)) {
      if (each.apic_id == processor.apic_id) {
        return;
      }
    }
    if (used_ < out_.size()) {
      out_[used_++] = processor;
    }
    ++needed_;
  }
  [[nodiscard]] Processors result() const { return {out_.first(used_), needed_}; }

 private:
  std::span<Processor> out_;
  std::size_t used_ = 0;
  std::size_t needed_ = 0;
};

}  // namespace pvh::guest::acpi
