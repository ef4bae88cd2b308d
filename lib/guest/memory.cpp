// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/abi/start_info.hpp>
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

class Acquisition {
 public:
  // What ended it, if anything did.
  using Failure = std::optional<BootError>;

  Acquisition(Machine& machine, const StartInfo& info, const memory_map::NormalizeOptions& options,
              const MapStorage& storage, Diagnostics& diagnostics)
      : machine_(machine),
        info_(info),
        options_(options),
        storage_(storage),
        diagnostics_(diagnostics) {}

  [[nodiscard]] Failure from_table(AcquiredMap& result);
  [[nodiscard]] Failure from_xen(const xen::Token& token, AcquiredMap& result);

 private:
  [[nodiscard]] Failure normalize(std::size_t count, AcquiredMap& result);

  Machine& machine_;
  const StartInfo& info_;
  const memory_map::NormalizeOptions& options_;
  const MapStorage& storage_;
  Diagnostics& diagnostics_;
};

Acquisition::Failure Acquisition::normalize(std::size_t count, AcquiredMap& result) {
  result.raw = storage_.raw.first(count);
  const auto map =
      memory_map::normalize(result.raw, storage_.map, storage_.scratch, options_, result.report);
  if (!map) {
    return BootError{BootErrorCode::kMapStorageTooSmall, count};
  }
  if (std::none_of(map->begin(), map->end(), is_ram)) {
    return BootError{BootErrorCode::kNoUsableRam, count};
  }
  if (!result.report.clean()) {
    diagnostics_.add(DiagnosticKind::kMapAnomaly, count);
  }
  result.map = *map;
  return std::nullopt;
}

Acquisition::Failure Acquisition::from_table(AcquiredMap& result) {
  const std::uint32_t count = info_.memmap_entries;
  if (count > kMostMapEntries) {
    return BootError{BootErrorCode::kMemmapTooLarge, count};
  }
  const BootError malformed{BootErrorCode::kMalformedMemmap, info_.memmap->value()};
  const base::ByteSize size(std::uint64_t{count} * sizeof(abi::hvm_memmap_table_entry));
  if (!base::Range::from_size(*info_.memmap, size)) {
    return malformed;
  }
  if (count > storage_.raw.size()) {
    return BootError{BootErrorCode::kMapStorageTooSmall, count};
  }
  std::uint64_t place = info_.memmap->value();  // does not leave the range above
  for (RawEntry& entry : storage_.raw.first(count)) {
    abi::hvm_memmap_table_entry wire;
    if (!machine_.read(base::PhysAddr(place), std::as_writable_bytes(std::span(&wire, 1)))) {
      return malformed;
    }
    entry = {wire.addr.get(), wire.size.get(), wire.type.get()};
    place += sizeof(wire);
  }
  result.source = MapSource::kTable;
  return normalize(count, result);
}

Acquisition::Failure Acquisition::from_xen(const xen::Token& token, AcquiredMap& result) {
  // One more than can be kept, to tell a map that fits exactly from one that was cut off.
  const std::size_t kept = storage_.raw.size();
  const base::MutableBytes scratch = std::as_writable_bytes(storage_.scratch);
  const auto size = memory_map::encoded_size(Form::kPacked, std::uint64_t{kept} + 1);
  if (!size || *size > scratch.size()) {
    return BootError{BootErrorCode::kMapStorageTooSmall, kept};
  }
  const base::MutableBytes buffer = scratch.first(static_cast<std::size_t>(*size));
  const auto answer = xen::memory_map(machine_, token, buffer);
  if (!answer) {
    return BootError{BootErrorCode::kMapHypercallFailed,
                     static_cast<std::uint64_t>(answer.error())};
  }
  const bool truncated = *answer > kept;
  // Where the next must not begin below, if what was cut off shall lie above all that is kept.
  std::uint64_t end = 0;
  bool ascends = kept > 0;
  for (std::size_t i = 0; i < *answer; ++i) {
    const RawEntry entry = *memory_map::decode_entry(Form::kPacked, buffer, i);
    ascends = ascends && entry.addr >= end &&
              (i == kept || !__builtin_add_overflow(entry.addr, entry.size, &end));
    if (i < kept) {
      storage_.raw[i] = entry;
    }
  }
  if (truncated) {
    if (!ascends) {
      return BootError{BootErrorCode::kMapStorageTooSmall, *answer};
    }
    diagnostics_.add(DiagnosticKind::kMapPossiblyTruncated, kept);
  }
  result.source = MapSource::kXen;
  result.possibly_truncated = truncated;
  return normalize(std::min<std::size_t>(*answer, kept), result);
}

}  // namespace

std::expected<AcquiredMap, BootError> acquire_map(Machine& machine, const StartInfo& info,
                                                  const std::optional<xen::Token>& xen,
                                                  const memory_map::NormalizeOptions& options,
                                                  const MapStorage& storage,
                                                  Diagnostics& diagnostics) {
  Acquisition acquisition(machine, info, options, storage, diagnostics);
  std::expected<AcquiredMap, BootError> result;
  Acquisition::Failure failure;
  const auto source = choose_map_source(info, xen.has_value());
  bool ask_xen = false;
  if (!source) {
    failure = source.error();
  } else if (*source == MapSource::kXen) {
    ask_xen = true;
    if (info.memmap_entries > 0) {
      diagnostics.add(DiagnosticKind::kMemmapWithoutAddress, info.memmap_entries);
    }
  } else {
    failure = acquisition.from_table(*result);
    const bool unreadable = failure && failure->code == BootErrorCode::kMalformedMemmap;
    if (xen && failure && (unreadable || failure->code == BootErrorCode::kNoUsableRam)) {
      ask_xen = true;
      diagnostics.add(
          unreadable ? DiagnosticKind::kMemmapUnreadable : DiagnosticKind::kTableWithoutRam,
          failure->value);
    }
  }
  if (ask_xen) {
    failure = acquisition.from_xen(*xen, *result);
  }
  if (failure) {
    result = std::unexpected(*failure);
  }
  return result;
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
