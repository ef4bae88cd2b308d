// SPDX-License-Identifier: BSD-2-Clause
// Between bytes and entries, in the two forms that a map travels in:
//
//   kTable    24 bytes: hvm_memmap_table_entry, what start_info version 1 points at
//   kPacked   20 bytes: e820entry, from XENMEM_memory_map, INT 15h (SMAP) and in Linux's zero page
//
// Everything is bounds-checked and copied, alignment does not matter. Reserved fields are ignored
// when read (they hold garbage in the field) and written as 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include <pvh/base/bytes.hpp>
#include <pvh/memory_map/map.hpp>

namespace pvh::memory_map {

enum class Form { kTable, kPacked };

[[nodiscard]] constexpr std::size_t entry_size(Form form) {
  return form == Form::kTable ? sizeof(abi::hvm_memmap_table_entry) : sizeof(abi::e820entry);
}

// The bytes of `count` entries, or nothing when no address space holds them.
[[nodiscard]] constexpr std::optional<std::uint64_t> encoded_size(Form form, std::uint64_t count) {
  return base::checked_mul(std::uint64_t{entry_size(form)}, count);
}

// Entry number `index`, or nothing when it is not all there.
[[nodiscard]] constexpr std::optional<RawEntry> decode_entry(Form form, base::Bytes bytes,
                                                             std::uint64_t index) {
  const auto offset = encoded_size(form, index);
  if (!offset) {
    return std::nullopt;
  }
  if (form == Form::kTable) {
    const auto entry = base::read_at<abi::hvm_memmap_table_entry>(bytes, *offset);
    return entry ? std::optional(RawEntry{entry->addr.get(), entry->size.get(), entry->type.get()})
                 : std::nullopt;
  }
  const auto entry = base::read_at<abi::e820entry>(bytes, *offset);
  return entry ? std::optional(RawEntry{entry->addr.get(), entry->size.get(), entry->type.get()})
               : std::nullopt;
}

// The first `count` entries, as the first part of `out`. kInputTooShort or kOutputTooSmall, and
// then `out` is unchanged.
[[nodiscard]] std::expected<std::span<RawEntry>, MapError> decode(Form form, base::Bytes bytes,
                                                                  std::uint64_t count,
                                                                  std::span<RawEntry> out);

// The bytes, as the first part of `out`; kOutputTooSmall with the bytes needed, and then `out` is
// unchanged. The second takes a normalised map: E820 output is encode(Form::kPacked, map, out).
[[nodiscard]] std::expected<base::MutableBytes, MapError> encode(Form form,
                                                                 std::span<const RawEntry> entries,
                                                                 base::MutableBytes out);
[[nodiscard]] std::expected<base::MutableBytes, MapError> encode(Form form,
                                                                 std::span<const Entry> map,
                                                                 base::MutableBytes out);

}  // namespace pvh::memory_map
