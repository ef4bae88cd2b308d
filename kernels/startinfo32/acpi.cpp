// SPDX-License-Identifier: BSD-2-Clause
#include "startinfo32/acpi.hpp"

#include "common32/io.hpp"

namespace pvh::kernels::acpi {

namespace {

constexpr uint32_t kRsdpRevision = 15, kRsdpRsdt = 16, kRsdpXsdt = 24;
constexpr uint32_t kTableLength = 4, kTableHeaderSize = 36;
constexpr uint32_t kFadtDsdt = 40, kFadtPm1aControl = 64, kFadtResetRegister = 116,
                   kFadtResetValue = 128, kFadtXDsdt = 140, kFadtSleepControl = 244,
                   kFadtSizeWithSleepControl = 268;
constexpr uint32_t kFadtSizeWithReset = kFadtResetValue + 1;
constexpr uint32_t kAddressInGas = 4;
constexpr uint8_t kSystemMemory = 0;
constexpr uint8_t kSystemIo = 1;

constexpr uint32_t kFacp = 0x5043'4146;    // "FACP"
constexpr uint32_t kS5Name = 0x5f35'535f;  // "_S5_"
constexpr uint8_t kPackageOp = 0x12;
constexpr uint8_t kBytePrefix = 0x0a;

uint32_t low32(uint64_t value) {
  return static_cast<uint32_t>(value);
}

// The FADT's address, or 0.
uint32_t find_fadt(uint32_t rsdp) {
  if (rsdp == 0) {
    return 0;
  }
  const bool extended = read8(rsdp + kRsdpRevision) >= 2;
  const uint32_t root = extended ? low32(read64(rsdp + kRsdpXsdt)) : read32(rsdp + kRsdpRsdt);
  const uint32_t width = extended ? 8 : 4;
  const uint32_t end = root + read32(root + kTableLength);
  for (uint32_t at = root + kTableHeaderSize; at + width <= end; at += width) {
    const uint32_t table = read32(at);
    if (read32(table) == kFacp) {
      return table;
    }
  }
  return 0;
}

bool write_register(uint32_t generic_address, uint8_t value) {
  const uint8_t space = read8(generic_address);
  const uint32_t address = read32(generic_address + kAddressInGas);
  if (address == 0) {
    return false;
  }
  if (space == kSystemIo) {
    out8(static_cast<uint16_t>(address), value);
  } else if (space == kSystemMemory) {
    write8(address, value);
  }
  return space == kSystemIo || space == kSystemMemory;
}

// The first number of \_S5: the sleep type. The one name of the DSDT that is looked for, so its
// bytes will do for a parser: Name(_S5, Package(...) { type, ...
uint8_t sleep_type_of_s5(uint32_t fadt) {
  const bool has_extended = read32(fadt + kTableLength) >= kFadtXDsdt + 8;
  const uint64_t extended = has_extended ? read64(fadt + kFadtXDsdt) : 0;
  const uint32_t dsdt = extended != 0 ? low32(extended) : read32(fadt + kFadtDsdt);
  const uint32_t end = dsdt + read32(dsdt + kTableLength);
  for (uint32_t at = dsdt + kTableHeaderSize; at + 9 <= end; ++at) {
    if (read32(at) != kS5Name || read8(at + 4) != kPackageOp) {
      continue;
    }
    const uint32_t length_bytes = 1 + (read8(at + 5) >> 6);
    const uint32_t element = at + 5 + length_bytes + 1;
    return read8(element) == kBytePrefix ? read8(element + 1) : read8(element);
  }
  return 0;
}

}  // namespace

bool power_off(uint64_t rsdp) {
  constexpr uint8_t kSleepEnable = 1u << 5;
  constexpr uint16_t kPm1SleepEnable = 1u << 13;
  const uint32_t fadt = find_fadt(low32(rsdp));
  if (fadt == 0) {
    return false;
  }
  const uint8_t type = sleep_type_of_s5(fadt);
  const uint8_t sleep = static_cast<uint8_t>(type << 2 | kSleepEnable);
  if (read32(fadt + kTableLength) >= kFadtSizeWithSleepControl &&
      write_register(fadt + kFadtSleepControl, sleep)) {
    return true;
  }
  const uint32_t pm1 = read32(fadt + kFadtPm1aControl);
  if (pm1 == 0) {
    return false;
  }
  out16(static_cast<uint16_t>(pm1), static_cast<uint16_t>(type << 10 | kPm1SleepEnable));
  return true;
}

bool reset(uint64_t rsdp) {
  const uint32_t fadt = find_fadt(low32(rsdp));
  return fadt != 0 && read32(fadt + kTableLength) >= kFadtSizeWithReset &&
         write_register(fadt + kFadtResetRegister, read8(fadt + kFadtResetValue));
}

}  // namespace pvh::kernels::acpi
