// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/power.hpp"

#include "bsd-walk/claims.hpp"
#include "bsd-walk/machine.hpp"
#include "common/aml.hpp"

namespace pvh::kernels::bsd {

namespace {

constexpr std::uint16_t kDebugExit = 0xf4;
constexpr std::uint16_t kKeyboardCommand = 0x64;

void write(const abi::acpi_generic_address& where, std::uint8_t value) {
  if (where.space_id == abi::ACPI_ADR_SPACE_SYSTEM_IO) {
    out8(static_cast<std::uint16_t>(where.address.get()), value);
  } else if (within(kDirectReach, where.address.get(), 1)) {
    *reinterpret_cast<volatile std::uint8_t*>(where.address.get() + kDirectMap) = value;
  }
}

// sys/contrib/dev/acpica: AcpiHwExtendedSleep() and AcpiHwLegacySleep()
void sleep(const abi::acpi_table_fadt& fadt, std::uint8_t type) {
  if ((fadt.flags.get() & abi::ACPI_FADT_HW_REDUCED) != 0) {
    write(fadt.sleep_control, static_cast<std::uint8_t>(unsigned{type} << 2 | 1u << 5));
  } else {
    out16(static_cast<std::uint16_t>(fadt.pm1a_control_block.get()),
          static_cast<std::uint16_t>(unsigned{type} << 10 | 1u << 13));
  }
}

}  // namespace

void finish(const Acpi& acpi, const Environment& environment, bool conforming) {
  if (environment.has("debug-exit"sv)) {
    out8(kDebugExit, conforming ? 0x10 : 0x11);
  }
  if (acpi.fadt) {
    if (const auto type = aml::sleep_type(acpi.dsdt); type) {
      sleep(*acpi.fadt, *type);
    }
    if ((acpi.fadt->flags.get() & abi::ACPI_FADT_RESET_REGISTER) != 0) {
      write(acpi.fadt->reset_register, acpi.fadt->reset_value);
    }
  }
  out8(kKeyboardCommand, 0xfe);
  for (;;) {
    asm volatile("cli; hlt");
  }
}

}  // namespace pvh::kernels::bsd
