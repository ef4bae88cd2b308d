// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <pvh/base/checked.hpp>
#include <pvh/devices/bus.hpp>

namespace pvh::devices {
namespace {

constexpr std::byte kNobody{0xff};

}  // namespace

base::Explanation explain(BusError code) {
  switch (code) {
    case BusError::kOverlap:
      return {"two devices claim the same address", ""};
    case BusError::kEmptyRange:
      return {"a device claims no address, or more than there are", ""};
  }
  return {"unknown error", ""};
}

void Device::read_string(std::uint64_t offset, base::MutableBytes data, std::size_t width) {
  for (std::size_t at = 0; at < data.size(); at += width) {
    read(offset, data.subspan(at, width));
  }
}

Action Device::write_string(std::uint64_t offset, base::Bytes data, std::size_t width) {
  for (std::size_t at = 0; at < data.size(); at += width) {
    const Action action = write(offset, data.subspan(at, width));
    if (action.kind != Request::kNone) {
      return action;
    }
  }
  return {};
}

std::expected<void, BusFault> DeviceTable::add(std::uint64_t first, std::uint64_t count,
                                               Device& device) {
  const auto last = count == 0 ? std::nullopt : base::checked_add(first, count - 1);
  if (!last || *last > limit_) {
    return std::unexpected(BusFault{BusError::kEmptyRange,
                                    fmt::format("{:#x} addresses at {:#x}", count, first),
                                    std::nullopt});
  }
  const auto after = std::ranges::upper_bound(entries_, first, {}, &Entry::first);
  const bool meets_before = after != entries_.begin() && std::prev(after)->last >= first;
  const bool meets_after = after != entries_.end() && after->first <= *last;
  if (meets_before || meets_after) {
    const Entry& other = meets_before ? *std::prev(after) : *after;
    return std::unexpected(
        BusFault{BusError::kOverlap,
                 fmt::format("{:#x}-{:#x} and {:#x}-{:#x}", other.first, other.last, first, *last),
                 std::nullopt});
  }
  entries_.insert(after, Entry{first, *last, &device});
  return {};
}

const DeviceTable::Entry* DeviceTable::find(std::uint64_t address) const {
  const auto after = std::ranges::upper_bound(entries_, address, {}, &Entry::first);
  if (after == entries_.begin()) {
    return nullptr;
  }
  const Entry& entry = *std::prev(after);
  return address <= entry.last ? &entry : nullptr;
}

const DeviceTable::Entry* DeviceTable::find_whole(std::uint64_t address, std::size_t width) const {
  const Entry* const entry = find(address);
  return entry != nullptr && width - 1 <= entry->last - address ? entry : nullptr;
}

void DeviceTable::read_bytes(std::uint64_t address, base::MutableBytes data) const {
  for (std::size_t i = 0; i < data.size(); ++i) {
    const auto at = base::checked_add(address, std::uint64_t{i});
    const Entry* const entry = at ? find(*at) : nullptr;
    if (entry == nullptr) {
      data[i] = kNobody;
    } else {
      entry->device->read(*at - entry->first, data.subspan(i, 1));
    }
  }
}

Action DeviceTable::write_bytes(std::uint64_t address, base::Bytes data) const {
  for (std::size_t i = 0; i < data.size(); ++i) {
    const auto at = base::checked_add(address, std::uint64_t{i});
    const Entry* const entry = at ? find(*at) : nullptr;
    if (entry == nullptr) {
      continue;
    }
    const Action action = entry->device->write(*at - entry->first, data.subspan(i, 1));
    if (action.kind != Request::kNone) {
      return action;
    }
  }
  return {};
}

void DeviceTable::read(std::uint64_t address, base::MutableBytes data, std::size_t width) const {
  if (width == 0 || data.size() < width) {
    return;
  }
  const base::MutableBytes whole = data.first(data.size() - data.size() % width);
  if (const Entry* const entry = find_whole(address, width)) {
    const std::uint64_t offset = address - entry->first;
    if (whole.size() == width) {
      entry->device->read(offset, whole);
    } else {
      entry->device->read_string(offset, whole, width);
    }
    return;
  }
  for (std::size_t at = 0; at < whole.size(); at += width) {
    read_bytes(address, whole.subspan(at, width));
  }
}

Action DeviceTable::write(std::uint64_t address, base::Bytes data, std::size_t width) const {
  if (width == 0 || data.size() < width) {
    return {};
  }
  const base::Bytes whole = data.first(data.size() - data.size() % width);
  if (const Entry* const entry = find_whole(address, width)) {
    const std::uint64_t offset = address - entry->first;
    return whole.size() == width ? entry->device->write(offset, whole)
                                 : entry->device->write_string(offset, whole, width);
  }
  for (std::size_t at = 0; at < whole.size(); at += width) {
    const Action action = write_bytes(address, whole.subspan(at, width));
    if (action.kind != Request::kNone) {
      return action;
    }
  }
  return {};
}

}  // namespace pvh::devices
