// SPDX-License-Identifier: BSD-2-Clause
// ACPI's tables, as far as booting needs them: the root pointer, the walk over the tables, the
// processors, and what the FADT says about stopping. Every table is checked (length, checksum)
// before anything in it is believed, and read by copy. Source: ACPI 6.5, 5.2; structures are in
// pvh/abi/acpi.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <pvh/base/address.hpp>
#include <pvh/guest/error.hpp>
#include <pvh/guest/machine.hpp>
#include <pvh/guest/start_info.hpp>

namespace pvh::guest {

struct Rsdp {
  base::PhysAddr address;
  std::uint8_t revision = 0;
  base::PhysAddr root;  // the XSDT, or the RSDT where there is no XSDT
  bool root_is_xsdt = false;
  bool passed = false;  // by start_info; else it was searched

  // How much of memory it is.
  [[nodiscard]] constexpr base::ByteSize size() const {
    return base::ByteSize(revision >= 2 ? 36 : 20);
  }

  friend constexpr bool operator==(const Rsdp&, const Rsdp&) = default;
};

// The root pointer at `address`, when it is one: signature, checksum of 20 bytes, and for revision
// 2 the length and the checksum of 36.
[[nodiscard]] std::optional<Rsdp> read_rsdp(Machine& machine, base::PhysAddr address);

// The first right one in the EBDA's first KiB and in 0xe0000-0xfffff, on 16-byte boundaries: where
// Firecracker leaves it without passing it. Not for Xen, where a dom0 would find the host's.
[[nodiscard]] std::optional<Rsdp> search_rsdp(Machine& machine);

// What is passed if it is right, else, where `may_search`, what is found. A wrong one and a missing
// one each leave a diagnostic.
[[nodiscard]] std::optional<Rsdp> find_rsdp(Machine& machine, std::optional<base::PhysAddr> passed,
                                            bool may_search, Diagnostics& diagnostics);

struct AcpiTable {
  std::array<char, 4> signature{};
  base::Range range;
  bool right = false;  // its checksum

  friend constexpr bool operator==(const AcpiTable&, const AcpiTable&) = default;
};

// Walks over what the root table lists, without the root table itself. An entry that can be no
// table (unreadable, shorter than a header, longer than kLongestAcpiTable) is skipped, one whose
// checksum is wrong only by next(); both leave a diagnostic. The walk ends after kMostAcpiTables.
// Cost: every byte of every table is read once.
inline constexpr std::uint64_t kLongestAcpiTable = std::uint64_t{1} << 24;
inline constexpr std::uint32_t kMostAcpiTables = 512;
class AcpiTables {
 public:
  AcpiTables(Machine& machine, const Rsdp& rsdp, Diagnostics& diagnostics);

  // Tables to believe: none when the root table's checksum is wrong.
  [[nodiscard]] std::optional<AcpiTable> next();
  // Also the wrong ones, for reserving: a kernel's own ACPI may be less strict.
  [[nodiscard]] std::optional<AcpiTable> next_listed();
  // The root table; nothing when there can be none.
  [[nodiscard]] const std::optional<AcpiTable>& root() const { return root_; }

 private:
  Machine* machine_;
  Diagnostics* diagnostics_;
  std::optional<AcpiTable> root_;
  std::uint32_t entry_size_;
  std::uint32_t count_ = 0;
  std::uint32_t index_ = 0;
};

// The first table with this signature.
[[nodiscard]] std::optional<AcpiTable> find_acpi_table(Machine& machine, const Rsdp& rsdp,
                                                       std::string_view signature,
                                                       Diagnostics& diagnostics);

// Ranges that ACPI lies in and that must not be used as RAM: the RSDP, the root table, every table
// (whatever its checksum), and the FADT's DSDT and FACS. Those that share a page or lie in
// neighbouring pages are one range. As the first part of `out`; `needed` counts all, so that
// needed > out.size() tells of too little room.
struct AcpiRanges {
  std::span<base::Range> ranges;
  std::size_t needed = 0;
};
[[nodiscard]] AcpiRanges acpi_ranges(Machine& machine, const Rsdp& rsdp, std::span<base::Range> out,
                                     Diagnostics& diagnostics);

// What capture() asks of ACPI: the root pointer, and the ranges to reserve. In a source of its own,
// so that a kernel can leave all of ACPI out (PVH_WITHOUT_ACPI in pvh.hpp).
struct AcpiFound {
  std::optional<Rsdp> rsdp;
  AcpiRanges ranges;
};
[[nodiscard]] AcpiFound find_acpi(Machine& machine, const StartInfo& info, bool on_xen,
                                  std::span<base::Range> out, Diagnostics& diagnostics);

struct Processor {
  std::uint32_t apic_id = 0;
  std::uint32_t uid = 0;  // ACPI's number for it
  bool enabled = false;   // else it may be plugged in later

  friend constexpr bool operator==(const Processor&, const Processor&) = default;
};
// From the MADT's local APIC and x2APIC entries, each processor once. `needed` as above.
struct Processors {
  std::span<Processor> processors;
  std::size_t needed = 0;
};
[[nodiscard]] Processors acpi_processors(Machine& machine, const Rsdp& rsdp,
                                         std::span<Processor> out, Diagnostics& diagnostics);

// A register of one byte.
struct AcpiRegister {
  base::PhysAddr address;  // or a port
  bool is_port = false;

  friend constexpr bool operator==(const AcpiRegister&, const AcpiRegister&) = default;
};

// How to switch off and how to reset, by the FADT and the DSDT's \_S5 package.
struct AcpiPower {
  // Ports of PM1a and PM1b control, or on a hardware-reduced machine the sleep control register.
  std::optional<std::uint16_t> pm1a_control;
  std::optional<std::uint16_t> pm1b_control;
  std::optional<AcpiRegister> sleep_control;
  std::uint8_t sleep_type_a = 0;
  std::uint8_t sleep_type_b = 0;
  bool has_s5 = false;  // the DSDT names it
  std::optional<AcpiRegister> reset;
  std::uint8_t reset_value = 0;
};
// Nothing when there is no FADT.
[[nodiscard]] std::optional<AcpiPower> acpi_power(Machine& machine, const Rsdp& rsdp,
                                                  Diagnostics& diagnostics);

}  // namespace pvh::guest
