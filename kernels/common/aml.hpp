// SPDX-License-Identifier: BSD-2-Clause
// What is looked for in a DSDT by its bytes: an operating system interprets it. ACPI 6.5, 6.4.3.4
// and 6.4.3.6 for the descriptors, 20.2 for the opcodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pvh::kernels::aml {

struct MmioDevice {
  std::uint32_t address;
  std::uint32_t size;
  std::uint32_t interrupt;
};

namespace internal {

using std::string_view_literals::operator""sv;

inline constexpr std::uint8_t kMemory32Fixed = 0x86, kInterrupt = 0x89;
inline constexpr std::uint8_t kPackageOp = 0x12, kBytePrefix = 0x0a;

constexpr std::uint8_t byte(std::string_view aml, std::size_t at) {
  return static_cast<std::uint8_t>(aml[at]);
}

constexpr std::uint32_t number(std::string_view aml, std::size_t at, unsigned bytes) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) {
    value |= std::uint32_t{byte(aml, at + i)} << 8 * i;
  }
  return value;
}

// Where the large descriptor of this type begins, up to the next device's _HID.
constexpr std::optional<std::size_t> descriptor(std::string_view aml, std::uint8_t type,
                                                std::uint16_t length) {
  for (std::size_t at = 0; at + 3 + length <= aml.size(); ++at) {
    const std::string_view rest(aml.data() + at, aml.size() - at);
    if (rest.starts_with("_HID"sv)) {
      break;
    }
    if (byte(rest, 0) == type && number(rest, 1, 2) == length) {
      return at;
    }
  }
  return std::nullopt;
}

}  // namespace internal

// The first device LNRO0005, with its Memory32Fixed and Interrupt descriptors; `aml` becomes what
// follows. A device without either is none.
constexpr std::optional<MmioDevice> next_virtio(std::string_view& aml) {
  using namespace internal;
  for (; !aml.empty(); aml.remove_prefix(1)) {
    if (!aml.starts_with("LNRO0005"sv)) {
      continue;
    }
    aml.remove_prefix(8);
    const auto memory = descriptor(aml, kMemory32Fixed, 9);
    const auto interrupt = descriptor(aml, kInterrupt, 6);
    if (memory && interrupt) {
      return MmioDevice{number(aml, *memory + 4, 4), number(aml, *memory + 8, 4),
                        number(aml, *interrupt + 5, 4)};
    }
  }
  return std::nullopt;
}

// The first number of \_S5.
constexpr std::optional<std::uint8_t> sleep_type(std::string_view aml) {
  using namespace internal;
  // The shortest: the name, the opcode, a length of one byte, the number, and one byte each.
  for (; aml.size() >= 9; aml.remove_prefix(1)) {
    if (aml.starts_with("_S5_"sv) && byte(aml, 4) == kPackageOp) {
      // PkgLength of up to four bytes, the number of elements, the first of them.
      const std::size_t element = 5 + 1 + (byte(aml, 5) >> 6) + 1u;
      if (element + 1 >= aml.size()) {
        return std::nullopt;
      }
      return byte(aml, element) == kBytePrefix ? byte(aml, element + 1) : byte(aml, element);
    }
  }
  return std::nullopt;
}

}  // namespace pvh::kernels::aml
