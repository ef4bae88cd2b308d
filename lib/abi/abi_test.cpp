// SPDX-License-Identifier: BSD-2-Clause
// Sizes and offsets are asserted in the headers; here the structures are held against bytes as they
// lie in memory.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/e820.hpp>
#include <pvh/abi/elf_note.hpp>
#include <pvh/abi/start_info.hpp>
#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/abi/xen_hvm.hpp>
#include <pvh/abi/xen_memory.hpp>
#include <pvh/abi/xen_vcpu.hpp>
#include <pvh/base/bytes.hpp>

namespace pvh::abi {
namespace {

using ::testing::ElementsAre;

TEST(StartInfo, IsTheseFiftySixBytes) {
  const hvm_start_info info{
      .magic = base::Le32(XEN_HVM_START_MAGIC_VALUE),
      .version = base::Le32(1),
      .flags = base::Le32(SIF_PRIVILEGED | SIF_INITDOMAIN),
      .nr_modules = base::Le32(2),
      .modlist_paddr = base::Le64(0x6040),
      .cmdline_paddr = base::Le64(0x20000),
      .rsdp_paddr = base::Le64(0xe0000),
      .memmap_paddr = base::Le64(0x1122334455667788),
      .memmap_entries = base::Le32(5),
      .reserved = base::Le32(0),
  };
  constexpr std::array<std::uint8_t, 56> kGolden{
      0x78, 0xc5, 0x6e, 0x33, 1, 0, 0, 0, 3,    0,    0,    0,    2,    0,    0,    0,  //
      0x40, 0x60, 0,    0,    0, 0, 0, 0, 0,    0,    2,    0,    0,    0,    0,    0,  //
      0,    0,    0x0e, 0,    0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
      5,    0,    0,    0,    0, 0, 0, 0};
  const auto bytes = base::to_bytes(info);
  for (std::size_t i = 0; i < kGolden.size(); ++i) {
    EXPECT_EQ(std::to_integer<std::uint8_t>(bytes[i]), kGolden[i]) << "at " << i;
  }
  const auto read = base::read_at<hvm_start_info>(bytes, 0);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->memmap_paddr.get(), 0x1122334455667788u);
}

TEST(MemoryMapEntries, AreTwentyFourBytesInTheTableAndTwentyFromTheHypercall) {
  EXPECT_EQ(sizeof(hvm_memmap_table_entry), 24u);
  EXPECT_EQ(sizeof(e820entry), 20u);
}

std::vector<std::uint8_t> numbers(base::Bytes bytes) {
  std::vector<std::uint8_t> result;
  for (const std::byte each : bytes) {
    result.push_back(std::to_integer<std::uint8_t>(each));
  }
  return result;
}

TEST(XenCalls, AskForSharedInfoInTheCallersLayout) {
  const xen_add_to_physmap native{.domid = base::Le16(DOMID_SELF),
                                  .size = {},
                                  .space = base::Le32(XENMAPSPACE_shared_info),
                                  .idx = {},
                                  .gpfn = base::Le64(0xabcde)};
  EXPECT_THAT(numbers(base::to_bytes(native)), ElementsAre(0xf0, 0x7f, 0, 0, 0, 0, 0, 0,  //
                                                           0, 0, 0, 0, 0, 0, 0, 0,        //
                                                           0xde, 0xbc, 0x0a, 0, 0, 0, 0, 0));
  const compat_add_to_physmap compat{.domid = base::Le16(DOMID_SELF),
                                     .size = {},
                                     .space = base::Le32(XENMAPSPACE_grant_table),
                                     .idx = base::Le32(2),
                                     .gpfn = base::Le32(0xabcde)};
  EXPECT_THAT(numbers(base::to_bytes(compat)), ElementsAre(0xf0, 0x7f, 0, 0, 1, 0, 0, 0,  //
                                                           2, 0, 0, 0, 0xde, 0xbc, 0x0a, 0));
}

TEST(XenCalls, NameAParamAndItsDomain) {
  const xen_hvm_param param{.domid = base::Le16(DOMID_SELF),
                            .pad = {},
                            .index = base::Le32(HVM_PARAM_CONSOLE_PFN),
                            .value = base::Le64(0x1122334455667788)};
  EXPECT_THAT(numbers(base::to_bytes(param)), ElementsAre(0xf0, 0x7f, 0, 0, 17, 0, 0, 0, 0x88, 0x77,
                                                          0x66, 0x55, 0x44, 0x33, 0x22, 0x11));
}

// Xen has one structure with a union of both.
TEST(XenCalls, HaveOneSizeOfProcessorContext) {
  EXPECT_EQ(sizeof(vcpu_hvm_context_32), sizeof(vcpu_hvm_context_64));
  EXPECT_EQ(offsetof(vcpu_hvm_context_32, regs), offsetof(vcpu_hvm_context_64, regs));
}

TEST(XenSignature, IsXenVmmTwice) {
  const auto text = [](std::uint32_t word) {
    return std::string(reinterpret_cast<const char*>(&word), sizeof(word));
  };
  EXPECT_EQ(
      text(XEN_CPUID_SIGNATURE_EBX) + text(XEN_CPUID_SIGNATURE_ECX) + text(XEN_CPUID_SIGNATURE_EDX),
      "XenVMMXenVMM");
}

TEST(XenNote, OwnerCountsItsTerminator) {
  EXPECT_EQ(kXenNoteOwner.size(), 4u);
  EXPECT_EQ(kXenNoteOwner[3], '\0');
}

}  // namespace
}  // namespace pvh::abi
