// SPDX-License-Identifier: BSD-2-Clause
// sys/x86/xen/pv.c: what the loader handed over.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include <pvh/abi/start_info.hpp>

namespace pvh::kernels::bsd {

// The command line, copied before anything is overwritten, and its words as a kernel environment.
class Environment {
 public:
  // False when it has no end where the bootstrap tables reach, or is longer than any loader's.
  bool copy(std::uint64_t address);
  [[nodiscard]] std::uint64_t size() const { return size_; }

  // boot_parse_arg(): of NAME=VALUE the value, decimal or 0x...
  [[nodiscard]] std::optional<std::uint64_t> number(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view word) const;
  // The value of the `index`th NAME=VALUE, or nothing.
  [[nodiscard]] std::optional<std::string_view> value(std::string_view name,
                                                      unsigned index = 0) const;

 private:
  std::array<char, 64 * 1024> text_{};
  std::uint64_t size_ = 0;
};

// Digits at the start of `text`, which loses them.
std::uint64_t take_number(std::string_view& text);

struct Boot {
  std::uint64_t address;  // of start_info
  abi::hvm_start_info info;
  std::uint64_t physfree;
};

// hammer_time_xen() and xen_pvh_parse_preload_data(). False: FreeBSD ends here.
bool read_start_info(std::uint32_t address, Boot& boot, Environment& environment);

}  // namespace pvh::kernels::bsd
