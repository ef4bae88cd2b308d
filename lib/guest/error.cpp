// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/error.hpp>

#include "internal/packed_names.hpp"

namespace pvh::guest {
namespace {

using internal::nth_name;
using internal::packed;

constexpr char kErrorNames[] =
    "no-start-info\0"
    "start-info-unreadable\0"
    "bad-magic\0"
    "start-info-inside-image\0"
    "version-0-without-xen\0"
    "empty-map\0"
    "malformed-memmap\0"
    "memmap-too-large\0"
    "map-storage-too-small\0"
    "map-hypercall-failed\0"
    "no-usable-ram\0"
    "too-many-reservations\0"
    "too-many-modules\0"
    "module-over-image\0"
    "command-line-over-image\0";

constexpr char kDiagnosticNames[] =
    "newer-version\0"
    "memmap-without-address\0"
    "memmap-unreadable\0"
    "table-without-ram\0"
    "map-possibly-truncated\0"
    "map-anomaly\0"
    "module-list-missing\0"
    "module-absent\0"
    "module-wraps\0"
    "module-not-in-ram\0"
    "modules-overlap\0"
    "module-over-boot-data\0"
    "string-unreadable\0"
    "string-unterminated\0"
    "string-storage-too-small\0"
    "module-string-not-in-ram\0"
    "rsdp-bad\0"
    "rsdp-missing\0"
    "acpi-table-bad\0"
    "reservation-outside-space\0";

template <typename Code>
constexpr std::size_t index_of(Code code) {
  return static_cast<std::size_t>(code);
}

// The last of each enumeration has the last name.
static_assert(nth_name(packed(kErrorNames), index_of(BootErrorCode::kCommandLineOverImage)) ==
              "command-line-over-image");
static_assert(nth_name(packed(kDiagnosticNames),
                       index_of(DiagnosticKind::kReservationOutsideSpace)) ==
              "reservation-outside-space");

}  // namespace

void Diagnostics::add(DiagnosticKind kind, std::uint64_t value, std::uint32_t index) {
  if (count_ == kMost) {
    ++lost_;
    return;
  }
  kept_[count_++] = {kind, index, value};
}

std::string_view name(BootErrorCode code) {
  return nth_name(packed(kErrorNames), index_of(code));
}

std::string_view name(DiagnosticKind kind) {
  return nth_name(packed(kDiagnosticNames), index_of(kind));
}

}  // namespace pvh::guest
