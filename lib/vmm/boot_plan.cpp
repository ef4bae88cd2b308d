// SPDX-License-Identifier: BSD-2-Clause
#include <array>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/try.hpp>
#include <pvh/vmm/acpi.hpp>
#include <pvh/vmm/layout.hpp>
#include <pvh/vmm/machine.hpp>
#include <pvh/vmm/mp_table.hpp>

#include "internal/check_devices.hpp"
#include "internal/virtio_devices.hpp"

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

Result<std::vector<VirtioSlot>> virtio_slots(const MachineOptions& options) {
  const std::size_t count = internal::count_virtio(options);
  if (count > kVirtioInterrupts.size()) {
    return std::unexpected(Failure{
        FailureKind::kRequest,
        fmt::format("{} devices: the machine has room for {}", count, kVirtioInterrupts.size())});
  }
  std::vector<VirtioSlot> slots;
  for (std::size_t i = 0; i < count; ++i) {
    const base::PhysAddr first(kVirtioBase.value() + i * kVirtioSize.value());
    slots.push_back({*base::Range::from_size(first, kVirtioSize), kVirtioInterrupts[i]});
  }
  return slots;
}

// As Linux's drivers/virtio/virtio_mmio.c reads it, for guests that do not learn of the devices
// from ACPI. In front of everything: behind it they might be init's (after "--") or a part of a
// quoted text.
std::string with_virtio(const std::string& command_line, const std::vector<VirtioSlot>& slots) {
  std::string words;
  for (const VirtioSlot& slot : slots) {
    fmt::format_to(std::back_inserter(words), "{}virtio_mmio.device={}K@{:#x}:{}",
                   words.empty() ? "" : " ", slot.registers.size().value() >> 10,
                   slot.registers.first().value(), slot.gsi);
  }
  return words.empty() || command_line.empty() ? words + command_line : words + " " + command_line;
}

// The machine's tables, made for the places that the shape has for them.
Result<std::vector<loader::TableRequest>> make_tables(const loader::TablePlacement& placement,
                                                      const MachineOptions& options,
                                                      const std::vector<VirtioSlot>& virtio) {
  const MachineDescription description{.cpus = options.cpus,
                                       .virtio = virtio,
                                       .acpi_room = placement.acpi,
                                       .rsdp = placement.rsdp,
                                       .mp_table = placement.mp_table,
                                       .mp_table_room = placement.mp_table_room};
  std::vector<loader::TableRequest> requests;
  if (options.acpi) {
    auto acpi = build_acpi(description);
    if (!acpi) {
      return std::unexpected(to_failure(acpi.error()));
    }
    for (Table& table : *acpi) {
      requests.push_back(
          {std::move(table.name), table.address, std::move(table.bytes), memory_map::Type::kAcpi});
    }
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
  if (request.ram.empty() && options.memory.value() != 0) {
    return std::unexpected(Failure{
        FailureKind::kRequest,
        "the guest's memory would reach beyond 64 TiB, the most here; ask for less with --memory"});
  }
  boot->virtio = TRY(virtio_slots(options));
  request.command_line =
      options.acpi ? options.command_line : with_virtio(options.command_line, boot->virtio);
  request.modules = options.modules;
  request.start_info_version = options.start_info_version;
  request.shape = options.shape;
  request.poison = options.poison;
  if (!request.ram.empty()) {
    const auto placement = loader::table_placement(options.shape, request.ram);
    request.tables = TRY(make_tables(placement, options, boot->virtio));
    request.table_memory = placement.table_memory;
    if (options.acpi) {
      request.rsdp = placement.rsdp;
    }
  }
  TRY(internal::check_devices(options, request.ram, request.table_memory, boot->virtio));
  boot->plan = TRY(lift(loader::make_plan(image, request)));
  boot->link_map = link_map_of(image, boot->plan.load_offset);
  return boot;
}

}  // namespace pvh::vmm
