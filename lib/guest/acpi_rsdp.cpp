// SPDX-License-Identifier: BSD-2-Clause
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <pvh/abi/acpi.hpp>
#include <pvh/base/little_endian.hpp>
#include <pvh/guest/acpi.hpp>

#include "internal/acpi_bytes.hpp"

namespace pvh::guest {
namespace {

constexpr std::array<char, 8> kSignature{'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
constexpr std::size_t kStep = 16;
constexpr base::PhysAddr kEbdaSegment(0x40e);
constexpr base::ByteSize kEbdaSearched(1024);
constexpr base::PhysAddr kBios(0xe0000);
constexpr base::ByteSize kBiosSize(0x20000);

// The signature's first four bytes: seldom enough to look closer only then.
constexpr std::uint32_t kFirstBytes = 0x20445352;

[[gnu::always_inline]] inline bool starts_here(const std::byte* bytes) {
  std::uint32_t word = 0;
  __builtin_memcpy(&word, bytes, sizeof(word));
  return word == kFirstBytes;
}

template <std::size_t... I>
[[gnu::always_inline]] inline bool starts_in_block(const std::byte* bytes,
                                                   std::index_sequence<I...> /*positions*/) {
  return (... || starts_here(bytes + kStep * I));
}

// A compare and a jump for each of 8192 places, and little more: a monitor that passes no RSDP is
// one that is started often.
std::optional<Rsdp> search_bytes(Machine& machine, base::PhysAddr address, base::Bytes bytes) {
  constexpr std::size_t kPositions = 16;
  constexpr std::size_t kBlock = kPositions * kStep;
  for (std::size_t block = 0; block + kBlock <= bytes.size(); block += kBlock) {
    if (!starts_in_block(bytes.data() + block, std::make_index_sequence<kPositions>())) {
      continue;
    }
    for (std::size_t at = block; at < block + kBlock; at += kStep) {
      if (starts_here(bytes.data() + at)) {
        if (const auto rsdp = read_rsdp(machine, base::PhysAddr(address.value() + at))) {
          return rsdp;
        }
      }
    }
  }
  return std::nullopt;
}

std::optional<Rsdp> search(Machine& machine, base::PhysAddr address, base::ByteSize size) {
  const auto range = base::Range::from_size(address, size);
  if (!range) {
    return std::nullopt;
  }
  if (const auto bytes = machine.view(*range)) {
    return search_bytes(machine, address, *bytes);
  }
  // Not all of it is there, or none of it at once.
  for (std::uint64_t at = 0; at < size.value(); at += kStep) {
    if (const auto rsdp = read_rsdp(machine, base::PhysAddr(address.value() + at))) {
      return rsdp;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Rsdp> read_rsdp(Machine& machine, base::PhysAddr address) {
  std::array<std::byte, sizeof(abi::acpi_table_rsdp)> bytes{};
  const auto first = base::MutableBytes(bytes).first(abi::kRsdpSizeV1);
  if (!machine.read(address, first)) {
    return std::nullopt;
  }
  auto rsdp = std::bit_cast<abi::acpi_table_rsdp>(bytes);
  if (rsdp.signature != kSignature || acpi::sum_of(first) != 0) {
    return std::nullopt;
  }
  const base::PhysAddr rsdt(rsdp.rsdt_physical_address.get());
  if (rsdp.revision < 2) {
    return Rsdp{.address = address, .revision = rsdp.revision, .root = rsdt};
  }
  // Once, so that what was checked is what is used.
  const auto rest = base::MutableBytes(bytes).subspan(abi::kRsdpSizeV1);
  if (!machine.read(base::PhysAddr(address.value() + abi::kRsdpSizeV1), rest)) {
    return std::nullopt;
  }
  rsdp = std::bit_cast<abi::acpi_table_rsdp>(bytes);
  if (rsdp.length.get() < sizeof(rsdp) || acpi::sum_of(bytes) != 0) {
    return std::nullopt;
  }
  const base::PhysAddr xsdt(rsdp.xsdt_physical_address.get());
  const bool has_xsdt = xsdt != base::PhysAddr(0);
  return Rsdp{.address = address,
              .revision = rsdp.revision,
              .root = has_xsdt ? xsdt : rsdt,
              .root_is_xsdt = has_xsdt};
}

std::optional<Rsdp> search_rsdp(Machine& machine) {
  const auto segment = acpi::read_struct<base::Le16>(machine, kEbdaSegment);
  if (segment && segment->get() != 0) {
    const base::PhysAddr ebda(std::uint64_t{segment->get()} << 4);
    if (const auto rsdp = search(machine, ebda, kEbdaSearched)) {
      return rsdp;
    }
  }
  return search(machine, kBios, kBiosSize);
}

std::optional<Rsdp> find_rsdp(Machine& machine, std::optional<base::PhysAddr> passed,
                              bool may_search, Diagnostics& diagnostics) {
  if (passed) {
    if (auto rsdp = read_rsdp(machine, *passed)) {
      rsdp->passed = true;
      return rsdp;
    }
    diagnostics.add(DiagnosticKind::kRsdpBad, passed->value());
  }
  const auto found = may_search ? search_rsdp(machine) : std::nullopt;
  if (!found) {
    diagnostics.add(DiagnosticKind::kRsdpMissing);
  }
  return found;
}

}  // namespace pvh::guest
