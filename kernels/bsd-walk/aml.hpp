// SPDX-License-Identifier: BSD-2-Clause
// The two things that are looked for in the DSDT, by their bytes: FreeBSD interprets it.
#pragma once

#include <cstdint>
#include <optional>

namespace pvh::kernels::bsd::aml {

struct MmioDevice {
  std::uint32_t address;
  std::uint32_t size;
  std::uint32_t interrupt;
};

// The first device LNRO0005 from `at` on, with its Memory32Fixed and Interrupt descriptors; moves
// `at` behind it. A device without either is none.
std::optional<MmioDevice> next_virtio(std::uint64_t& at, std::uint64_t end);

// The first number of \_S5.
std::optional<std::uint8_t> sleep_type(std::uint64_t at, std::uint32_t size);

}  // namespace pvh::kernels::bsd::aml
