// SPDX-License-Identifier: BSD-2-Clause
#include <array>
#include <span>

#include <pvh/base/try.hpp>
#include <pvh/vmm/acpi.hpp>
#include <pvh/vmm/machine.hpp>
#include <pvh/vmm/mp_table.hpp>

namespace pvh::vmm {
namespace {

Failure to_failure(const TableFault& fault) {
  return {FailureKind::kRequest, base::to_text(fault)};
}

// What stands in for a BIOS: real-mode code that pulses the reset line by the keyboard controller,
// then halts. Linux comes here to reboot a hardware-reduced machine, for which it asks EFI first
// and does not ask ACPI.
constexpr std::array<std::uint8_t, 7> kResetCode{
    0xb0, 0xfe,  // mov $0xfe, %al
    0xe6, 0x64,  // out %al, $0x64
    0xf4,        // hlt
    0xeb, 0xfd   // jmp to the hlt
};
static_assert(kResetCode.size() <= loader::kResetVectorSize.value());

// The machine's tables, made for the places that the shape has for them.
Result<std::vector<loader::TableRequest>> make_tables(const loader::TablePlacement& placement,
                                                      unsigned cpus) {
  const MachineDescription description{.cpus = cpus,
                                       .acpi_room = placement.acpi,
                                       .rsdp = placement.rsdp,
                                       .mp_table = placement.mp_table,
                                       .mp_table_room = placement.mp_table_room};
  std::vector<loader::TableRequest> requests;
  auto acpi = build_acpi(description);
  if (!acpi) {
    return std::unexpected(to_failure(acpi.error()));
  }
  for (Table& table : *acpi) {
    requests.push_back(
        {std::move(table.name), table.address, std::move(table.bytes), memory_map::Type::kAcpi});
  }
  const bool has_mp_table = placement.mp_table_room.value() != 0;
  if (has_mp_table) {
    auto mp = build_mp_table(description);
    if (!mp) {
      return std::unexpected(to_failure(mp.error()));
    }
    requests.push_back(
        {std::move(mp->name), mp->address, std::move(mp->bytes), memory_map::Type::kReserved});
  }
  if (placement.reset_vector) {
    const auto code = std::as_bytes(std::span(kResetCode));
    requests.push_back({"reset vector",
                        *placement.reset_vector,
                        {code.begin(), code.end()},
                        memory_map::Type::kReserved});
  }
  return requests;
}

// Where a kernel's addresses in the upper half lie in memory before it maps them. Those in the
// lower half say nothing: of Linux's, some are offsets into per-CPU areas.
std::vector<LinkedRange> link_map_of(const loader::Image& image, std::int64_t load_offset) {
  constexpr std::uint64_t kUpperHalf = std::uint64_t{1} << 63;
  std::vector<LinkedRange> map;
  for (const loader::Segment& segment : image.segments) {
    const base::PhysAddr first(segment.paddr.value() + static_cast<std::uint64_t>(load_offset));
    const auto range = base::Range::from_size(first, segment.memory_size);
    if (segment.vaddr >= kUpperHalf && range) {
      map.push_back({segment.vaddr, *range});
    }
  }
  return map;
}

}  // namespace

Result<std::unique_ptr<const BootPlan>> plan_boot(const loader::Image& image,
                                                  const MachineOptions& options) {
  auto boot = std::make_unique<BootPlan>();
  loader::PlanRequest& request = boot->request;
  request.ram = loader::ram_ranges(options.memory);
  request.command_line = options.command_line;
  request.modules = options.modules;
  request.start_info_version = options.start_info_version;
  request.shape = options.shape;
  request.poison = options.poison;
  if (!request.ram.empty()) {
    const auto placement = loader::table_placement(options.shape, request.ram);
    request.tables = TRY(make_tables(placement, options.cpus));
    request.table_memory = placement.table_memory;
    request.rsdp = placement.rsdp;
  }
  boot->plan = TRY(lift(loader::make_plan(image, request)));
  boot->link_map = link_map_of(image, boot->plan.load_offset);
  return boot;
}

}  // namespace pvh::vmm
