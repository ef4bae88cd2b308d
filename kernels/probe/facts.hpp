// SPDX-License-Identifier: BSD-2-Clause
// What the probe finds out by itself, from start_info's bytes and the pointers in them, so that the
// runtime can be measured against it: where everything in use lies, and its bytes as they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <pvh/abi/start_info.hpp>
#include <pvh/guest/pvh.hpp>

namespace pvh::kernels::probe {

// Something in memory that nobody may overwrite.
struct Piece {
  std::string_view name;
  std::uint32_t index = 0;  // of modules
  base::Range range = *base::Range::from_last(base::PhysAddr(0), base::PhysAddr(0));
  bool is_boot_data = false;           // handed over by the loader as such
  std::optional<std::uint32_t> sum{};  // nothing: it cannot be read, or changes by itself
};

inline constexpr std::size_t kMostPieces = 192;
inline constexpr std::uint32_t kMostModulesLookedAt = 32;

class Facts {
 public:
  explicit Facts(guest::Boot& boot);

  [[nodiscard]] guest::Boot& boot() const { return *boot_; }
  [[nodiscard]] guest::Machine& machine() const { return boot_->machine(); }
  [[nodiscard]] const abi::hvm_start_info& info() const { return info_; }
  // 40 or 56 bytes of it are the structure.
  [[nodiscard]] bool has_map_fields() const { return info_.version.get() >= 1; }
  [[nodiscard]] std::span<const Piece> pieces() const { return {pieces_, count_}; }
  [[nodiscard]] base::Range image() const;

  // The record, as far as it can be read.
  [[nodiscard]] std::optional<abi::hvm_modlist_entry> module(std::uint32_t index) const;
  [[nodiscard]] std::optional<abi::hvm_memmap_table_entry> map_entry(std::uint32_t index) const;
  // Length of the string without its NUL; nothing when there is none within 64 KiB.
  [[nodiscard]] std::optional<std::uint64_t> string_length(base::PhysAddr address) const;

  // The pieces that a given piece overlaps; nullptr when there is none.
  [[nodiscard]] const Piece* overlapped(const Piece& piece) const;

 private:
  void add(std::string_view name, std::uint64_t address, std::uint64_t size,
           bool is_boot_data = true, std::uint32_t index = 0);
  void add_string(std::string_view name, std::uint64_t address, std::uint32_t index = 0);
  void add_modules();
  void add_acpi();

  guest::Boot* boot_;
  abi::hvm_start_info info_{};
  Piece pieces_[kMostPieces];
  std::size_t count_ = 0;
};

// How the entries of the map as handed over see a range.
struct Coverage {
  bool all_ram = false;     // every byte is in entries of type RAM
  bool none = false;        // no byte is in any entry
  bool some_other = false;  // an entry that is not RAM has a byte of it
};
[[nodiscard]] Coverage coverage(std::span<const memory_map::RawEntry> map, base::Range range);
// Nothing for an entry without a byte, or one that wraps.
[[nodiscard]] std::optional<base::Range> range_of(const memory_map::RawEntry& entry);

}  // namespace pvh::kernels::probe
