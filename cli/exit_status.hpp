// SPDX-License-Identifier: BSD-2-Clause
// What pvh's exit status means; docs/architecture.md has the same table for users.
#pragma once

#include <pvh/vmm/failure.hpp>

namespace pvh::cli {

inline constexpr int kOk = 0;
inline constexpr int kUsage = 64;
inline constexpr int kMalformed = 65;
inline constexpr int kMissing = 66;
inline constexpr int kHostRefuses = 69;
inline constexpr int kGuestCrashed = 70;
inline constexpr int kCannotRun = 71;
inline constexpr int kHostIo = 74;
inline constexpr int kTimeout = 124;
inline constexpr int kSignalBase = 128;

[[nodiscard]] constexpr int exit_status(vmm::FailureKind kind) {
  switch (kind) {
    case vmm::FailureKind::kRequest:
      return kUsage;
    case vmm::FailureKind::kMalformed:
      return kMalformed;
    case vmm::FailureKind::kMissing:
      return kMissing;
    case vmm::FailureKind::kHost:
      return kHostRefuses;
    case vmm::FailureKind::kHostIo:
      return kHostIo;
  }
  return kHostIo;
}

}  // namespace pvh::cli
