// SPDX-License-Identifier: BSD-2-Clause
// Any bytes as the memory around start_info: capture() answers with an error or with a Boot whose
// free() is exactly the RAM that no reservation touches; allocating and giving back keeps it so.
// And the face for C tells all of it alike.
#include <pvh.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>

#include <pvh/base/bytes.hpp>
#include <pvh/guest/boot.hpp>
#include <pvh/guest/dump.hpp>
#include <pvh/guest/pvh.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

// What pvh.h has of a kernel's own; nothing here calls it.
namespace pvh::guest {
OtherProcessors other_processors(Boot& /*boot*/, std::span<Processor> /*out*/) {
  std::abort();
}
std::expected<void, StartError> ProcessorStarter::start(const Processor& /*processor*/,
                                                        ProcessorEntry /*entry*/,
                                                        void* /*argument*/, void* /*stack*/) {
  std::abort();
}
void print(std::string_view /*text*/) {
  std::abort();
}
[[noreturn]] void power_off(Boot& /*boot*/) {
  std::abort();
}
[[noreturn]] void reset(Boot& /*boot*/) {
  std::abort();
}
[[noreturn]] void crash(Boot& /*boot*/, std::string_view /*why*/) {
  std::abort();
}
[[noreturn]] void halt_forever() {
  std::abort();
}
}  // namespace pvh::guest

namespace {

using namespace pvh;
using namespace pvh::guest;
using testing::BootBuilder;
using testing::FakeMachine;
using testing::FakeXen;

void require(const std::string& wrong) {
  if (!wrong.empty()) {
    std::fputs(wrong.c_str(), stderr);
    std::abort();
  }
}

bool same(pvh_range in_c, base::Range range) {
  return in_c.first == range.first().value() && in_c.last == range.last().value();
}
bool same(pvh_text in_c, std::string_view text) {
  return std::string_view(in_c.data, in_c.length) == text;
}

// Every question of pvh.h has Boot's answer, and none beyond the last.
bool is_alike_in_c(Boot& boot) {
  auto* const in_c = reinterpret_cast<pvh_boot*>(&boot);
  bool alike = pvh_start_info_version(in_c) == boot.start_info().version &&
               pvh_start_info_address(in_c) == boot.start_info().address.value() &&
               same(pvh_command_line(in_c), boot.command_line()) &&
               pvh_rsdp(in_c) == (boot.rsdp() ? boot.rsdp()->address.value() : 0) &&
               pvh_module_count(in_c) == boot.modules().size() &&
               pvh_memory_map_count(in_c) == boot.memory_map().size() &&
               pvh_memory_map_from_xen(in_c) == (boot.map_source() == MapSource::kXen) &&
               pvh_free_count(in_c) == boot.free().size() &&
               (pvh_xen_token(in_c) != nullptr) == boot.xen().has_value();
  pvh_module module{};
  for (std::size_t i = 0; i < boot.modules().size(); ++i) {
    const Module& as = boot.modules()[i];
    alike = alike && pvh_module_at(in_c, i, &module) && module.present == as.range.has_value() &&
            module.in_ram == as.in_ram && same(module.command_line, as.command_line) &&
            (!as.range || same(module.range, *as.range));
  }
  pvh_memory memory{};
  for (std::size_t i = 0; i < boot.memory_map().size(); ++i) {
    alike = alike && pvh_memory_map_at(in_c, i, &memory) &&
            same(memory.range, boot.memory_map()[i].range) &&
            memory.type == to_raw(boot.memory_map()[i].type);
  }
  pvh_range range{};
  for (std::size_t i = 0; i < boot.free().size(); ++i) {
    alike = alike && pvh_free_at(in_c, i, &range) && same(range, boot.free()[i].range);
  }
  return alike && !pvh_module_at(in_c, boot.modules().size(), &module) &&
         !pvh_memory_map_at(in_c, boot.memory_map().size(), &memory) &&
         !pvh_free_at(in_c, boot.free().size(), &range);
}

}  // namespace

// One byte of choices, two of the place, then memory from there.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::Bytes bytes = std::as_bytes(std::span(data, size));
  if (bytes.size() < 4) {
    return 0;
  }
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint64_t>(bytes[i]); };
  const std::uint64_t choices = at(0);
  const std::uint64_t place = (at(1) << 8 | at(2)) << (choices & 1) * 4;

  FakeMachine fake;
  fake.set_physical_bits(static_cast<std::uint32_t>(36 + at(1) % 17));
  std::optional<FakeXen> xen;
  if ((choices & 2) != 0) {
    xen.emplace(fake);
    xen->map = {{0, 0x9fc00, 1}, {0x100000, 0x100000, 1}};
  }
  BootBuilder builder(fake);
  builder.sizes = {.entries = 16, .modules = 4, .reservations = 24, .strings = 64};
  const base::Bytes memory = bytes.subspan(3);
  fake.put(place, memory);
  if ((choices & 4) != 0) {
    fake.view_limit = place + memory.size() / 2;
  }
  // A right magic, so that not all inputs end there; the rest is the input's.
  if ((choices & 8) != 0 && memory.size() >= sizeof(base::Le32)) {
    fake.put(place, base::Le32(abi::XEN_HVM_START_MAGIC_VALUE));
  }
  auto boot = builder.capture_at(base::PhysAddr(place));
  std::string text;
  const LineSink sink = [](void* context, std::string_view line) {
    static_cast<std::string*>(context)->append(line);
  };
  if (!boot) {
    dump_failure(fake.machine(), base::PhysAddr(place), boot.error(),
                 detect_hypervisors(fake.machine()), sink, &text);
    return 0;
  }
  require(testing::judge_free(*boot));
  require(is_alike_in_c(*boot) ? "" : "pvh.h tells something else");
  dump(*boot, sink, &text);
  for (const std::uint64_t pages : {1u, 3u, 16u}) {
    static_cast<void>(boot->allocate({.size = base::ByteSize(pages << 12)}));
  }
  require(testing::judge_free(*boot));
  boot->release_boot_data();
  static_cast<void>(boot->release(ReservationKind::kModule));
  require(testing::judge_free(*boot));
  require(is_alike_in_c(*boot) ? "" : "pvh.h tells something else, later");
  return 0;
}
