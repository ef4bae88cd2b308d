// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/abi/start_info.hpp>
#include <pvh/base/try.hpp>
#include <pvh/guest/memory.hpp>
#include <pvh/guest/xen.hpp>
#include <pvh/memory_map/codec.hpp>

namespace pvh::guest {
namespace {

using memory_map::Form;
using memory_map::RawEntry;

constexpr std::uint32_t kPhysBitsLeaf = 0x80000008;
constexpr std::uint32_t kLeastPhysBits = 32;
constexpr std::uint32_t kMostPhysBits = 52;   // the architecture's limit
constexpr std::uint32_t kPhysBitsOfOld = 36;  // processors that do not say

bool is_ram(const memory_map::Entry& entry) {
  return entry.type == memory_map::Type::kRam;
}

struct Acquisition {
  Machine& machine;
  const StartInfo& info;
  const memory_map::NormalizeOptions& options;
  const MapStorage& storage;
  Diagnostics& diagnostics;

  [[nodiscard]] std::expected<AcquiredMap, BootError> from_table() const;
  [[nodiscard]] std::expected<AcquiredMap, BootError> from_xen(const xen::Token& token) const;

 private:
  [[nodiscard]] std::expected<AcquiredMap, BootError> normalize(MapSource source,
                                                                std::size_t count) const;
};

std::expected<AcquiredMap, BootError> Acquisition::normalize(MapSource source,
                                                             std::size_t count) const {
  AcquiredMap result;
  result.source = source;
  result.raw = storage.raw.first(count);
  const auto map =
      memory_map::normalize(result.raw, storage.map, storage.scratch, options, result.report);
  if (!map) {
    return std::unexpected(BootError{BootErrorCode::kMapStorageTooSmall, count});
  }
  if (std::none_of(map->begin(), map->end(), is_ram)) {
    return std::unexpected(BootError{BootErrorCode::kNoUsableRam, count});
  }
  if (!result.report.clean()) {
    diagnostics.add(DiagnosticKind::kMapAnomaly, count);
  }
  result.map = *map;
  return result;
}

std::expected<AcquiredMap, BootError> Acquisition::from_table() const {
  const std::uint32_t count = info.memmap_entries;
  if (count > kMostMapEntries) {
    return std::unexpected(BootError{BootErrorCode::kMemmapTooLarge, count});
  }
  const BootError malformed{BootErrorCode::kMalformedMemmap, info.memmap->value()};
  const base::ByteSize size(std::uint64_t{count} * sizeof(abi::hvm_memmap_table_entry));
  if (!base::Range::from_size(*info.memmap, size)) {
    return std::unexpected(malformed);
  }
  if (count > storage.raw.size()) {
    return std::unexpected(BootError{BootErrorCode::kMapStorageTooSmall, count});
  }
  std::uint64_t place = info.memmap->value();  // does not leave the range above
  for (RawEntry& entry : storage.raw.first(count)) {
    abi::hvm_memmap_table_entry wire;
    if (!machine.read(base::PhysAddr(place), std::as_writable_bytes(std::span(&wire, 1)))) {
      return std::unexpected(malformed);
    }
    entry = {wire.addr.get(), wire.size.get(), wire.type.get()};
    place += sizeof(wire);
  }
  return normalize(MapSource::kTable, count);
}

// Whether every entry begins where the one before has ended, or above.
bool ascend(std::span<const RawEntry> entries) {
  std::uint64_t end = 0;
  for (const RawEntry& entry : entries) {
    if (entry.addr < end || __builtin_add_overflow(entry.addr, entry.size, &end)) {
      return false;
    }
  }
  return true;
}

std::expected<AcquiredMap, BootError> Acquisition::from_xen(const xen::Token& token) const {
  // One more than can be kept, to tell a map that fits exactly from one that was cut off.
  const std::size_t kept = storage.raw.size();
  const base::MutableBytes scratch = std::as_writable_bytes(storage.scratch);
  const auto size = memory_map::encoded_size(Form::kPacked, std::uint64_t{kept} + 1);
  if (!size || *size > scratch.size()) {
    return std::unexpected(BootError{BootErrorCode::kMapStorageTooSmall, kept});
  }
  const base::MutableBytes buffer = scratch.first(static_cast<std::size_t>(*size));
  const auto answer = xen::memory_map(machine, token, buffer);
  if (!answer) {
    return std::unexpected(
        BootError{BootErrorCode::kMapHypercallFailed, static_cast<std::uint64_t>(answer.error())});
  }
  const std::size_t count = std::min<std::size_t>(*answer, kept);
  const bool truncated = *answer > kept;
  if (!memory_map::decode(Form::kPacked, buffer, count, storage.raw)) {
    return std::unexpected(BootError{BootErrorCode::kMapStorageTooSmall, count});
  }
  if (truncated) {
    // What was cut off begins above the entry that there is no room for only if all ascend.
    const auto next = memory_map::decode_entry(Form::kPacked, buffer, kept);
    const bool last_ascends =
        kept > 0 && next && next->addr >= storage.raw.back().addr + storage.raw.back().size;
    if (!ascend(storage.raw) || !last_ascends) {
      return std::unexpected(BootError{BootErrorCode::kMapStorageTooSmall, *answer});
    }
    diagnostics.add(DiagnosticKind::kMapPossiblyTruncated, kept);
  }
  auto result = normalize(MapSource::kXen, count);
  if (result) {
    result->possibly_truncated = truncated;
  }
  return result;
}

}  // namespace

std::expected<AcquiredMap, BootError> acquire_map(Machine& machine, const StartInfo& info,
                                                  const std::optional<xen::Token>& xen,
                                                  const memory_map::NormalizeOptions& options,
                                                  const MapStorage& storage,
                                                  Diagnostics& diagnostics) {
  const Acquisition acquisition{machine, info, options, storage, diagnostics};
  if (TRY(choose_map_source(info, xen.has_value())) == MapSource::kTable) {
    auto result = acquisition.from_table();
    if (result || !xen) {
      return result;
    }
    const BootError error = result.error();
    if (error.code == BootErrorCode::kMalformedMemmap) {
      diagnostics.add(DiagnosticKind::kMemmapUnreadable, error.value);
    } else if (error.code == BootErrorCode::kNoUsableRam) {
      diagnostics.add(DiagnosticKind::kTableWithoutRam, error.value);
    } else {
      return result;
    }
  } else if (info.memmap_entries > 0) {
    diagnostics.add(DiagnosticKind::kMemmapWithoutAddress, info.memmap_entries);
  }
  return acquisition.from_xen(*xen);
}

std::uint32_t physical_address_bits(Machine& machine) {
  constexpr std::uint32_t kMostLeaf = 0x80000000;
  if (machine.cpuid(kMostLeaf, 0).eax < kPhysBitsLeaf) {
    return kPhysBitsOfOld;
  }
  const std::uint32_t bits = machine.cpuid(kPhysBitsLeaf, 0).eax & 0xff;
  return bits < kLeastPhysBits ? kPhysBitsOfOld : std::min(bits, kMostPhysBits);
}

}  // namespace pvh::guest
