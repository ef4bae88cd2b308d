// SPDX-License-Identifier: BSD-2-Clause
// The registers at the first instruction, as VMX, SVM and KVM want to have them: visible and hidden
// parts apart. A pure value; whoever runs the processor copies it.
//
// Source: docs/misc/pvh.pandoc in xen.git. What that page leaves unspecified is zero, or hostile
// when the plan was made with `poison`: always a value that a processor can be entered with.
#pragma once

#include <cstdint>

#include <pvh/base/address.hpp>

namespace pvh::loader {

// A segment register with its hidden part.
struct SegmentState {
  std::uint16_t selector = 0;
  std::uint64_t base = 0;
  std::uint32_t limit = 0;  // in bytes, whatever the granularity
  std::uint8_t type = 0;    // with the accessed or busy bit
  bool present = false;     // false: unusable
  bool system = false;      // a TSS or LDT, not code or data (the inverse of the descriptor's bit)
  bool db = false;
  bool granularity = false;
  std::uint8_t dpl = 0;

  friend constexpr bool operator==(const SegmentState&, const SegmentState&) = default;
};

struct TableRegister {
  base::PhysAddr base;
  std::uint16_t limit = 0;

  friend constexpr bool operator==(const TableRegister&, const TableRegister&) = default;
};

struct EntryState {
  std::uint32_t eip = 0, eax = 0, ebx = 0, ecx = 0, edx = 0;
  std::uint32_t esi = 0, edi = 0, ebp = 0, esp = 0, eflags = 0;
  std::uint32_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
  SegmentState cs, ds, es, fs, gs, ss, tr, ldtr;
  TableRegister gdtr, idtr;
};

// Segment types with the bit that the processor sets on first use: VM entry wants it set.
inline constexpr std::uint8_t kTypeData = 0x3;  // read/write, accessed
inline constexpr std::uint8_t kTypeCode = 0xb;  // execute/read, accessed
inline constexpr std::uint8_t kTypeTss = 0xb;   // 32-bit TSS, busy

// Access rights as Xen's vCPU context has them: type 0-3, code or data 4, DPL 5-6, present 7, DB
// 10, granularity 11.
inline constexpr std::uint16_t kAccessCode = 0xc9b;
inline constexpr std::uint16_t kAccessData = 0xc93;
inline constexpr std::uint16_t kAccessTss = 0x08b;

inline constexpr std::uint16_t kCodeSelector = 0x08;
inline constexpr std::uint16_t kDataSelector = 0x10;
inline constexpr std::uint16_t kTssSelector = 0x18;
inline constexpr std::uint32_t kTssLimit = 0x67;

inline constexpr std::uint32_t kCr0 = 0x11;    // PE, and ET, which processors hard-wire
inline constexpr std::uint32_t kEflags = 0x2;  // the bit that is always 1

[[nodiscard]] constexpr std::uint16_t access_rights(const SegmentState& segment) {
  const auto bit = [](bool value, unsigned position) {
    return static_cast<unsigned>(value) << position;
  };
  return static_cast<std::uint16_t>((segment.type & 0xfu) | bit(!segment.system, 4) |
                                    (segment.dpl & 3u) << 5 | bit(segment.present, 7) |
                                    bit(segment.db, 10) | bit(segment.granularity, 11));
}

// The segment as eight bytes of a GDT.
[[nodiscard]] constexpr std::uint64_t descriptor(const SegmentState& segment) {
  const std::uint64_t rights = access_rights(segment);
  const std::uint64_t limit = segment.granularity ? segment.limit >> 12 : segment.limit;
  return (limit & 0xffff) | (segment.base & 0xffffff) << 16 | (rights & 0xff) << 40 |
         (limit & 0xf0000) << 32 | (rights & 0xf00) << 44 | (segment.base & 0xff000000) << 32;
}

inline constexpr SegmentState kFlatCode{.selector = kCodeSelector,
                                        .limit = 0xffffffff,
                                        .type = kTypeCode,
                                        .present = true,
                                        .db = true,
                                        .granularity = true};
inline constexpr SegmentState kFlatData{.selector = kDataSelector,
                                        .limit = 0xffffffff,
                                        .type = kTypeData,
                                        .present = true,
                                        .db = true,
                                        .granularity = true};
// Its base is 0, as the specification says: nobody is meant to switch tasks through it.
inline constexpr SegmentState kBusyTss{.selector = kTssSelector,
                                       .limit = kTssLimit,
                                       .type = kTypeTss,
                                       .present = true,
                                       .system = true};

static_assert(access_rights(kFlatCode) == kAccessCode);
static_assert(access_rights(kFlatData) == kAccessData);
static_assert(access_rights(kBusyTss) == kAccessTss);

}  // namespace pvh::loader
