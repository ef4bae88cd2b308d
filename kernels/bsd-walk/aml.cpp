// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/aml.hpp"

#include <string_view>

#include "bsd-walk/machine.hpp"

namespace pvh::kernels::bsd::aml {

namespace {

using std::string_view_literals::operator""sv;

// ACPI 6.5, 6.4.3.4 and 6.4.3.6; 20.2 for the opcodes.
constexpr std::uint8_t kMemory32Fixed = 0x86, kInterrupt = 0x89;
constexpr std::uint8_t kPackageOp = 0x12, kBytePrefix = 0x0a;

bool is(std::uint64_t at, std::uint64_t end, std::string_view text) {
  for (const char c : text) {
    if (at == end || read<char>(at++) != c) {
      return false;
    }
  }
  return true;
}

// Where the large descriptor of this type begins, up to the next device's _HID.
std::uint64_t descriptor(std::uint64_t at, std::uint64_t end, std::uint8_t type,
                         std::uint16_t length) {
  for (; at + 3 + length <= end && !is(at, end, "_HID"sv); ++at) {
    if (read<std::uint8_t>(at) == type && read<base::Le16>(at + 1).get() == length) {
      return at;
    }
  }
  return 0;
}

}  // namespace

std::optional<MmioDevice> next_virtio(std::uint64_t& at, std::uint64_t end) {
  for (; at < end; ++at) {
    if (!is(at, end, "LNRO0005"sv)) {
      continue;
    }
    at += 8;
    const std::uint64_t memory = descriptor(at, end, kMemory32Fixed, 9);
    const std::uint64_t interrupt = descriptor(at, end, kInterrupt, 6);
    if (memory != 0 && interrupt != 0) {
      return MmioDevice{read<base::Le32>(memory + 4).get(), read<base::Le32>(memory + 8).get(),
                        read<base::Le32>(interrupt + 5).get()};
    }
  }
  return std::nullopt;
}

std::optional<std::uint8_t> sleep_type(std::uint64_t at, std::uint32_t size) {
  const std::uint64_t end = at + size;
  // The shortest: the name, the opcode, a length of one byte, the number, and one byte each.
  for (; at + 9 <= end; ++at) {
    if (is(at, end, "_S5_"sv) && read<std::uint8_t>(at + 4) == kPackageOp) {
      // PkgLength of up to four bytes, the number of elements, the first of them.
      const std::uint64_t element = at + 5 + 1 + (read<std::uint8_t>(at + 5) >> 6) + 1;
      const auto value = read<std::uint8_t>(element);
      return value == kBytePrefix ? read<std::uint8_t>(element + 1) : value;
    }
  }
  return std::nullopt;
}

}  // namespace pvh::kernels::bsd::aml
