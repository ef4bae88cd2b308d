// SPDX-License-Identifier: BSD-2-Clause
// What C gets is what C++ gets, value for value.
#include <pvh.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/guest/pvh.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

// The part of pvh.hpp that only a kernel has.
namespace pvh::guest {
namespace {
std::string printed;
std::string ended;
struct Ended {};
std::uint32_t started_apic_id = 0;
const void* started_on = nullptr;
}  // namespace

OtherProcessors other_processors(Boot& /*boot*/, std::span<Processor> out) {
  const std::array all{Processor{.apic_id = 7, .uid = 1, .enabled = true},
                       Processor{.apic_id = 9, .uid = 2, .enabled = false}};
  const auto given = out.first(std::min(out.size(), all.size()));
  std::ranges::copy(std::span(all).first(given.size()), given.begin());
  return {given, all.size()};
}
std::expected<void, StartError> ProcessorStarter::start(const Processor& processor,
                                                        ProcessorEntry /*entry*/,
                                                        void* /*argument*/, void* stack) {
  started_apic_id = processor.apic_id;
  started_on = stack;
  if (!processor.enabled) {
    return std::unexpected(StartError::kNoAnswer);
  }
  return {};
}

void print(std::string_view text) {
  printed += text;
}
[[noreturn]] void power_off(Boot& /*boot*/) {
  ended = "power off";
  throw Ended();
}
[[noreturn]] void reset(Boot& /*boot*/) {
  ended = "reset";
  throw Ended();
}
[[noreturn]] void crash(Boot& /*boot*/, std::string_view why) {
  ended = "crash: " + std::string(why);
  throw Ended();
}
[[noreturn]] void halt_forever() {
  ended = "halt";
  throw Ended();
}

namespace {

using testing::BootBuilder;
using testing::FakeMachine;

std::string string_of(pvh_text text) {
  return {text.data, text.length};
}
pvh_text text_of(std::string_view view) {
  return {view.data(), view.size()};
}

class CFace : public ::testing::Test {
 protected:
  void SetUp() override {
    printed.clear();
    ended.clear();
    fake.add_memory(0x200000, 0x400000);
    builder.command_line = "quiet root=\"a b\" n=1 n=2";
    builder.map = {{0, 0x9fc00, 1}, {0x100000, 0x7f00000, 1}, {0xfec00000, 0x1000, 2}};
    fake.put(0x500000, "module bytes");
    fake.put(0x501000, std::string_view("first\0", 6));
    builder.modules = {{.paddr = 0x500000, .size = 12, .cmdline_paddr = 0x501000}, {}};
    auto captured = builder.boot();
    ASSERT_TRUE(captured) << name(captured.error().code);
    boot_ = std::make_unique<Boot>(*captured);
    boot = reinterpret_cast<pvh_boot*>(boot_.get());
  }

  FakeMachine fake;
  BootBuilder builder{fake};
  std::unique_ptr<Boot> boot_;
  pvh_boot* boot = nullptr;
};

TEST_F(CFace, TellsWhatWasHandedOver) {
  EXPECT_EQ(pvh_start_info_version(boot), 1u);
  EXPECT_EQ(pvh_start_info_address(boot), 0x6000u);
  EXPECT_EQ(pvh_start_info_flags(boot), 0u);
  EXPECT_EQ(string_of(pvh_command_line(boot)), *builder.command_line);
  EXPECT_EQ(pvh_rsdp(boot), 0u);
}

TEST_F(CFace, FindsArguments) {
  pvh_text value{};
  EXPECT_TRUE(pvh_argument(boot, text_of("n"), &value));
  EXPECT_EQ(string_of(value), "2");
  EXPECT_TRUE(pvh_argument(boot, text_of("quiet"), &value));
  EXPECT_EQ(value.length, 0u);
  value = text_of("as it was");
  EXPECT_FALSE(pvh_argument(boot, text_of("absent"), &value));
  EXPECT_EQ(string_of(value), "as it was");
}

TEST_F(CFace, ListsModulesByTheirIndex) {
  ASSERT_EQ(pvh_module_count(boot), 2u);
  pvh_module module{};
  ASSERT_TRUE(pvh_module_at(boot, 0, &module));
  EXPECT_TRUE(module.present);
  EXPECT_TRUE(module.in_ram);
  EXPECT_EQ(module.range.first, 0x500000u);
  EXPECT_EQ(module.range.last, 0x50000bu);
  EXPECT_EQ(string_of(module.command_line), "first");
  ASSERT_TRUE(pvh_module_at(boot, 1, &module));
  EXPECT_FALSE(module.present);
  EXPECT_FALSE(pvh_module_at(boot, 2, &module));
}

TEST_F(CFace, ListsTheMapAndWhatIsFree) {
  ASSERT_EQ(pvh_memory_map_count(boot), boot_->memory_map().size());
  for (size_t i = 0; i < boot_->memory_map().size(); ++i) {
    pvh_memory memory{};
    ASSERT_TRUE(pvh_memory_map_at(boot, i, &memory));
    EXPECT_EQ(memory.range.first, boot_->memory_map()[i].range.first().value());
    EXPECT_EQ(memory.range.last, boot_->memory_map()[i].range.last().value());
    EXPECT_EQ(memory.type, memory_map::to_raw(boot_->memory_map()[i].type));
  }
  pvh_memory memory{};
  EXPECT_FALSE(pvh_memory_map_at(boot, boot_->memory_map().size(), &memory));
  EXPECT_FALSE(pvh_memory_map_from_xen(boot));

  ASSERT_EQ(pvh_free_count(boot), boot_->free().size());
  pvh_range range{};
  for (size_t i = 0; i < boot_->free().size(); ++i) {
    ASSERT_TRUE(pvh_free_at(boot, i, &range));
    EXPECT_EQ(range.first, boot_->free()[i].range.first().value());
    EXPECT_EQ(range.last, boot_->free()[i].range.last().value());
  }
  EXPECT_FALSE(pvh_free_at(boot, boot_->free().size(), &range));
}

TEST_F(CFace, AllocatesWithinLimits) {
  pvh_range range{};
  ASSERT_TRUE(pvh_allocate(boot, 5000, 0, UINT64_MAX, &range));
  EXPECT_EQ(range.last - range.first + 1, 8192u);
  ASSERT_TRUE(pvh_allocate(boot, 1, 1 << 20, UINT64_MAX, &range));
  EXPECT_EQ(range.first % (1 << 20), 0u);
  ASSERT_TRUE(pvh_allocate(boot, 4096, 0, 0x9ffff, &range));
  EXPECT_LE(range.last, 0x9ffffu);
  EXPECT_FALSE(pvh_allocate(boot, 1 << 20, 0, 0x9ffff, &range));
  EXPECT_FALSE(pvh_allocate(boot, 0, 0, UINT64_MAX, &range));
  EXPECT_FALSE(pvh_allocate(boot, 4096, 12, UINT64_MAX, &range));
  EXPECT_EQ(testing::judge_free(*boot_), "");
}

TEST_F(CFace, ReservesAndReleases) {
  const auto covers = [&](std::uint64_t address) {
    return memory_map::lookup(boot_->free(), base::PhysAddr(address)) != nullptr;
  };
  ASSERT_TRUE(covers(0x600000));
  EXPECT_TRUE(pvh_reserve(boot, {0x600000, 0x600000}));
  EXPECT_FALSE(covers(0x600000));
  EXPECT_FALSE(pvh_reserve(boot, {0x600001, 0x600000})) << "it ends before it begins";
  EXPECT_FALSE(covers(0x6000));
  pvh_release_boot_data(boot);
  EXPECT_TRUE(covers(0x6000));
  EXPECT_EQ(testing::judge_free(*boot_), "");
}

TEST_F(CFace, ReachesPhysicalMemory) {
  char text[12];
  ASSERT_TRUE(pvh_read_physical(boot, 0x500000, text, sizeof(text)));
  EXPECT_EQ(std::string_view(text, sizeof(text)), "module bytes");
  EXPECT_FALSE(pvh_read_physical(boot, 0x7fff0000, text, sizeof(text)));
  ASSERT_TRUE(pvh_write_physical(boot, 0x500000, "MODULE", 6));
  const void* view = pvh_view_physical(boot, {0x500000, 0x50000b});
  ASSERT_NE(view, nullptr);
  EXPECT_EQ(std::memcmp(view, "MODULE bytes", 12), 0);
  EXPECT_EQ(pvh_view_physical(boot, {0x7fff0000, 0x7fff000f}), nullptr);
  EXPECT_EQ(pvh_view_physical(boot, {1, 0}), nullptr);
}

TEST_F(CFace, Prints) {
  pvh_print(text_of("text "));
  pvh_print_string("string ");
  pvh_print_number(18446744073709551615u);
  pvh_print_string(" ");
  pvh_print_hex(0x1f);
  EXPECT_EQ(printed, "text string 18446744073709551615 0x000000000000001f");
  printed.clear();
  pvh_dump(boot);
  EXPECT_THAT(printed, ::testing::HasSubstr("start_info"));
}

TEST_F(CFace, HasNoXenWhereThereIsNone) {
  EXPECT_EQ(pvh_xen_token(boot), nullptr);
  EXPECT_EQ(pvh_hypervisor(boot).length, 0u);
}

TEST(CFaceOnXen, GivesTheTokenThatHypercallsTake) {
  FakeMachine fake;
  BootBuilder builder(fake);
  builder.version = 0;
  testing::FakeXen xen(fake);
  xen.map = builder.map;
  auto captured = builder.boot();
  ASSERT_TRUE(captured) << name(captured.error().code);
  auto* const boot = reinterpret_cast<pvh_boot*>(&*captured);
  EXPECT_TRUE(pvh_memory_map_from_xen(boot));
  EXPECT_EQ(string_of(pvh_hypervisor(boot)), "XenVMMXenVMM");
  const pvh_xen* const token = pvh_xen_token(boot);
  ASSERT_NE(token, nullptr);
  fake.on_hypercall = [](const FakeMachine::Hypercall& call) {
    return static_cast<std::intptr_t>(call.number + call.a + call.e);
  };
  EXPECT_EQ(pvh_xen_hypercall(boot, token, 17, 100, 0, 0, 0, 1000), 1117);
}

TEST_F(CFace, FillsProcessorsInPlaceAndStartsThem) {
  std::array<pvh_processor, 3> processors{};
  EXPECT_EQ(pvh_other_processors(boot, processors.data(), 1), 2u) << "there are more";
  EXPECT_EQ(processors[0].id, 7u);
  EXPECT_EQ(processors[1].id, 0u) << "it has room for one";
  ASSERT_EQ(pvh_other_processors(boot, processors.data(), processors.size()), 2u);
  EXPECT_TRUE(processors[0].enabled);
  EXPECT_EQ(processors[1].id, 9u);
  EXPECT_EQ(processors[1].uid, 2u);
  EXPECT_FALSE(processors[1].enabled);

  char stack[16];
  EXPECT_TRUE(pvh_start_processor(boot, processors.data(), nullptr, nullptr, stack));
  EXPECT_EQ(started_apic_id, 7u);
  EXPECT_EQ(started_on, stack);
  EXPECT_FALSE(pvh_start_processor(boot, &processors[1], nullptr, nullptr, stack));
}

TEST_F(CFace, Ends) {
  EXPECT_THROW(pvh_power_off(boot), Ended);
  EXPECT_EQ(ended, "power off");
  EXPECT_THROW(pvh_reset(boot), Ended);
  EXPECT_EQ(ended, "reset");
  EXPECT_THROW(pvh_crash(boot, text_of("because")), Ended);
  EXPECT_EQ(ended, "crash: because");
  EXPECT_THROW(pvh_halt(), Ended);
  EXPECT_EQ(ended, "halt");
  pvh_debug_exit(boot, 0x10);
  EXPECT_THAT(fake.port_writes,
              ::testing::Contains(FakeMachine::PortWrite{kDebugExitPort, 0x10, 1}));
}

}  // namespace
}  // namespace pvh::guest
