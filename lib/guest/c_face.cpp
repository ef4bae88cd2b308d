// SPDX-License-Identifier: BSD-2-Clause
#include <pvh.h>

#include <pvh/guest/pvh.hpp>
#include <pvh/memory_map/print.hpp>

// The enumerators of C and the ones of C++ are one set of numbers.
static_assert(PVH_MEMORY_RAM == pvh::memory_map::to_raw(pvh::memory_map::Type::kRam));
static_assert(PVH_MEMORY_RESERVED == pvh::memory_map::to_raw(pvh::memory_map::Type::kReserved));
static_assert(PVH_MEMORY_ACPI == pvh::memory_map::to_raw(pvh::memory_map::Type::kAcpi));
static_assert(PVH_MEMORY_NVS == pvh::memory_map::to_raw(pvh::memory_map::Type::kNvs));
static_assert(PVH_MEMORY_UNUSABLE == pvh::memory_map::to_raw(pvh::memory_map::Type::kUnusable));
static_assert(PVH_MEMORY_DISABLED == pvh::memory_map::to_raw(pvh::memory_map::Type::kDisabled));
static_assert(PVH_MEMORY_PMEM == pvh::memory_map::to_raw(pvh::memory_map::Type::kPmem));
static_assert(PVH_MEMORY_UNACCEPTED == pvh::memory_map::to_raw(pvh::memory_map::Type::kUnaccepted));

// Filled in place.
static_assert(sizeof(pvh_processor) == sizeof(pvh::guest::Processor));
static_assert(offsetof(pvh_processor, id) == offsetof(pvh::guest::Processor, apic_id));
static_assert(offsetof(pvh_processor, uid) == offsetof(pvh::guest::Processor, uid));
static_assert(offsetof(pvh_processor, enabled) == offsetof(pvh::guest::Processor, enabled));

namespace {

using namespace pvh;

// pvh_boot and pvh_xen are these two under names that C can say.
guest::Boot& boot_of(pvh_boot* boot) {
  return *reinterpret_cast<guest::Boot*>(boot);
}
const guest::Boot& boot_of(const pvh_boot* boot) {
  return *reinterpret_cast<const guest::Boot*>(boot);
}

std::string_view view_of(pvh_text text) {
  return {text.data, text.length};
}
pvh_text text_of(std::string_view view) {
  return {view.data(), view.size()};
}

pvh_range range_of(base::Range range) {
  return {range.first().value(), range.last().value()};
}
std::optional<base::Range> range_of(pvh_range range) {
  return base::Range::from_last(base::PhysAddr(range.first), base::PhysAddr(range.last));
}

void print_line(void* /*context*/, std::string_view line) {
  guest::print(line);
}

}  // namespace

extern "C" {

uint32_t pvh_start_info_version(const pvh_boot* boot) {
  return boot_of(boot).start_info().version;
}
uint64_t pvh_start_info_address(const pvh_boot* boot) {
  return boot_of(boot).start_info().address.value();
}
uint32_t pvh_start_info_flags(const pvh_boot* boot) {
  return boot_of(boot).start_info().flags;
}

pvh_text pvh_command_line(const pvh_boot* boot) {
  return text_of(boot_of(boot).command_line());
}

bool pvh_argument(const pvh_boot* boot, pvh_text name, pvh_text* value) {
  const auto found = guest::find_argument(boot_of(boot).command_line(), view_of(name));
  if (!found) {
    return false;
  }
  *value = text_of(found->value.value_or(std::string_view()));
  return true;
}

size_t pvh_module_count(const pvh_boot* boot) {
  return boot_of(boot).modules().size();
}

bool pvh_module_at(const pvh_boot* boot, size_t index, pvh_module* module) {
  const auto modules = boot_of(boot).modules();
  if (index >= modules.size()) {
    return false;
  }
  const guest::Module& found = modules[index];
  *module = {found.range.has_value(), found.in_ram,
             found.range ? range_of(*found.range) : pvh_range{0, 0}, text_of(found.command_line)};
  return true;
}

uint64_t pvh_rsdp(const pvh_boot* boot) {
  const auto& rsdp = boot_of(boot).rsdp();
  return rsdp ? rsdp->address.value() : 0;
}

pvh_text pvh_hypervisor(const pvh_boot* boot) {
  const auto all = boot_of(boot).hypervisors().all();
  if (all.empty()) {
    return {nullptr, 0};
  }
  return {all.front().signature.data(), all.front().signature.size()};
}

const pvh_xen* pvh_xen_token(const pvh_boot* boot) {
  const auto& token = boot_of(boot).xen();
  return token ? reinterpret_cast<const pvh_xen*>(&*token) : nullptr;
}

intptr_t pvh_xen_hypercall(pvh_boot* boot, const pvh_xen* xen, uint32_t number, uintptr_t a,
                           uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e) {
  const auto& token = *reinterpret_cast<const guest::xen::Token*>(xen);
  return boot_of(boot).machine().hypercall(token, number, a, b, c, d, e);
}

size_t pvh_memory_map_count(const pvh_boot* boot) {
  return boot_of(boot).memory_map().size();
}

bool pvh_memory_map_at(const pvh_boot* boot, size_t index, pvh_memory* memory) {
  const auto map = boot_of(boot).memory_map();
  if (index >= map.size()) {
    return false;
  }
  *memory = {range_of(map[index].range), memory_map::to_raw(map[index].type)};
  return true;
}

bool pvh_memory_map_from_xen(const pvh_boot* boot) {
  return boot_of(boot).map_source() == guest::MapSource::kXen;
}

size_t pvh_free_count(const pvh_boot* boot) {
  return boot_of(boot).free().size();
}

bool pvh_free_at(const pvh_boot* boot, size_t index, pvh_range* range) {
  const auto free = boot_of(boot).free();
  if (index >= free.size()) {
    return false;
  }
  *range = range_of(free[index].range);
  return true;
}

bool pvh_allocate(pvh_boot* boot, uint64_t size, uint64_t alignment, uint64_t last,
                  pvh_range* range) {
  memory_map::FindOptions options{.size = base::ByteSize(size)};
  if (alignment != 0) {
    options.alignment = base::ByteSize(alignment);
  }
  // All 2^64 bytes are no Range, and no limit.
  options.within = base::Range::from_last(base::PhysAddr(0), base::PhysAddr(last));
  const auto found = boot_of(boot).allocate(options);
  if (!found) {
    return false;
  }
  *range = range_of(*found);
  return true;
}

bool pvh_reserve(pvh_boot* boot, pvh_range range) {
  const auto wanted = range_of(range);
  return wanted && boot_of(boot).reserve(*wanted, guest::ReservationKind::kAllocated);
}

void pvh_release_boot_data(pvh_boot* boot) {
  boot_of(boot).release_boot_data();
}

bool pvh_read_physical(pvh_boot* boot, uint64_t address, void* to, size_t size) {
  return boot_of(boot).machine().read(base::PhysAddr(address), {static_cast<std::byte*>(to), size});
}

bool pvh_write_physical(pvh_boot* boot, uint64_t address, const void* from, size_t size) {
  return boot_of(boot).machine().write(base::PhysAddr(address),
                                       {static_cast<const std::byte*>(from), size});
}

void* pvh_view_physical(pvh_boot* boot, pvh_range range) {
  const auto wanted = range_of(range);
  const auto bytes = wanted ? boot_of(boot).machine().view(*wanted) : std::nullopt;
  return bytes ? bytes->data() : nullptr;
}

void pvh_print(pvh_text text) {
  guest::print(view_of(text));
}

void pvh_print_string(const char* nul_terminated) {
  size_t length = 0;
  while (nul_terminated[length] != '\0') {
    ++length;
  }
  guest::print({nul_terminated, length});
}

void pvh_print_number(uint64_t value) {
  guest::print(memory_map::Line().decimal(value).view());
}

void pvh_print_hex(uint64_t value) {
  guest::print(memory_map::Line().hex(value).view());
}

void pvh_dump(const pvh_boot* boot) {
  guest::dump(boot_of(boot), print_line, nullptr);
}

size_t pvh_other_processors(pvh_boot* boot, pvh_processor* processors, size_t most) {
  const std::span out(reinterpret_cast<guest::Processor*>(processors), most);
  return guest::other_processors(boot_of(boot), out).needed;
}

bool pvh_start_processor(pvh_boot* boot, const pvh_processor* processor, void (*entry)(void*),
                         void* argument, void* stack) {
  static constinit std::optional<guest::ProcessorStarter> starter;
  if (!starter) {
    starter.emplace(boot_of(boot));
  }
  return starter
      ->start({.apic_id = processor->id, .uid = processor->uid, .enabled = processor->enabled},
              entry, argument, stack)
      .has_value();
}

void pvh_power_off(pvh_boot* boot) {
  guest::power_off(boot_of(boot));
}
void pvh_reset(pvh_boot* boot) {
  guest::reset(boot_of(boot));
}
void pvh_crash(pvh_boot* boot, pvh_text why) {
  guest::crash(boot_of(boot), view_of(why));
}
void pvh_halt() {
  guest::halt_forever();
}

void pvh_debug_exit(pvh_boot* boot, uint8_t value) {
  guest::debug_exit(boot_of(boot).machine(), value);
}

}  // extern "C"
