// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/error.hpp>

namespace pvh::guest {

// Without it a literal may become a strlen at run time.
using std::string_view_literals::operator""sv;

std::string_view name(BootErrorCode code) {
  switch (code) {
    case BootErrorCode::kNoStartInfo:
      return "no-start-info"sv;
    case BootErrorCode::kStartInfoUnreadable:
      return "start-info-unreadable"sv;
    case BootErrorCode::kBadMagic:
      return "bad-magic"sv;
    case BootErrorCode::kStartInfoInsideImage:
      return "start-info-inside-image"sv;
    case BootErrorCode::kVersion0WithoutXen:
      return "version0-without-xen"sv;
    case BootErrorCode::kEmptyMap:
      return "empty-map"sv;
    case BootErrorCode::kMalformedMemmap:
      return "malformed-memmap"sv;
    case BootErrorCode::kMemmapTooLarge:
      return "memmap-too-large"sv;
    case BootErrorCode::kMapStorageTooSmall:
      return "map-storage-too-small"sv;
    case BootErrorCode::kMapHypercallFailed:
      return "map-hypercall-failed"sv;
    case BootErrorCode::kNoUsableRam:
      return "no-usable-ram"sv;
    case BootErrorCode::kTooManyReservations:
      return "too-many-reservations"sv;
    case BootErrorCode::kTooManyModules:
      return "too-many-modules"sv;
    case BootErrorCode::kModuleOverImage:
      return "module-over-image"sv;
    case BootErrorCode::kCommandLineOverImage:
      return "command-line-over-image"sv;
  }
  return "unknown"sv;
}

std::string_view name(DiagnosticKind kind) {
  switch (kind) {
    case DiagnosticKind::kNewerVersion:
      return "newer-version"sv;
    case DiagnosticKind::kMemmapWithoutAddress:
      return "memmap-without-address"sv;
    case DiagnosticKind::kMemmapUnreadable:
      return "memmap-unreadable"sv;
    case DiagnosticKind::kTableWithoutRam:
      return "table-without-ram"sv;
    case DiagnosticKind::kMapPossiblyTruncated:
      return "map-possibly-truncated"sv;
    case DiagnosticKind::kMapAnomaly:
      return "map-anomaly"sv;
    case DiagnosticKind::kModuleListMissing:
      return "module-list-missing"sv;
    case DiagnosticKind::kModuleAbsent:
      return "module-absent"sv;
    case DiagnosticKind::kModuleWraps:
      return "module-wraps"sv;
    case DiagnosticKind::kModuleNotInRam:
      return "module-not-in-ram"sv;
    case DiagnosticKind::kModulesOverlap:
      return "modules-overlap"sv;
    case DiagnosticKind::kModuleOverBootData:
      return "module-over-boot-data"sv;
    case DiagnosticKind::kStringUnreadable:
      return "string-unreadable"sv;
    case DiagnosticKind::kStringUnterminated:
      return "string-unterminated"sv;
    case DiagnosticKind::kModuleStringNotInRam:
      return "module-string-not-in-ram"sv;
    case DiagnosticKind::kRsdpBad:
      return "rsdp-bad"sv;
    case DiagnosticKind::kRsdpMissing:
      return "rsdp-missing"sv;
    case DiagnosticKind::kAcpiTableBad:
      return "acpi-table-bad"sv;
    case DiagnosticKind::kReservationOutsideSpace:
      return "reservation-outside-space"sv;
  }
  return "unknown"sv;
}

}  // namespace pvh::guest
