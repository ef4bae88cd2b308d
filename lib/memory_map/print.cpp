// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/memory_map/print.hpp>

namespace pvh::memory_map {
namespace {

// A literal without it may become a strlen at run time, which a kernel has not.
using std::string_view_literals::operator""sv;

constexpr std::array kUnits{"B"sv, "KiB"sv, "MiB"sv, "GiB"sv, "TiB"sv, "PiB"sv, "EiB"sv};
constexpr std::size_t kLongestUnit = std::ranges::max(kUnits, {}, &std::string_view::size).size();
constexpr std::size_t kSizeColumn = 7;

struct Quantity {
  std::uint64_t count;
  std::string_view unit;
};

// Exact: a size is never rounded for the sake of a larger unit.
Quantity in_largest_unit(base::ByteSize bytes) {
  std::uint64_t count = bytes.value();
  std::size_t unit = 0;
  while (count != 0 && count % 1024 == 0 && unit + 1 < kUnits.size()) {
    count /= 1024;
    ++unit;
  }
  return {count, kUnits[unit]};
}

// "    639 KiB  RAM\n", the end of every entry's line.
void finish(Line& line, base::ByteSize size, Type type) {
  const Quantity quantity = in_largest_unit(size);
  line.text("  "sv).decimal(quantity.count, kSizeColumn).text(" "sv).text(quantity.unit);
  line.spaces(kLongestUnit - quantity.unit.size()).text("  "sv);
  const std::string_view name = type_name(type);
  if (name.empty()) {
    line.text("type "sv).decimal(to_raw(type));
  } else {
    line.text(name);
  }
  line.text("\n"sv);
}

struct Anomaly {
  std::uint64_t Report::* count;
  std::string_view what;
};
constexpr std::array<Anomaly, kAnomalies> kAnomalyTable{{
    {&Report::zero_length, "without a byte: skipped"sv},
    {&Report::wrapped_ram, "of RAM past the end of the address space: dropped"sv},
    {&Report::wrapped_other, "not of RAM past the end of the address space: cut off there"sv},
    {&Report::clipped, "beyond what the processor can address: cut off there"sv},
    {&Report::overlaps, "overlapping another: settled by type"sv},
    {&Report::unknown_types, "of unknown type: not used as RAM"sv},
    {&Report::sub_page_ram, "of RAM without one whole page: dropped"sv},
    {&Report::dropped_ranges, "of RAM for which there was no room: dropped"sv},
}};

}  // namespace

Line& Line::hex(std::uint64_t value) {
  text("0x"sv);
  for (int shift = 60; shift >= 0; shift -= 4) {
    put("0123456789abcdef"[value >> shift & 0xf]);
  }
  return *this;
}

Line& Line::decimal(std::uint64_t value, std::size_t width) {
  std::array<char, 20> digits;  // 2^64 has twenty
  std::size_t start = digits.size();
  do {
    digits[--start] = "0123456789"[value % 10];
    value /= 10;
  } while (value != 0);
  const std::size_t count = digits.size() - start;
  spaces(width > count ? width - count : 0);
  return text({digits.data() + start, count});
}

Line& Line::size(base::ByteSize bytes, std::size_t width) {
  const Quantity quantity = in_largest_unit(bytes);
  return decimal(quantity.count, width).text(" "sv).text(quantity.unit);
}

std::string_view type_name(Type type) {
  switch (type) {
    case Type::kRam:
      return "RAM"sv;
    case Type::kReserved:
      return "reserved"sv;
    case Type::kAcpi:
      return "ACPI data"sv;
    case Type::kNvs:
      return "ACPI NVS"sv;
    case Type::kUnusable:
      return "unusable"sv;
    case Type::kDisabled:
      return "disabled"sv;
    case Type::kPmem:
      return "persistent memory"sv;
    case Type::kUnaccepted:
      return "unaccepted"sv;
  }
  return ""sv;
}

Line format(const Entry& entry) {
  Line line;
  line.hex(entry.range.first().value()).text("-"sv).hex(entry.range.last().value());
  finish(line, entry.range.size(), entry.type);
  return line;
}

Line format(const RawEntry& entry) {
  Line line;
  line.hex(entry.addr).text("+"sv).hex(entry.size);
  finish(line, base::ByteSize(entry.size), Type{entry.type});
  return line;
}

Line format(const Statistics& statistics) {
  Line line;
  line.text("RAM: "sv).size(statistics.ram).text(" in "sv).decimal(statistics.ram_ranges);
  line.text(statistics.ram_ranges == 1 ? " range"sv : " ranges"sv);
  if (statistics.last_below_4g) {
    line.text(", to "sv).hex(statistics.last_below_4g->value());
  }
  if (statistics.last_above_4g) {
    line.text(", above 4 GiB to "sv).hex(statistics.last_above_4g->value());
  }
  if (statistics.largest) {
    line.text(", largest "sv).size(statistics.largest->size());
  }
  line.text("\n"sv);
  return line;
}

std::optional<Line> format_anomaly(const Report& report, std::size_t index) {
  if (index >= kAnomalies || report.*kAnomalyTable[index].count == 0) {
    return std::nullopt;
  }
  const Anomaly& anomaly = kAnomalyTable[index];
  const std::uint64_t count = report.*anomaly.count;
  Line line;
  line.decimal(count).text(count == 1 ? " entry "sv : " entries "sv).text(anomaly.what);
  if (anomaly.count == &Report::dropped_ranges) {
    line.text(" ("sv).size(report.dropped_ram).text(")"sv);
  }
  line.text("\n"sv);
  return line;
}

}  // namespace pvh::memory_map
