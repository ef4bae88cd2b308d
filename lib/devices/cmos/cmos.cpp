// SPDX-License-Identifier: BSD-2-Clause
// Source: Motorola MC146818A data sheet; the memory sizes as in the PC/AT and as SeaBIOS and QEMU
// keep them.
#include <algorithm>
#include <chrono>
#include <utility>

#include <pvh/base/checked.hpp>
#include <pvh/devices/cmos.hpp>

namespace pvh::devices {
namespace {

constexpr std::uint8_t kSeconds = 0x00;
constexpr std::uint8_t kMinutes = 0x02;
constexpr std::uint8_t kHours = 0x04;
constexpr std::uint8_t kWeekday = 0x06;
constexpr std::uint8_t kDay = 0x07;
constexpr std::uint8_t kMonth = 0x08;
constexpr std::uint8_t kYear = 0x09;
constexpr std::uint8_t kStatusA = 0x0a;
constexpr std::uint8_t kStatusB = 0x0b;
constexpr std::uint8_t kStatusC = 0x0c;
constexpr std::uint8_t kStatusD = 0x0d;
constexpr std::uint8_t kBaseMemory = 0x15;          // KiB, 16 bits
constexpr std::uint8_t kExtendedMemory = 0x17;      // KiB above 1 MiB, 16 bits
constexpr std::uint8_t kExtendedMemoryTwin = 0x30;  // the same again
constexpr std::uint8_t kMemoryAbove16M = 0x34;      // in 64 KiB, 16 bits
constexpr std::uint8_t kMemoryAbove4G = 0x5b;       // in 64 KiB, 24 bits

constexpr std::uint8_t kUpdateInProgress = 0x80;  // status A
constexpr std::uint8_t kDivider32KHz = 0x26;      // status A as firmware leaves it
constexpr std::uint8_t kBinary = 0x04;            // status B
constexpr std::uint8_t k24Hours = 0x02;           // status B
constexpr std::uint8_t kTimeValid = 0x80;         // status D
constexpr std::uint8_t kAfternoon = 0x80;         // in the hours, when they are 12

constexpr std::uint8_t kIndexMask = 0x7f;  // bit 7 of the index port masks NMI
constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kUnit = 64 * kKiB;
constexpr std::uint64_t kBaseMemoryKiB = 640;

std::uint64_t amount(std::uint64_t size, std::uint64_t from, std::uint64_t unit,
                     std::uint64_t most) {
  return std::min(base::checked_sub(size, from).value_or(0) / unit, most);
}

bool is_clock(std::uint8_t index) {
  switch (index) {
    case kSeconds:
    case kMinutes:
    case kHours:
    case kWeekday:
    case kDay:
    case kMonth:
    case kYear:
    case kCmosCentury:
      return true;
    default:
      return false;
  }
}

// A part of a date as a byte: none is above 99 but for years far from now, which wrap.
std::uint8_t encode(unsigned value, bool binary) {
  const unsigned part = value % 100;
  return static_cast<std::uint8_t>(binary ? part : part / 10 * 16 + part % 10);
}

}  // namespace

Cmos::Cmos(Options options) : now_(std::move(options.now)) {
  const auto put = [this](std::uint8_t index, std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) {
      cells_[index + i] = static_cast<std::uint8_t>(value >> (8 * i) & 0xff);
    }
  };
  const std::uint64_t low = options.below_4g.value();
  const std::uint64_t extended = amount(low, kKiB * kKiB, kKiB, UINT16_MAX);
  put(kBaseMemory, std::min(low / kKiB, kBaseMemoryKiB), 2);
  put(kExtendedMemory, extended, 2);
  put(kExtendedMemoryTwin, extended, 2);
  put(kMemoryAbove16M, amount(low, 16 * kKiB * kKiB, kUnit, UINT16_MAX), 2);
  put(kMemoryAbove4G, amount(options.above_4g.value(), 0, kUnit, 0xffffff), 3);
  cells_[kStatusA] = kDivider32KHz;
  cells_[kStatusB] = k24Hours;
  cells_[kStatusD] = kTimeValid;
}

void Cmos::read(std::uint64_t offset, base::MutableBytes data) {
  const std::scoped_lock lock(mutex_);
  for (std::size_t i = 0; i < data.size(); ++i) {
    // The index port cannot be read back.
    data[i] = offset + i == 1 ? std::byte{read_cell(index_)} : std::byte{0xff};
  }
}

Action Cmos::write(std::uint64_t offset, base::Bytes data) {
  const std::scoped_lock lock(mutex_);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const auto value = std::to_integer<std::uint8_t>(data[i]);
    if (offset + i == 0) {
      index_ = value & kIndexMask;
    } else if (index_ == kStatusA) {
      cells_[kStatusA] = static_cast<std::uint8_t>(value & ~unsigned{kUpdateInProgress} & 0xff);
    } else if (index_ != kStatusC && index_ != kStatusD && !is_clock(index_)) {
      cells_[index_] = value;
    }
  }
  return {};
}

std::uint8_t Cmos::read_cell(std::uint8_t index) const {
  return is_clock(index) ? read_clock(index) : cells_[index];
}

std::uint8_t Cmos::read_clock(std::uint8_t index) const {
  using std::chrono::days;
  using std::chrono::sys_days;
  const std::chrono::sys_seconds now{std::chrono::seconds(now_())};
  const sys_days today = std::chrono::floor<days>(now);
  const std::chrono::year_month_day date(today);
  const std::chrono::hh_mm_ss time(now - today);
  const auto year = static_cast<unsigned>(static_cast<int>(date.year()) % 10000);
  const bool binary = (cells_[kStatusB] & kBinary) != 0;
  switch (index) {
    case kSeconds:
      return encode(static_cast<unsigned>(time.seconds().count()), binary);
    case kMinutes:
      return encode(static_cast<unsigned>(time.minutes().count()), binary);
    case kHours: {
      const auto hour = static_cast<unsigned>(time.hours().count());
      if ((cells_[kStatusB] & k24Hours) != 0) {
        return encode(hour, binary);
      }
      const unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
      return static_cast<std::uint8_t>(encode(twelve, binary) | (hour >= 12 ? kAfternoon : 0u));
    }
    case kWeekday:  // Sunday is 1
      return encode(std::chrono::weekday(today).c_encoding() + 1, binary);
    case kDay:
      return encode(static_cast<unsigned>(date.day()), binary);
    case kMonth:
      return encode(static_cast<unsigned>(date.month()), binary);
    case kYear:
      return encode(year, binary);
    default:
      return encode(year / 100, binary);
  }
}

}  // namespace pvh::devices
