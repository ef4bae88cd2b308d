// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/base/checked.hpp>
#include <pvh/devices/debug_console.hpp>

namespace pvh::devices {

void DebugConsole::read(std::uint64_t /*offset*/, base::MutableBytes data) {
  std::ranges::fill(data, std::byte{0xe9});
}

Action DebugConsole::write(std::uint64_t /*offset*/, base::Bytes data) {
  const std::scoped_lock lock(mutex_);
  if (lost_) {
    return {};
  }
  const int error = sink_.write(data);
  lost_ = error != 0;
  return lost_ ? Action{Request::kOutputLost, base::narrow<std::uint32_t>(error).value_or(0)}
               : Action{};
}

Action DebugConsole::write_string(std::uint64_t offset, base::Bytes data, std::size_t /*width*/) {
  return write(offset, data);
}

}  // namespace pvh::devices
