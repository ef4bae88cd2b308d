// SPDX-License-Identifier: BSD-2-Clause
#include "process_start.hpp"

#include <fstream>
#include <string>

namespace pvh::cli {
namespace {

std::chrono::steady_clock::time_point main_start;

}  // namespace

void note_main_start() {
  main_start = std::chrono::steady_clock::now();
}

std::chrono::steady_clock::time_point process_start() {
  return main_start;
}

std::uint64_t peak_rss_kib() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    std::uint64_t value = 0;
    if (word == "VmHWM:" && status >> value) {
      return value;
    }
  }
  return 0;
}

}  // namespace pvh::cli
