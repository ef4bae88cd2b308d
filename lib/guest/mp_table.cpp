// SPDX-License-Identifier: BSD-2-Clause
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <pvh/abi/mp_table.hpp>
#include <pvh/base/little_endian.hpp>
#include <pvh/guest/mp_table.hpp>

namespace pvh::guest {
namespace {

constexpr base::PhysAddr kEbdaSegment(0x40e);
constexpr std::uint64_t kLastKiB = 0x9fc00;
constexpr std::uint64_t kSearched = 0x400;
constexpr std::array<char, 4> kPointerSignature{'_', 'M', 'P', '_'};
constexpr std::array<char, 4> kTableSignature{'P', 'C', 'M', 'P'};

template <base::Wire T>
std::optional<T> read(Machine& machine, base::PhysAddr address) {
  T value;
  return machine.read(address, std::as_writable_bytes(std::span(&value, 1))) ? std::optional(value)
                                                                             : std::nullopt;
}

bool sums_to_zero(const abi::mp_floating_pointer& pointer) {
  unsigned sum = 0;
  for (const std::byte byte : base::to_bytes(pointer)) {
    sum += std::to_integer<unsigned>(byte);
  }
  return sum % 256 == 0;
}

std::optional<base::Range> table_at(Machine& machine, base::PhysAddr address) {
  const auto table = read<abi::mp_configuration_table>(machine, address);
  if (address.value() == 0 || !table || table->signature != kTableSignature) {
    return std::nullopt;
  }
  return base::Range::from_size(address, base::ByteSize(table->base_table_length.get()));
}

std::optional<MpTable> search(Machine& machine, std::uint64_t first) {
  const auto whole = base::Range::from_size(base::PhysAddr(first), base::ByteSize(kSearched));
  const auto bytes = whole ? machine.view(*whole) : std::nullopt;
  for (std::uint64_t at = first; at < first + kSearched; at += sizeof(abi::mp_floating_pointer)) {
    // A glance first: every kernel pays for this search.
    if (bytes && std::to_integer<char>((*bytes)[static_cast<std::size_t>(at - first)]) !=
                     kPointerSignature[0]) {
      continue;
    }
    const base::PhysAddr address(at);
    const auto pointer = read<abi::mp_floating_pointer>(machine, address);
    if (pointer && pointer->signature == kPointerSignature && sums_to_zero(*pointer)) {
      return MpTable{.pointer = *base::Range::from_size(address, base::ByteSize(sizeof(*pointer))),
                     .table = table_at(machine, base::PhysAddr(pointer->physical_address.get()))};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<MpTable> find_mp_table(Machine& machine) {
  const auto segment = read<base::Le16>(machine, kEbdaSegment);
  const std::uint64_t ebda = segment ? std::uint64_t{segment->get()} << 4 : 0;
  if (ebda != 0 && ebda != kLastKiB) {
    if (const auto found = search(machine, ebda)) {
      return found;
    }
  }
  return search(machine, kLastKiB);
}

}  // namespace pvh::guest
