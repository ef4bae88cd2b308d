// SPDX-License-Identifier: BSD-2-Clause
#include "lib/guest/testing/fake_machine.hpp"

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

namespace pvh::guest::testing {
namespace {

constexpr std::uint32_t kHypervisorBit = 1u << 31;  // of leaf 1's ECX

std::uint32_t word_of(std::string_view text, std::size_t index) {
  std::uint32_t word = 0;
  std::memcpy(&word, text.data() + 4 * index, sizeof(word));
  return word;
}

base::Range range_of(base::PhysAddr address, std::size_t size) {
  return base::Range::from_size(address, base::ByteSize(size))
      .value_or(*base::Range::from_last(address, address));
}

}  // namespace

void FakeMachine::add_memory(std::uint64_t address, std::uint64_t size) {
  ASSERT_GT(size, 0u);
  ASSERT_LE(size - 1, UINT64_MAX - address) << "wraps";
  const auto next = regions_.upper_bound(address);
  ASSERT_TRUE(next == regions_.end() || address + (size - 1) < next->first) << "overlaps";
  if (next != regions_.begin()) {
    const auto before = std::prev(next);
    ASSERT_LT(before->first + (before->second.size() - 1), address) << "overlaps";
  }
  regions_.emplace(address, std::vector<std::byte>(size));
}

base::MutableBytes FakeMachine::from(std::uint64_t address) {
  const auto after = regions_.upper_bound(address);
  if (after == regions_.begin()) {
    return {};
  }
  auto& [first, bytes] = *std::prev(after);
  const std::uint64_t offset = address - first;
  return offset < bytes.size() ? base::MutableBytes(bytes).subspan(offset) : base::MutableBytes();
}

void FakeMachine::put(std::uint64_t address, base::Bytes bytes) {
  if (bytes.empty()) {
    return;
  }
  if (from(address).empty()) {
    add_memory(address, bytes.size());
  }
  ASSERT_TRUE(write(base::PhysAddr(address), bytes)) << "only a part of it is there";
}

void FakeMachine::put(std::uint64_t address, std::string_view text) {
  put(address, base::Bytes(std::as_bytes(std::span(text))));
}

bool FakeMachine::copy_out(std::uint64_t address, base::MutableBytes out) {
  while (!out.empty()) {
    const auto part = from(address);
    if (part.empty()) {
      return false;
    }
    const std::size_t size = std::min(part.size(), out.size());
    std::ranges::copy(part.first(size), out.begin());
    out = out.subspan(size);
    address += size;
    if (address == 0 && !out.empty()) {
      return false;
    }
  }
  return true;
}

bool FakeMachine::was_read(std::uint64_t address) const {
  return std::ranges::any_of(
      reads_, [&](base::Range range) { return range.contains(base::PhysAddr(address)); });
}

bool FakeMachine::read(base::PhysAddr address, base::MutableBytes out) {
  if (out.empty()) {
    return true;
  }
  reads_.push_back(range_of(address, out.size()));
  return copy_out(address.value(), out);
}

bool FakeMachine::write(base::PhysAddr address, base::Bytes bytes) {
  // All or nothing.
  std::vector<std::byte> probe(bytes.size());
  if (!copy_out(address.value(), probe)) {
    return false;
  }
  for (std::uint64_t at = address.value(); !bytes.empty();) {
    const auto part = from(at);
    const std::size_t size = std::min(part.size(), bytes.size());
    std::ranges::copy(bytes.first(size), part.begin());
    bytes = bytes.subspan(size);
    at += size;
  }
  return true;
}

std::optional<base::MutableBytes> FakeMachine::view(base::Range range) {
  reads_.push_back(range);
  if (range.last().value() >= view_limit) {
    return std::nullopt;
  }
  const auto part = from(range.first().value());
  const std::uint64_t size = range.size().value();
  return part.size() < size ? std::nullopt : std::optional(part.first(size));
}

std::optional<std::uint32_t> FakeMachine::read_mmio32(base::PhysAddr address) {
  if (on_mmio_read) {
    if (const auto value = on_mmio_read(address.value())) {
      return value;
    }
  }
  return get<std::uint32_t>(address.value());
}

bool FakeMachine::write_mmio32(base::PhysAddr address, std::uint32_t value) {
  if (on_mmio_write && on_mmio_write(address.value(), value)) {
    return true;
  }
  return write(address, base::to_bytes(value));
}

void FakeMachine::set_vendor(std::string_view twelve) {
  ASSERT_EQ(twelve.size(), 12u);
  leaves[{0, 0}] = {0x16, word_of(twelve, 0), word_of(twelve, 2), word_of(twelve, 1)};
}

void FakeMachine::set_physical_bits(std::uint32_t bits) {
  leaves[{0x80000000, 0}].eax = 0x80000008;
  leaves[{0x80000008, 0}].eax = bits;
}

void FakeMachine::add_hypervisor(std::uint32_t base, std::uint32_t max_leaf,
                                 std::string_view twelve) {
  ASSERT_EQ(twelve.size(), 12u);
  leaves[{1, 0}].ecx |= kHypervisorBit;
  leaves[{base, 0}] = {max_leaf, word_of(twelve, 0), word_of(twelve, 1), word_of(twelve, 2)};
}

CpuidResult FakeMachine::cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  asked_leaves.emplace_back(leaf, subleaf);
  const auto found = leaves.find({leaf, subleaf});
  return found == leaves.end() ? CpuidResult{} : found->second;
}

std::uint64_t FakeMachine::read_msr(std::uint32_t index) {
  const auto found = msrs.find(index);
  if (found == msrs.end()) {
    ADD_FAILURE() << "there is no MSR " << std::hex << index << ": a fault";
    return 0;
  }
  return found->second;
}

void FakeMachine::write_msr(std::uint32_t index, std::uint64_t value) {
  written_msrs.emplace_back(index, value);
  if (on_write_msr) {
    on_write_msr(index, value);
  }
}

std::uint64_t FakeMachine::read_tsc() {
  const std::uint64_t now = tsc;
  tsc += tsc_step;
  return now;
}

std::uint32_t FakeMachine::in(std::uint16_t port, int width) {
  return on_in ? on_in(port, width) : UINT32_MAX;
}

void FakeMachine::out(std::uint16_t port, std::uint32_t value, int width) {
  port_writes.push_back({port, value, width});
  if (on_out) {
    on_out(port, value, width);
  }
}

std::intptr_t FakeMachine::hypercall(std::uint32_t number, Word a, Word b, Word c, Word d, Word e) {
  constexpr std::intptr_t kNotImplemented = -38;
  hypercalls.push_back({number, a, b, c, d, e});
  return on_hypercall ? on_hypercall(hypercalls.back()) : kNotImplemented;
}

void FakeMachine::pause() {
  ++pauses;
  if (on_pause) {
    on_pause();
  }
}

}  // namespace pvh::guest::testing
