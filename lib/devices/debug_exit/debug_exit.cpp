// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/devices/debug_exit.hpp>

namespace pvh::devices {

void DebugExit::read(std::uint64_t /*offset*/, base::MutableBytes data) {
  std::ranges::fill(data, std::byte{0});
}

Action DebugExit::write(std::uint64_t /*offset*/, base::Bytes data) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < std::min(data.size(), sizeof(value)); ++i) {
    value |= std::to_integer<std::uint32_t>(data[i]) << (8 * i);
  }
  return {Request::kDebugExit, value};
}

}  // namespace pvh::devices
