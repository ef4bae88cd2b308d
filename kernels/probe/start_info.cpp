// SPDX-License-Identifier: BSD-2-Clause
// xen/include/public/arch-x86/hvm/start_info.h: the structure itself.
#include "probe/judges.hpp"

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

constexpr std::uint32_t kKnownFlags = abi::SIF_PRIVILEGED | abi::SIF_INITDOMAIN |
                                      abi::SIF_MULTIBOOT_MOD | abi::SIF_MOD_START_PFN |
                                      abi::SIF_VIRT_P2M_4TOOLS | abi::SIF_PM_MASK;

// "Xen on x86 will always try to place all the data below the 4GiB boundary" is an attempt, and no
// word is said of alignment.
void note_addresses(const Facts& facts, Claims& claims) {
  constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32;
  const abi::hvm_start_info& info = facts.info();
  struct Address {
    std::string_view name;
    std::uint64_t value;
    std::uint64_t alignment;
  };
  const Address addresses[] = {
      {"start_info"sv, facts.boot().start_info().address.value(), facts.has_map_fields() ? 8U : 4U},
      {"modlist_paddr"sv, info.nr_modules.get() == 0 ? 0 : info.modlist_paddr.get(), 8},
      {"cmdline_paddr"sv, info.cmdline_paddr.get(), 1},
      {"rsdp_paddr"sv, info.rsdp_paddr.get(), 8},
      {"memmap_paddr"sv, facts.has_map_fields() ? info.memmap_paddr.get() : 0, 8},
  };
  for (const Address& each : addresses) {
    const Line words = Line().text(each.name).text(" "sv).hex(each.value);
    if (each.value >= kFourGiB) {
      claims.note(Note::kNoteAbove4G, words);
    }
    if (each.value % each.alignment != 0) {
      claims.note(Note::kNoteUnaligned, words);
    }
  }
}

}  // namespace

void judge_start_info(const Facts& facts, Claims& claims) {
  const abi::hvm_start_info& info = facts.info();
  claims.judge(Claim::kInfoMagic, info.magic.get() == abi::XEN_HVM_START_MAGIC_VALUE,
               Line().text("magic is "sv).hex(info.magic.get()));
  claims.judge(Claim::kInfoVersion, info.version.get() <= 1,
               Line().text("version is "sv).decimal(info.version.get()));
  claims.judge(Claim::kInfoFlags, (info.flags.get() & ~kKnownFlags) == 0,
               Line().text("flags are "sv).hex(info.flags.get()));
  if (facts.has_map_fields()) {
    claims.judge(Claim::kInfoReserved, info.reserved.get() == 0,
                 Line().text("reserved is "sv).hex(info.reserved.get()));
  } else {
    claims.skip(Claim::kInfoReserved, "version 0 has no such field"sv);
    claims.note(Note::kNoteVersion0, Line().text("flags "sv).hex(info.flags.get()));
  }
  if (info.cmdline_paddr.get() == 0) {
    claims.note(Note::kNoteNoCommandLine, Line().text("cmdline_paddr is 0"sv));
  }
  note_addresses(facts, claims);
}

}  // namespace pvh::kernels::probe
