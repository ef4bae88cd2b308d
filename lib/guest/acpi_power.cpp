// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <pvh/abi/acpi.hpp>
#include <pvh/base/checked.hpp>
#include <pvh/guest/acpi.hpp>

#include "internal/acpi_bytes.hpp"

namespace pvh::guest {
namespace {

// AML, ACPI 6.5 chapter 20.2: as much as Name(\_S5, Package() {type a, type b, ...}) takes.
constexpr std::byte kNameOp{0x08};
constexpr std::byte kRootChar{'\\'};
constexpr std::byte kPackageOp{0x12};
constexpr std::byte kZeroOp{0x00};
constexpr std::byte kOneOp{0x01};
constexpr std::byte kBytePrefix{0x0a};
constexpr std::byte kWordPrefix{0x0b};
constexpr std::byte kDwordPrefix{0x0c};
constexpr std::array kS5{std::byte{'_'}, std::byte{'S'}, std::byte{'5'}, std::byte{'_'}};

// SLP_TYP has three bits.
constexpr std::uint32_t kSleepTypeMask = 7;

struct SleepTypes {
  std::uint8_t a = 0;
  std::uint8_t b = 0;
};

// Takes bytes off the front of AML; nothing at its end.
class AmlReader {
 public:
  explicit AmlReader(base::Bytes bytes) : bytes_(bytes) {}

  std::optional<std::byte> byte() {
    if (bytes_.empty()) {
      return std::nullopt;
    }
    const std::byte first = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return first;
  }
  bool skip(std::size_t count) {
    if (count > bytes_.size()) {
      return false;
    }
    bytes_ = bytes_.subspan(count);
    return true;
  }
  std::optional<std::uint32_t> integer() {
    const auto prefix = byte();
    if (prefix == kZeroOp || prefix == kOneOp) {
      return std::to_integer<std::uint32_t>(*prefix);
    }
    const unsigned size = prefix == kBytePrefix    ? 1
                          : prefix == kWordPrefix  ? 2
                          : prefix == kDwordPrefix ? 4
                                                   : 0;
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
      const auto next = byte();
      if (!next) {
        return std::nullopt;
      }
      value |= std::to_integer<std::uint32_t>(*next) << (8 * i);
    }
    return size == 0 ? std::nullopt : std::optional(value);
  }

 private:
  base::Bytes bytes_;
};

// `bytes` begin behind the name.
std::optional<SleepTypes> read_package(base::Bytes bytes) {
  AmlReader reader(bytes);
  if (reader.byte() != kPackageOp) {
    return std::nullopt;
  }
  const auto lead = reader.byte();  // of PkgLength: its upper two bits count the bytes that follow
  if (!lead || !reader.skip(std::to_integer<std::size_t>(*lead >> 6))) {
    return std::nullopt;
  }
  const auto elements = reader.byte();
  const auto a = reader.integer();
  if (!elements || *elements == std::byte{0} || !a) {
    return std::nullopt;
  }
  // One element alone holds both, as ACPICA has it.
  const auto b = *elements == std::byte{1} ? std::optional(*a >> 8) : reader.integer();
  if (!b) {
    return std::nullopt;
  }
  return SleepTypes{.a = static_cast<std::uint8_t>(*a & kSleepTypeMask),
                    .b = static_cast<std::uint8_t>(*b & kSleepTypeMask)};
}

// The one name that is looked for, so its bytes will do for a parser.
std::optional<SleepTypes> find_s5(Machine& machine, base::Range dsdt) {
  // Two bytes before the name and all that read_package() may want behind it.
  constexpr std::size_t kBefore = 2;
  constexpr std::size_t kBehind = 16;
  constexpr std::size_t kAround = kBefore + kS5.size() + kBehind;
  std::array<std::byte, 256> buffer;
  const std::uint64_t size = dsdt.size().value();
  for (std::uint64_t at = sizeof(abi::acpi_table_header); at < size;) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(size - at, buffer.size()));
    const auto bytes = base::MutableBytes(buffer).first(part);
    if (!machine.read(base::PhysAddr(dsdt.first().value() + at), bytes)) {
      return std::nullopt;
    }
    for (std::size_t i = 1; i + kS5.size() <= part; ++i) {
      if (bytes[i] != kS5[0] || !std::ranges::equal(bytes.subspan(i, kS5.size()), kS5)) {
        continue;
      }
      const bool named = bytes[i - 1] == kNameOp ||
                         (i >= kBefore && bytes[i - 1] == kRootChar && bytes[i - 2] == kNameOp);
      const auto types = named ? read_package(bytes.subspan(i + kS5.size())) : std::nullopt;
      if (types) {
        return types;
      }
    }
    // The parts overlap by all that a package takes, so each is whole in one of them.
    at += part == size - at ? part : part - kAround;
  }
  return std::nullopt;
}

std::optional<std::uint16_t> port_of(std::uint64_t address) {
  return address == 0 ? std::nullopt : base::narrow<std::uint16_t>(address);
}

// The extended field if there is one, else the old one.
std::optional<std::uint16_t> control_port(const abi::acpi_generic_address& extended,
                                          std::uint32_t legacy) {
  if (extended.address.get() != 0 && extended.space_id == abi::ACPI_ADR_SPACE_SYSTEM_IO) {
    return port_of(extended.address.get());
  }
  return port_of(legacy);
}

std::optional<AcpiRegister> register_of(const abi::acpi_generic_address& place) {
  const base::PhysAddr address(place.address.get());
  if (place.space_id == abi::ACPI_ADR_SPACE_SYSTEM_IO && port_of(address.value())) {
    return AcpiRegister{.address = address, .is_port = true};
  }
  if (place.space_id == abi::ACPI_ADR_SPACE_SYSTEM_MEMORY && address != base::PhysAddr(0)) {
    return AcpiRegister{.address = address};
  }
  return std::nullopt;
}

}  // namespace

std::optional<AcpiPower> acpi_power(Machine& machine, const Rsdp& rsdp, Diagnostics& diagnostics) {
  const auto table = find_acpi_table(machine, rsdp, "FACP", diagnostics);
  const auto fadt =
      table ? acpi::read_prefix<abi::acpi_table_fadt>(machine, table->range) : std::nullopt;
  if (!fadt) {
    return std::nullopt;
  }
  AcpiPower power;
  const std::uint32_t flags = fadt->flags.get();
  if ((flags & abi::ACPI_FADT_HW_REDUCED) != 0) {
    power.sleep_control = register_of(fadt->sleep_control);
  } else {
    power.pm1a_control = control_port(fadt->xpm1a_control_block, fadt->pm1a_control_block.get());
    power.pm1b_control = control_port(fadt->xpm1b_control_block, fadt->pm1b_control_block.get());
  }
  if ((flags & abi::ACPI_FADT_RESET_REGISTER) != 0) {
    power.reset = register_of(fadt->reset_register);
    power.reset_value = fadt->reset_value;
  }

  const std::uint64_t extended = fadt->Xdsdt.get();
  const base::PhysAddr address(extended != 0 ? extended : fadt->dsdt.get());
  const auto dsdt =
      address == base::PhysAddr(0) ? std::nullopt : acpi::read_table(machine, address);
  if (!dsdt || !dsdt->right) {
    diagnostics.add(DiagnosticKind::kAcpiTableBad, address.value(),
                    std::bit_cast<std::uint32_t>(std::array{'D', 'S', 'D', 'T'}));
    return power;
  }
  if (const auto types = find_s5(machine, dsdt->range)) {
    power.has_s5 = true;
    power.sleep_type_a = types->a;
    power.sleep_type_b = types->b;
  }
  return power;
}

}  // namespace pvh::guest
