// SPDX-License-Identifier: BSD-2-Clause
// hvm_start_info as the loader left it, captured once: it is read, checked and never looked at
// again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>

#include <pvh/abi/start_info.hpp>
#include <pvh/base/address.hpp>
#include <pvh/guest/error.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest {

// Every address that the structure has as 0 is absent here.
struct StartInfo {
  base::PhysAddr address{};   // of the structure
  std::uint32_t version = 0;  // as it says; above 1 it is read as 1
  std::uint32_t flags = 0;    // abi::SIF_*: believe them only on Xen
  std::uint32_t nr_modules = 0;
  std::optional<base::PhysAddr> modlist{};
  std::optional<base::PhysAddr> command_line{};
  std::optional<base::PhysAddr> rsdp{};
  std::optional<base::PhysAddr> memmap{};  // version 1; nothing in version 0
  std::uint32_t memmap_entries = 0;        // version 1; 0 in version 0

  [[nodiscard]] constexpr bool has_map_fields() const { return version >= 1; }
  // How much of memory is the structure: 40 bytes in version 0.
  [[nodiscard]] constexpr base::ByteSize size() const {
    return base::ByteSize(has_map_fields() ? abi::kStartInfoSizeV1 : abi::kStartInfoSizeV0);
  }

  friend constexpr bool operator==(const StartInfo&, const StartInfo&) = default;
};

// `address` is EBX at the entry point. Reads 40 bytes, and 16 more only when the version has them:
// what follows a version 0 belongs to somebody else. No alignment is asked for, `reserved` is
// ignored. Fails with kNoStartInfo, kStartInfoUnreadable, kBadMagic, and then `info` means nothing.
[[nodiscard]] std::expected<void, BootError> read_start_info(Machine& machine,
                                                             base::PhysAddr address,
                                                             Diagnostics& diagnostics,
                                                             StartInfo& info);

// The first dwords at `address`, for a person who asks why it is no start_info; as many as can be
// read, at most 14.
struct RawStartInfo {
  std::array<std::uint32_t, abi::kStartInfoSizeV1 / 4> words{};
  std::size_t count = 0;
};
[[nodiscard]] RawStartInfo read_raw_start_info(Machine& machine, base::PhysAddr address);

}  // namespace pvh::guest
