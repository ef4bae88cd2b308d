// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/abi/e820.hpp>
#include <pvh/abi/start_info.hpp>
#include <pvh/guest/memory.hpp>
#include <pvh/guest/xen.hpp>

namespace pvh::guest {
namespace {

using memory_map::RawEntry;

constexpr std::uint32_t kPhysBitsLeaf = 0x80000008;
constexpr std::uint32_t kLeastPhysBits = 32;
constexpr std::uint32_t kMostPhysBits = 52;   // the architecture's limit
constexpr std::uint32_t kPhysBitsOfOld = 36;  // processors that do not say

// Each step answers whether it went well; what went wrong is in error().
class Acquisition {
 public:
  Acquisition(Machine& machine, const StartInfo& info, const memory_map::NormalizeOptions& options,
              const MapStorage& storage, Diagnostics& diagnostics, AcquiredMap& result)
      : machine_(machine),
        info_(info),
        options_(options),
        storage_(storage),
        diagnostics_(diagnostics),
        result_(result) {}

  [[nodiscard]] bool run(const std::optional<xen::Token>& xen);
  [[nodiscard]] const BootError& error() const { return error_; }

 private:
  [[nodiscard]] bool from_table();
  [[nodiscard]] bool from_xen(const xen::Token& token);
  [[nodiscard]] bool normalize(std::size_t count);
  [[nodiscard]] bool fail(BootErrorCode code, std::uint64_t value) {
    error_ = {code, value};
    return false;
  }

  Machine& machine_;
  const StartInfo& info_;
  const memory_map::NormalizeOptions& options_;
  const MapStorage& storage_;
  Diagnostics& diagnostics_;
  AcquiredMap& result_;
  BootError error_{};
};

// As choose_map_source() has it.
bool Acquisition::run(const std::optional<xen::Token>& xen) {
  if (has_table(info_)) {
    if (from_table()) {
      return true;
    }
    const bool unreadable = error_.code == BootErrorCode::kMalformedMemmap;
    if (!xen || (!unreadable && error_.code != BootErrorCode::kNoUsableRam)) {
      return false;
    }
    diagnostics_.add(
        unreadable ? DiagnosticKind::kMemmapUnreadable : DiagnosticKind::kTableWithoutRam,
        error_.value);
  } else if (!xen) {
    return fail(why_no_map(info_), 0);
  } else if (info_.memmap_entries > 0) {
    diagnostics_.add(DiagnosticKind::kMemmapWithoutAddress, info_.memmap_entries);
  }
  return from_xen(*xen);
}

bool Acquisition::normalize(std::size_t count) {
  result_.raw = storage_.raw.first(count);
  const auto map =
      memory_map::normalize(result_.raw, storage_.map, storage_.scratch, options_, result_.report);
  if (!map) {
    return fail(BootErrorCode::kMapStorageTooSmall, count);
  }
  bool has_ram = false;
  for (const memory_map::Entry& entry : *map) {
    has_ram = has_ram || entry.type == memory_map::Type::kRam;
  }
  if (!has_ram) {
    return fail(BootErrorCode::kNoUsableRam, count);
  }
  if (!result_.report.clean()) {
    diagnostics_.add(DiagnosticKind::kMapAnomaly, count);
  }
  result_.map = *map;
  return true;
}

bool Acquisition::from_table() {
  const std::uint32_t count = info_.memmap_entries;
  if (count > kMostMapEntries) {
    return fail(BootErrorCode::kMemmapTooLarge, count);
  }
  std::uint64_t place = info_.memmap->value();
  const base::ByteSize size(std::uint64_t{count} * sizeof(abi::hvm_memmap_table_entry));
  if (!base::Range::from_size(*info_.memmap, size)) {
    return fail(BootErrorCode::kMalformedMemmap, place);
  }
  if (count > storage_.raw.size()) {
    return fail(BootErrorCode::kMapStorageTooSmall, count);
  }
  for (RawEntry& entry : storage_.raw.first(count)) {
    abi::hvm_memmap_table_entry wire;
    if (!machine_.read(base::PhysAddr(place), std::as_writable_bytes(std::span(&wire, 1)))) {
      return fail(BootErrorCode::kMalformedMemmap, info_.memmap->value());
    }
    entry = {wire.addr.get(), wire.size.get(), wire.type.get()};
    place += sizeof(wire);  // does not leave the range above
  }
  result_.source = MapSource::kTable;
  return normalize(count);
}

bool Acquisition::from_xen(const xen::Token& token) {
  // One more than can be kept, to tell a map that fits exactly from one that was cut off.
  const std::size_t kept = storage_.raw.size();
  const base::MutableBytes scratch = std::as_writable_bytes(storage_.scratch);
  if (kept >= scratch.size() / sizeof(abi::e820entry)) {
    return fail(BootErrorCode::kMapStorageTooSmall, kept);
  }
  const base::MutableBytes buffer = scratch.first((kept + 1) * sizeof(abi::e820entry));
  const auto answer = xen::memory_map(machine_, token, buffer);
  if (!answer) {
    return fail(BootErrorCode::kMapHypercallFailed, static_cast<std::uint64_t>(answer.error()));
  }
  std::size_t count = *answer;
  // Where the next must not begin below, if what was cut off shall lie above all that is kept.
  std::uint64_t end = 0;
  bool ascends = kept > 0;
  for (std::size_t i = 0; i < count; ++i) {
    abi::e820entry wire;
    std::ranges::copy(buffer.subspan(i * sizeof(wire), sizeof(wire)),
                      std::as_writable_bytes(std::span(&wire, 1)).begin());
    ascends = ascends && wire.addr.get() >= end;
    if (i < kept) {
      storage_.raw[i] = {wire.addr.get(), wire.size.get(), wire.type.get()};
      ascends = ascends && !__builtin_add_overflow(wire.addr.get(), wire.size.get(), &end);
    }
  }
  result_.source = MapSource::kXen;
  result_.possibly_truncated = count > kept;
  if (result_.possibly_truncated) {
    if (!ascends) {
      return fail(BootErrorCode::kMapStorageTooSmall, count);
    }
    diagnostics_.add(DiagnosticKind::kMapPossiblyTruncated, kept);
    count = kept;
  }
  return normalize(count);
}

}  // namespace

std::expected<void, BootError> acquire_map(Machine& machine, const StartInfo& info,
                                           const std::optional<xen::Token>& xen,
                                           const memory_map::NormalizeOptions& options,
                                           const MapStorage& storage, Diagnostics& diagnostics,
                                           AcquiredMap& result) {
  Acquisition acquisition(machine, info, options, storage, diagnostics, result);
  if (!acquisition.run(xen)) {
    return std::unexpected(acquisition.error());
  }
  return {};
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
