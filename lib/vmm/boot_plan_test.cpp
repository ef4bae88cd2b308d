// SPDX-License-Identifier: BSD-2-Clause
// What the plan says of the machine's devices. The rest of a plan is loader's, and tested there.
#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <pvh/vmm/layout.hpp>
#include <pvh/vmm/machine.hpp>

#include "lib/loader/testing/plan_request.hpp"

namespace pvh::vmm {
namespace {

struct BootPlanTest : ::testing::Test {
  Result<std::unique_ptr<const BootPlan>> plan() { return plan_boot(image, options); }
  bool has_table(const BootPlan& boot, std::string_view name) {
    return std::ranges::any_of(boot.request.tables,
                               [name](const auto& table) { return table.name == name; });
  }

  loader::Image image = loader::image_at(0x200000, 0x1000);
  MachineOptions options;
};

TEST_F(BootPlanTest, DescribesDevicesByAcpiOrOnTheCommandLine) {
  options.command_line = "console=ttyS0";
  const auto with = plan();
  ASSERT_TRUE(with);
  ASSERT_EQ((*with)->virtio.size(), 1u);
  EXPECT_EQ((*with)->virtio[0].registers.first(), kVirtioBase);
  EXPECT_EQ((*with)->request.command_line, "console=ttyS0");
  EXPECT_TRUE((*with)->request.rsdp);
  EXPECT_TRUE(has_table(**with, "DSDT"));

  options.acpi = false;
  const auto without = plan();
  ASSERT_TRUE(without);
  EXPECT_EQ((*without)->request.command_line, "virtio_mmio.device=4K@0xd0000000:5 console=ttyS0");
  EXPECT_FALSE((*without)->request.rsdp);
  EXPECT_FALSE(has_table(**without, "DSDT"));
  EXPECT_FALSE(has_table(**without, "RSDP")) << "a guest that searches must not find one either";
  EXPECT_TRUE(has_table(**without, "MP table"));
}

// Behind them it would be init's, or inside of a quoted text, which need not end: found by
// command_line_fuzz.
TEST_F(BootPlanTest, PutsItsWordsBeforeAllOthers) {
  options.acpi = false;
  const auto line = [this](const std::string& given) {
    options.command_line = given;
    return (*plan())->request.command_line;
  };
  const std::string device = "virtio_mmio.device=4K@0xd0000000:5";
  EXPECT_EQ(line(""), device);
  for (const std::string given : {"quiet", "quiet -- single", "quiet\t--\tsingle", "-- single",
                                  "a=\"b -- c\" d", "a=\"b c", "\"\n\n1"}) {
    EXPECT_EQ(line(given), device + " " + given);
  }
}

TEST_F(BootPlanTest, MemoryReachesUpTo64TiB) {
  options.memory = base::ByteSize(std::uint64_t{63} << 40);
  EXPECT_TRUE(plan());
  for (const std::uint64_t size : {std::uint64_t{1} << 46, UINT64_MAX}) {
    options.memory = base::ByteSize(size);
    const auto more = plan();
    ASSERT_FALSE(more);
    EXPECT_TRUE(more.error().text.contains("beyond 64 TiB")) << more.error().text;
  }
  options.memory = base::ByteSize(0);
  EXPECT_FALSE(plan());
}

TEST_F(BootPlanTest, EachDiskHasAPlaceUntilThereIsNoneLeft) {
  options.disks.resize(2);
  const auto two = plan();
  ASSERT_TRUE(two);
  ASSERT_EQ((*two)->virtio.size(), 3u);
  EXPECT_EQ((*two)->virtio[2].gsi, kVirtioInterrupts[2]);
  options.disks.resize(kVirtioInterrupts.size());
  const auto many = plan();
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().text, "17 devices: the machine has room for 16");
}

TEST_F(BootPlanTest, AMachineWithoutDevicesSaysNothingOfThem) {
  options.rng = false;
  options.acpi = false;
  const auto made = plan();
  ASSERT_TRUE(made);
  EXPECT_TRUE((*made)->virtio.empty());
  EXPECT_EQ((*made)->request.command_line, "");
}

}  // namespace
}  // namespace pvh::vmm
