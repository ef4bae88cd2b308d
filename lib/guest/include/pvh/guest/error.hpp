// SPDX-License-Identifier: BSD-2-Clause
// What can go wrong between the entry point and a map: an error ends the boot, a diagnostic is
// something odd that was put right on the safe side and can be read later. Both are a code and
// numbers. name() is short and always linked; the sentences of describe() are linked only by who
// calls it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace pvh::guest {

enum class BootErrorCode : std::uint8_t {
  kNoStartInfo,           // EBX is 0: not entered by PVH
  kStartInfoUnreadable,   // it wraps or lies where nothing is mapped; value: its address
  kBadMagic,              // value: what is there instead of 0x336ec578
  kStartInfoInsideImage,  // the loader put it over the kernel; value: its address
  kVersion0WithoutXen,    // no map in start_info, and nobody to ask
  kEmptyMap,              // version 1 with 0 entries, and nobody to ask
  kMalformedMemmap,      // entries but no address, or unreadable, and nobody to ask; value: address
  kMemmapTooLarge,       // value: entries; more than kMostMapEntries
  kMapStorageTooSmall,   // value: entries there are; Storage::raw has fewer
  kMapHypercallFailed,   // value: Xen's error number; there is no table either
  kNoUsableRam,          // value: entries there were
  kTooManyReservations,  // value: what Storage has to hold
  kTooManyModules,       // value: how many there are; more than kMostModules, or than Storage holds
  kModuleOverImage,      // value: the module's number
  kCommandLineOverImage,  // value: its address
};

struct BootError {
  BootErrorCode code;
  std::uint64_t value = 0;

  friend constexpr bool operator==(const BootError&, const BootError&) = default;
};

enum class DiagnosticKind : std::uint8_t {
  kNewerVersion,          // start_info version above 1, read as 1; value: the version
  kMemmapWithoutAddress,  // entries but address 0: Xen was asked; value: entries
  kMemmapUnreadable,      // Xen was asked; value: its address
  kTableWithoutRam,       // Xen was asked; value: entries
  kMapPossiblyTruncated,  // Xen has more entries than Storage::raw; value: how many that holds
  kMapAnomaly,            // the map was not clean: see Boot::map_report(); value: entries
  kModuleListMissing,   // modules but no list, or unreadable: none; value: how many there should be
  kModuleAbsent,        // address or size 0; index: the module
  kModuleWraps,         // as absent; index: the module, value: its address
  kModuleNotInRam,      // index: the module, value: its address
  kModulesOverlap,      // index: one module, value: the number of the other
  kModuleOverBootData,  // index: the module, value: address of what it overlaps
  kStringUnreadable,    // index: the module or kCommandLineIndex, value: address; it is empty
  kStringUnterminated,  // as above; no NUL within kLongestString; it is empty
  kStringStorageTooSmall,    // as above; no pointer reaches it and Storage::strings is full: empty
  kModuleStringNotInRam,     // as above; its pointer is garbage (qboot); it is empty
  kRsdpBad,                  // signature or checksum; value: its address; it was searched instead
  kRsdpMissing,              // none passed and none found
  kAcpiTableBad,             // index: 4 characters of its signature, value: its address; left out
  kReservationOutsideSpace,  // a length that wraps was cut off; value: address
};

inline constexpr std::uint32_t kCommandLineIndex = UINT32_MAX;

struct Diagnostic {
  DiagnosticKind kind{};
  std::uint32_t index = 0;
  std::uint64_t value = 0;

  friend constexpr bool operator==(const Diagnostic&, const Diagnostic&) = default;
};

// Keeps the first kMost and counts the others.
class Diagnostics {
 public:
  static constexpr std::size_t kMost = 24;

  void add(DiagnosticKind kind, std::uint64_t value = 0, std::uint32_t index = 0);

  [[nodiscard]] constexpr std::span<const Diagnostic> all() const {
    return std::span(kept_).first(count_);
  }
  [[nodiscard]] constexpr std::size_t lost() const { return lost_; }
  [[nodiscard]] constexpr bool has(DiagnosticKind kind) const {
    for (const Diagnostic& each : all()) {
      if (each.kind == kind) {
        return true;
      }
    }
    return false;
  }

 private:
  std::array<Diagnostic, kMost> kept_{};
  std::size_t count_ = 0;
  std::size_t lost_ = 0;
};

// "version-0-without-xen"; "module-absent".
[[nodiscard]] std::string_view name(BootErrorCode code);
[[nodiscard]] std::string_view name(DiagnosticKind kind);

// What it means and what to do, in a sentence.
[[nodiscard]] std::string_view describe(BootErrorCode code);
[[nodiscard]] std::string_view describe(DiagnosticKind kind);

}  // namespace pvh::guest
