// SPDX-License-Identifier: BSD-2-Clause
// Random bytes as everything that ACPI is: what comes out lies inside what was asked for, and the
// sums of what is called right are right. The first byte says how many of the checksums are put
// right, so that deeper readers get something to read.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <pvh/abi/acpi.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/guest/acpi.hpp>

#include "lib/guest/testing/fake_machine.hpp"

namespace {

using namespace pvh;
using namespace pvh::guest;

constexpr std::uint64_t kBase = 0xe0000;
constexpr std::size_t kRsdpRoom = 48;
// Where the seed's pointers lead to, one after the other.
constexpr std::array<std::size_t, 5> kTables{kRsdpRoom, 0x80, 0x100, 0x220, 0x300};

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

unsigned sum(std::span<const std::byte> bytes) {
  unsigned total = 0;
  for (const std::byte byte : bytes) {
    total += std::to_integer<unsigned>(byte);
  }
  return total & 0xff;
}

void put_right(std::span<std::byte> bytes, std::size_t checksum_at) {
  if (checksum_at < bytes.size()) {
    bytes[checksum_at] = std::byte{0};
    bytes[checksum_at] = static_cast<std::byte>(0x100 - sum(bytes));
  }
}

// Gives the RSDP its signature and pointer, and tables their signatures and checksums.
void mend(std::vector<std::byte>& bytes, unsigned how) {
  constexpr std::array<std::string_view, 5> kSignatures{"XSDT", "FACP", "APIC", "DSDT", "SSDT"};
  const auto text = [&](std::size_t at, std::string_view value) {
    for (std::size_t i = 0; i < value.size() && at + i < bytes.size(); ++i) {
      bytes[at + i] = static_cast<std::byte>(value[i]);
    }
  };
  const auto number = [&](std::size_t at, std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size && at + i < bytes.size(); ++i) {
      bytes[at + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
    }
  };
  if ((how & 1) != 0) {
    number(kRsdpRoom + 36, kBase + kTables[1], 8);
    number(kRsdpRoom + 44, kBase + kTables[2], 8);
    number(kTables[1] + offsetof(abi::acpi_table_fadt, dsdt), kBase + kTables[3], 4);
  }
  for (std::size_t i = kTables.size(); i-- > 0;) {
    if ((how >> 3 & 1u << i) == 0 || kTables[i] + 36 > bytes.size()) {
      continue;
    }
    text(kTables[i], kSignatures[i]);
    const auto all = std::span(bytes).subspan(kTables[i]);
    std::uint32_t length = base::read_at<base::Le32>(all, 4)->get() % 0x400;
    length = std::min<std::uint32_t>(std::max(length, 36u), static_cast<std::uint32_t>(all.size()));
    number(kTables[i] + 4, length, 4);
    put_right(all.first(length), 9);
  }
  if ((how & 2) != 0 && bytes.size() >= 36) {
    text(0, "RSD PTR ");
    bytes[15] = (how & 4) != 0 ? std::byte{2} : std::byte{0};
    number(16, kBase + kTables[0], 4);
    number(20, 36, 4);
    number(24, kBase + kTables[0], 8);
    put_right(std::span(bytes).first(20), 8);
    put_right(std::span(bytes).first(36), 32);
  }
}

void examine(testing::FakeMachine& fake, base::Bytes memory, bool may_search) {
  Machine& machine = fake.machine();
  Diagnostics diagnostics;
  std::array<base::Range, 4> ranges;
  StartInfo info;
  info.rsdp = base::PhysAddr(kBase);
  const AcpiFound found = find_acpi(machine, info, !may_search, ranges, diagnostics);
  require(found.ranges.ranges.size() == std::min(found.ranges.needed, ranges.size()));
  if (!found.rsdp) {
    return;
  }
  AcpiTables tables(machine, *found.rsdp, diagnostics);
  std::uint32_t count = 0;
  while (const auto table = tables.next()) {
    const std::uint64_t offset = table->range.first().value() - kBase;
    const auto bytes = base::slice(memory, offset, table->range.size().value());
    require(bytes && sum(*bytes) == 0);
    require(++count <= kMostAcpiTables);
  }
  std::array<Processor, 3> processors;
  const Processors listed = acpi_processors(machine, *found.rsdp, processors, diagnostics);
  require(listed.processors.size() == std::min(listed.needed, processors.size()));
  for (std::size_t i = 1; i < listed.processors.size(); ++i) {
    require(listed.processors[i].apic_id != listed.processors[i - 1].apic_id);
  }
  if (const auto power = acpi_power(machine, *found.rsdp, diagnostics)) {
    require(power->sleep_type_a < 8 && power->sleep_type_b < 8);
    require(power->pm1a_control != 0 && power->pm1b_control != 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 8192) {
    return 0;
  }
  const auto input = std::as_bytes(std::span(data, size));
  std::vector<std::byte> memory(input.begin() + 1, input.end());
  mend(memory, std::to_integer<unsigned>(input[0]));
  testing::FakeMachine fake;
  fake.put(kBase, base::Bytes(memory));
  if (size % 3 == 0) {
    fake.view_limit = 0;
  }
  // Seldom: it asks for 8192 places one by one, since most of them are not there.
  examine(fake, memory, size % 64 == 0);
  return 0;
}
