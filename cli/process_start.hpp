// SPDX-License-Identifier: BSD-2-Clause
// What this process knows of itself, for --stats.
#pragma once

#include <chrono>
#include <cstdint>

namespace pvh::cli {

// The first statement of main(): what stands before it is the dynamic loader's and the C library's.
[[nodiscard]] std::chrono::steady_clock::time_point process_start();

// Called first in main().
void note_main_start();

[[nodiscard]] std::uint64_t peak_rss_kib();

}  // namespace pvh::cli
