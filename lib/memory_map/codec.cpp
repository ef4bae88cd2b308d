// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/memory_map/codec.hpp>

namespace pvh::memory_map {
namespace {

void encode_entry(Form form, const RawEntry& entry, base::MutableBytes out) {
  const base::Le64 addr(entry.addr);
  const base::Le64 size(entry.size);
  const base::Le32 type(entry.type);
  if (form == Form::kTable) {
    std::ranges::copy(base::to_bytes(abi::hvm_memmap_table_entry{addr, size, type, base::Le32(0)}),
                      out.begin());
  } else {
    std::ranges::copy(base::to_bytes(abi::e820entry{addr, size, type}), out.begin());
  }
}

RawEntry as_raw(const RawEntry& entry) {
  return entry;
}
RawEntry as_raw(const Entry& entry) {
  return to_raw(entry);
}

template <typename T>
std::expected<base::MutableBytes, MapError> encode_all(Form form, std::span<const T> entries,
                                                       base::MutableBytes out) {
  const std::size_t stride = entry_size(form);
  const std::uint64_t needed = encoded_size(form, entries.size()).value_or(UINT64_MAX);
  if (out.size() < needed) {
    return std::unexpected(MapError{MapErrorCode::kOutputTooSmall, needed});
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    encode_entry(form, as_raw(entries[i]), out.subspan(i * stride, stride));
  }
  return out.first(static_cast<std::size_t>(needed));
}

}  // namespace

std::expected<std::span<RawEntry>, MapError> decode(Form form, base::Bytes bytes,
                                                    std::uint64_t count, std::span<RawEntry> out) {
  const auto needed = encoded_size(form, count);
  if (!needed || *needed > bytes.size()) {
    return std::unexpected(MapError{MapErrorCode::kInputTooShort, needed.value_or(UINT64_MAX)});
  }
  if (count > out.size()) {
    return std::unexpected(MapError{MapErrorCode::kOutputTooSmall, count});
  }
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = *decode_entry(form, bytes, i);
  }
  return out.first(static_cast<std::size_t>(count));
}

std::expected<base::MutableBytes, MapError> encode(Form form, std::span<const RawEntry> entries,
                                                   base::MutableBytes out) {
  return encode_all(form, entries, out);
}

std::expected<base::MutableBytes, MapError> encode(Form form, std::span<const Entry> map,
                                                   base::MutableBytes out) {
  return encode_all(form, map, out);
}

}  // namespace pvh::memory_map
