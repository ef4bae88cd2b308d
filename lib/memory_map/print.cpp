// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/memory_map/print.hpp>

namespace pvh::memory_map {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::array kUnits{"B"sv, "KiB"sv, "MiB"sv, "GiB"sv, "TiB"sv, "PiB"sv, "EiB"sv};
constexpr std::size_t kLongestUnit = 3;
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
  line.text("  ").decimal(quantity.count, kSizeColumn).text(" ").text(quantity.unit);
  line.spaces(kLongestUnit - quantity.unit.size()).text("  ");
  const std::string_view name = type_name(type);
  if (name.empty()) {
    line.text("type ").decimal(to_raw(type));
  } else {
    line.text(name);
  }
  line.text("\n");
}

struct Anomaly {
  std::uint64_t Report::* count;
  std::string_view what;
};
constexpr std::array<Anomaly, kAnomalies> kAnomalyTable{{
    {&Report::zero_length, "without a byte: skipped"},
    {&Report::wrapped_ram, "of RAM past the end of the address space: dropped"},
    {&Report::wrapped_other, "not of RAM past the end of the address space: cut off there"},
    {&Report::clipped, "beyond what the processor can address: cut off there"},
    {&Report::overlaps, "overlapping another: settled by type"},
    {&Report::unknown_types, "of unknown type: not used as RAM"},
    {&Report::sub_page_ram, "of RAM without one whole page: dropped"},
    {&Report::dropped_ranges, "of RAM for which there was no room: dropped"},
}};

}  // namespace

Line& Line::hex(std::uint64_t value) {
  text("0x");
  for (int shift = 60; shift >= 0; shift -= 4) {
    text("0123456789abcdef"sv.substr(value >> shift & 0xf, 1));
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
  return decimal(quantity.count, width).text(" ").text(quantity.unit);
}

std::string_view type_name(Type type) {
  switch (type) {
    case Type::kRam:
      return "RAM";
    case Type::kReserved:
      return "reserved";
    case Type::kAcpi:
      return "ACPI data";
    case Type::kNvs:
      return "ACPI NVS";
    case Type::kUnusable:
      return "unusable";
    case Type::kDisabled:
      return "disabled";
    case Type::kPmem:
      return "persistent memory";
    case Type::kUnaccepted:
      return "unaccepted";
  }
  return "";
}

Line format(const Entry& entry) {
  Line line;
  line.hex(entry.range.first().value()).text("-").hex(entry.range.last().value());
  finish(line, entry.range.size(), entry.type);
  return line;
}

Line format(const RawEntry& entry) {
  Line line;
  line.hex(entry.addr).text("+").hex(entry.size);
  finish(line, base::ByteSize(entry.size), Type{entry.type});
  return line;
}

Line format(const Statistics& statistics) {
  Line line;
  line.text("RAM: ").size(statistics.ram).text(" in ").decimal(statistics.ram_ranges);
  line.text(statistics.ram_ranges == 1 ? " range" : " ranges");
  if (statistics.last_below_4g) {
    line.text(", to ").hex(statistics.last_below_4g->value());
  }
  if (statistics.last_above_4g) {
    line.text(", above 4 GiB to ").hex(statistics.last_above_4g->value());
  }
  if (statistics.largest) {
    line.text(", largest ").size(statistics.largest->size());
  }
  line.text("\n");
  return line;
}

std::optional<Line> format_anomaly(const Report& report, std::size_t index) {
  if (index >= kAnomalies || report.*kAnomalyTable[index].count == 0) {
    return std::nullopt;
  }
  const Anomaly& anomaly = kAnomalyTable[index];
  const std::uint64_t count = report.*anomaly.count;
  Line line;
  line.decimal(count).text(count == 1 ? " entry " : " entries ").text(anomaly.what);
  if (anomaly.count == &Report::dropped_ranges) {
    line.text(" (").size(report.dropped_ram).text(")");
  }
  line.text("\n");
  return line;
}

}  // namespace pvh::memory_map
