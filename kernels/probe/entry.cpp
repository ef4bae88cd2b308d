// SPDX-License-Identifier: BSD-2-Clause
// docs/misc/pvh.pandoc, "with the following machine state".
#include <pvh/guest/entry_state.hpp>

#include "probe/judges.hpp"

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

constexpr std::uint32_t kCr0Pe = 1U << 0;
constexpr std::uint32_t kCr0Et = 1U << 4;  // cannot be cleared on any processor since the 486
constexpr std::uint32_t kEflagsTf = 1U << 8;
constexpr std::uint32_t kEflagsIf = 1U << 9;
constexpr std::uint32_t kEflagsVm = 1U << 17;

constexpr std::uint32_t kMultibootMagic = 0x2badb002;
constexpr std::uint32_t kMultiboot2Magic = 0x36d76289;

// Bits of a segment descriptor (Intel SDM volume 3, 3.4.5).
constexpr std::uint64_t kPresent = std::uint64_t{1} << 47;
constexpr std::uint64_t kCodeOrData = std::uint64_t{1} << 44;
constexpr std::uint64_t kIsCode = std::uint64_t{1} << 43;
constexpr std::uint64_t kReadOrWrite = std::uint64_t{1} << 41;
constexpr std::uint64_t kDefault32 = std::uint64_t{1} << 54;
constexpr std::uint64_t kPages = std::uint64_t{1} << 55;
constexpr std::uint64_t kBaseBits = 0xff00'00ff'ffff'0000;
constexpr std::uint64_t kLimitBits = 0x000f'0000'0000'ffff;

// What a selector refers to. The part of a segment register that counts cannot be read, and the
// GDT is unspecified: what lies there is believed only when it is a segment of the right sort.
std::optional<std::uint64_t> descriptor(guest::Machine& machine, const guest::DescriptorTable& gdt,
                                        std::uint16_t selector, bool code) {
  const std::uint32_t offset = selector & ~7U;
  const auto address = base::PhysAddr(gdt.base()).checked_add(base::ByteSize(offset));
  std::array<std::byte, sizeof(std::uint64_t)> bytes;
  const bool in_gdt = offset != 0 && (selector & 4U) == 0 && offset + 7 <= gdt.limit;
  if (!in_gdt || !address || !machine.read(*address, bytes)) {
    return std::nullopt;
  }
  const auto value = std::bit_cast<std::uint64_t>(bytes);
  const std::uint64_t wanted = kPresent | kCodeOrData | (code ? kIsCode : 0);
  return (value & (kPresent | kCodeOrData | kIsCode)) == wanted ? std::optional(value)
                                                                : std::nullopt;
}

bool is_flat(std::uint64_t segment) {
  constexpr std::uint64_t kSet = kReadOrWrite | kDefault32 | kPages | kLimitBits;
  return (segment & kSet) == kSet && (segment & kBaseBits) == 0;
}

void judge_segments(const Facts& facts, Claims& claims) {
  const guest::EntryState& entry = guest::entry_state();
  struct Register {
    std::string_view name;
    std::uint16_t selector;
    bool code;
  };
  const Register registers[] = {{"CS"sv, entry.cs.value, true},
                                {"DS"sv, entry.ds.value, false},
                                {"ES"sv, entry.es.value, false},
                                {"SS"sv, entry.ss.value, false}};
  Finding finding;
  for (const Register& each : registers) {
    const auto segment = descriptor(facts.machine(), entry.gdtr, each.selector, each.code);
    if (!segment) {
      claims.skip(Claim::kEntrySegments, "the GDT, which is unspecified, does not show them"sv);
      return;
    }
    if (!is_flat(*segment)) {
      finding.complain(Line().text(each.name).text(" is "sv).hex(*segment));
    }
  }
  claims.judge(Claim::kEntrySegments, finding);
}

// LTR refuses the null selector, so a loader that runs in the guest has never loaded a TR that is
// 0. But no instruction loads a CS of 0 either: where that is 0, too, somebody outside has set the
// hidden parts alone, as Xen does, and they cannot be seen from here.
void judge_task_register(Claims& claims) {
  const guest::EntryState& entry = guest::entry_state();
  const Line words = Line().text("TR selector is "sv).decimal(entry.tr.value);
  if (entry.tr.value == 0 && entry.cs.value == 0) {
    claims.skip(Claim::kEntryTr, "no selector was loaded, only what cannot be seen"sv);
    claims.note(Note::kNoteTr, words);
    return;
  }
  claims.judge(Claim::kEntryTr, entry.tr.value != 0, words);
}

}  // namespace

void judge_entry(const Facts& facts, Claims& claims) {
  const guest::EntryState& entry = guest::entry_state();
  const std::uint64_t info = facts.boot().start_info().address.value();
  claims.judge(Claim::kEntryEbx,
               entry.ebx == info && facts.info().magic.get() == abi::XEN_HVM_START_MAGIC_VALUE,
               Line().text("EBX "sv).hex(entry.ebx));
  const Line cr0 = Line().text("CR0 "sv).hex(entry.cr0);
  claims.judge(Claim::kEntryProtected, (entry.cr0 & kCr0Pe) != 0, cr0);
  claims.judge(Claim::kEntryCr0, (entry.cr0 & ~(kCr0Pe | kCr0Et)) == 0, cr0);
  claims.judge(Claim::kEntryCr4, entry.cr4 == 0, Line().text("CR4 "sv).hex(entry.cr4));
  const Line eflags = Line().text("EFLAGS "sv).hex(entry.eflags);
  claims.judge(Claim::kEntryVm, (entry.eflags & kEflagsVm) == 0, eflags);
  claims.judge(Claim::kEntryIf, (entry.eflags & kEflagsIf) == 0, eflags);
  claims.judge(Claim::kEntryTf, (entry.eflags & kEflagsTf) == 0, eflags);
  judge_segments(facts, claims);
  judge_task_register(claims);
  if (entry.eax == kMultibootMagic || entry.eax == kMultiboot2Magic) {
    claims.note(Note::kNoteEax, Line().text("EAX "sv).hex(entry.eax));
  }
}

}  // namespace pvh::kernels::probe
