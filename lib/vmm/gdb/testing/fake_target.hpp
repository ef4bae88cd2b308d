// SPDX-License-Identifier: BSD-2-Clause
// A machine of two threads and a page of memory, which remembers what was asked of it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../registers.hpp"
#include "../target.hpp"

namespace pvh::vmm::gdb::testing {

class FakeTarget final : public Target {
 public:
  static constexpr std::uint64_t kBase = 0x1000;
  static constexpr std::size_t kThreads = 2;

  std::array<std::byte, 0x1000> memory{};
  std::array<std::vector<std::byte>, kThreads> registers{std::vector<std::byte>(kRegisterBytes),
                                                         std::vector<std::byte>(kRegisterBytes)};
  std::vector<Breakpoint> breakpoints;
  std::optional<BreakpointError> refuse_breakpoints;
  std::vector<Motion> motions;  // of the last resume; empty while all stand
  bool detached = false;
  bool killed = false;

  [[nodiscard]] Thread threads() const override { return kThreads; }
  [[nodiscard]] std::string describe(Thread thread) override {
    return "vCPU " + std::to_string(thread);
  }
  [[nodiscard]] std::optional<std::vector<std::byte>> read_registers(Thread thread) override {
    return registers.at(thread);
  }
  [[nodiscard]] bool write_registers(Thread thread, base::Bytes bytes) override {
    registers.at(thread).assign(bytes.begin(), bytes.end());
    return bytes.size() == kRegisterBytes;
  }
  [[nodiscard]] std::size_t read_memory(Thread, std::uint64_t address,
                                        base::MutableBytes out) override {
    const std::uint64_t offset = address - kBase;
    if (address < kBase || offset >= memory.size()) {
      return 0;
    }
    const auto size = std::min<std::size_t>(out.size(), memory.size() - offset);
    std::ranges::copy(std::span(memory).subspan(offset, size), out.begin());
    return size;
  }
  [[nodiscard]] bool write_memory(Thread, std::uint64_t address, base::Bytes in) override {
    const std::uint64_t offset = address - kBase;
    if (address < kBase || offset > memory.size() || in.size() > memory.size() - offset) {
      return false;
    }
    std::ranges::copy(in, memory.begin() + static_cast<std::ptrdiff_t>(offset));
    return true;
  }
  [[nodiscard]] std::optional<BreakpointError> insert(Thread, const Breakpoint& one) override {
    if (!refuse_breakpoints && std::ranges::count(breakpoints, one) == 0) {
      breakpoints.push_back(one);
    }
    return refuse_breakpoints;
  }
  bool remove(const Breakpoint& one) override { return std::erase(breakpoints, one) != 0; }
  void resume(std::span<const Motion> wanted) override {
    motions.assign(wanted.begin(), wanted.end());
  }
  [[nodiscard]] Stop interrupt() override {
    motions.clear();
    return {StopReason::kInterrupted, 0};
  }
  void detach() override {
    breakpoints.clear();
    detached = true;
  }
  void kill() override { killed = true; }
};

}  // namespace pvh::vmm::gdb::testing
