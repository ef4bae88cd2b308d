// SPDX-License-Identifier: BSD-2-Clause
#include "internal/vcpu_state.hpp"

#include <gmock/gmock.h>

namespace pvh::vmm::internal {
namespace {

TEST(Apply, PutsThePlansStateOverTheResetState) {
  kvm_sregs reset{};
  reset.apic_base = 0xfee00900;
  reset.cr0 = 0x60000010;
  loader::EntryState entry;
  entry.cr0 = loader::kCr0;
  entry.cs = loader::kFlatCode;
  entry.ss = loader::kFlatData;
  entry.tr = loader::kBusyTss;
  entry.gdtr = {base::PhysAddr(0x500), 0x1f};
  const kvm_sregs sregs = apply(reset, entry);
  EXPECT_EQ(sregs.apic_base, 0xfee00900u) << "what the plan does not speak of stays";
  EXPECT_EQ(sregs.cr0, loader::kCr0);
  EXPECT_EQ(sregs.cr4, 0u);
  EXPECT_EQ(sregs.cs.type, loader::kTypeCode);
  EXPECT_EQ(sregs.cs.s, 1);
  EXPECT_EQ(sregs.cs.g, 1);
  EXPECT_EQ(sregs.cs.limit, 0xffffffffu);
  EXPECT_EQ(sregs.tr.s, 0) << "a TSS is a system segment";
  EXPECT_EQ(sregs.tr.type, loader::kTypeTss);
  EXPECT_EQ(sregs.tr.limit, 0x67u);
  EXPECT_EQ(sregs.fs.unusable, 1) << "absent from the plan";
  EXPECT_EQ(sregs.gdt.base, 0x500u);
  EXPECT_EQ(sregs.gdt.limit, 0x1f);
}

}  // namespace
}  // namespace pvh::vmm::internal
