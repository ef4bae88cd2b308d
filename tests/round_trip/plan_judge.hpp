// SPDX-License-Identifier: BSD-2-Clause
// What else must hold of a capture when it is known what the loader planned, and not only what the
// bytes say: the test's and the fuzzer's.
#pragma once

#include <string>
#include <vector>

#include "tests/round_trip/world.hpp"

namespace pvh::round_trip {

// Something that the loader put between the kernel's segments: then the kernel, which takes all
// from its first to its last byte for its own, cannot be started.
[[nodiscard]] bool is_interleaved(const World& world);

// Empty when the capture is the plan, else what is wrong.
[[nodiscard]] std::string compare_with_plan(World& world, const guest::Boot& boot);

// Empty when everything is free that may be.
[[nodiscard]] std::string name_lost(const Expectation& expected, const guest::Boot& boot);

// The boot data of a plan, in which a wrong byte may mislead a guest.
struct Target {
  std::string name;
  Wide first;
  Wide end;
};
[[nodiscard]] std::vector<Target> targets_of(const World& world);

}  // namespace pvh::round_trip
