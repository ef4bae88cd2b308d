// SPDX-License-Identifier: BSD-2-Clause
// vcpu_op(command, vcpu, &argument): starting the other processors of a domain. Source:
// xen/include/public/{vcpu,hvm/hvm_vcpu}.h in xen.git; what Xen refuses is in
// xen/arch/x86/hvm/domain.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

inline constexpr std::uint32_t VCPUOP_initialise = 0;  // vcpu_hvm_context
inline constexpr std::uint32_t VCPUOP_up = 1;
inline constexpr std::uint32_t VCPUOP_down = 2;
inline constexpr std::uint32_t VCPUOP_is_up = 3;
inline constexpr std::uint32_t VCPUOP_register_vcpu_info = 10;  // vcpu_register_vcpu_info

// Alike for 32- and 64-bit guests.
struct vcpu_register_vcpu_info {
  base::Le64 mfn;     // number of the guest's page
  base::Le32 offset;  // in it
  base::Le32 rsvd;
};

// Segment attributes (ar): bits 0-3 type, 4 s, 5-6 dpl, 7 p, 8 avl, 9 l, 10 db, 11 g; 0 in bits
// 12-15. A limit is in bytes whatever g says.
struct vcpu_hvm_x86_32 {
  base::Le32 eax;
  base::Le32 ecx;
  base::Le32 edx;
  base::Le32 ebx;
  base::Le32 esp;
  base::Le32 ebp;
  base::Le32 esi;
  base::Le32 edi;
  base::Le32 eip;
  base::Le32 eflags;
  base::Le32 cr0;
  base::Le32 cr3;
  base::Le32 cr4;
  base::Le32 pad1;  // must be 0
  base::Le64 efer;
  base::Le32 cs_base;
  base::Le32 ds_base;
  base::Le32 ss_base;
  base::Le32 es_base;
  base::Le32 tr_base;
  base::Le32 cs_limit;
  base::Le32 ds_limit;
  base::Le32 ss_limit;
  base::Le32 es_limit;
  base::Le32 tr_limit;
  base::Le16 cs_ar;
  base::Le16 ds_ar;
  base::Le16 ss_ar;
  base::Le16 es_ar;
  base::Le16 tr_ar;
  base::Le16 pad2[3];  // must be 0
};

struct vcpu_hvm_x86_64 {
  base::Le64 rax;
  base::Le64 rcx;
  base::Le64 rdx;
  base::Le64 rbx;
  base::Le64 rsp;
  base::Le64 rbp;
  base::Le64 rsi;
  base::Le64 rdi;
  base::Le64 rip;
  base::Le64 rflags;
  base::Le64 cr0;
  base::Le64 cr3;
  base::Le64 cr4;
  base::Le64 efer;
};

inline constexpr std::uint32_t VCPU_HVM_MODE_32B = 0;
inline constexpr std::uint32_t VCPU_HVM_MODE_64B = 1;

// Xen's vcpu_hvm_context with one of its union's two members each. Xen copies all 128 bytes.
struct vcpu_hvm_context_32 {
  base::Le32 mode;  // VCPU_HVM_MODE_32B
  base::Le32 pad;   // must be 0
  vcpu_hvm_x86_32 regs;
};

struct vcpu_hvm_context_64 {
  base::Le32 mode;  // VCPU_HVM_MODE_64B
  base::Le32 pad;   // must be 0
  vcpu_hvm_x86_64 regs;
  base::Le64 rest;  // the union is as large as its 32-bit member
};

static_assert(sizeof(vcpu_register_vcpu_info) == 16);
static_assert(offsetof(vcpu_register_vcpu_info, mfn) == 0);
static_assert(offsetof(vcpu_register_vcpu_info, offset) == 8);
static_assert(offsetof(vcpu_register_vcpu_info, rsvd) == 12);
static_assert(std::has_unique_object_representations_v<vcpu_register_vcpu_info>);
static_assert(std::is_trivially_copyable_v<vcpu_register_vcpu_info>);

static_assert(sizeof(vcpu_hvm_x86_32) == 120);
static_assert(offsetof(vcpu_hvm_x86_32, eax) == 0);
static_assert(offsetof(vcpu_hvm_x86_32, ecx) == 4);
static_assert(offsetof(vcpu_hvm_x86_32, edx) == 8);
static_assert(offsetof(vcpu_hvm_x86_32, ebx) == 12);
static_assert(offsetof(vcpu_hvm_x86_32, esp) == 16);
static_assert(offsetof(vcpu_hvm_x86_32, ebp) == 20);
static_assert(offsetof(vcpu_hvm_x86_32, esi) == 24);
static_assert(offsetof(vcpu_hvm_x86_32, edi) == 28);
static_assert(offsetof(vcpu_hvm_x86_32, eip) == 32);
static_assert(offsetof(vcpu_hvm_x86_32, eflags) == 36);
static_assert(offsetof(vcpu_hvm_x86_32, cr0) == 40);
static_assert(offsetof(vcpu_hvm_x86_32, cr3) == 44);
static_assert(offsetof(vcpu_hvm_x86_32, cr4) == 48);
static_assert(offsetof(vcpu_hvm_x86_32, pad1) == 52);
static_assert(offsetof(vcpu_hvm_x86_32, efer) == 56);
static_assert(offsetof(vcpu_hvm_x86_32, cs_base) == 64);
static_assert(offsetof(vcpu_hvm_x86_32, ds_base) == 68);
static_assert(offsetof(vcpu_hvm_x86_32, ss_base) == 72);
static_assert(offsetof(vcpu_hvm_x86_32, es_base) == 76);
static_assert(offsetof(vcpu_hvm_x86_32, tr_base) == 80);
static_assert(offsetof(vcpu_hvm_x86_32, cs_limit) == 84);
static_assert(offsetof(vcpu_hvm_x86_32, ds_limit) == 88);
static_assert(offsetof(vcpu_hvm_x86_32, ss_limit) == 92);
static_assert(offsetof(vcpu_hvm_x86_32, es_limit) == 96);
static_assert(offsetof(vcpu_hvm_x86_32, tr_limit) == 100);
static_assert(offsetof(vcpu_hvm_x86_32, cs_ar) == 104);
static_assert(offsetof(vcpu_hvm_x86_32, ds_ar) == 106);
static_assert(offsetof(vcpu_hvm_x86_32, ss_ar) == 108);
static_assert(offsetof(vcpu_hvm_x86_32, es_ar) == 110);
static_assert(offsetof(vcpu_hvm_x86_32, tr_ar) == 112);
static_assert(offsetof(vcpu_hvm_x86_32, pad2) == 114);
static_assert(std::has_unique_object_representations_v<vcpu_hvm_x86_32>);
static_assert(std::is_trivially_copyable_v<vcpu_hvm_x86_32>);

static_assert(sizeof(vcpu_hvm_x86_64) == 112);
static_assert(offsetof(vcpu_hvm_x86_64, rax) == 0);
static_assert(offsetof(vcpu_hvm_x86_64, rcx) == 8);
static_assert(offsetof(vcpu_hvm_x86_64, rdx) == 16);
static_assert(offsetof(vcpu_hvm_x86_64, rbx) == 24);
static_assert(offsetof(vcpu_hvm_x86_64, rsp) == 32);
static_assert(offsetof(vcpu_hvm_x86_64, rbp) == 40);
static_assert(offsetof(vcpu_hvm_x86_64, rsi) == 48);
static_assert(offsetof(vcpu_hvm_x86_64, rdi) == 56);
static_assert(offsetof(vcpu_hvm_x86_64, rip) == 64);
static_assert(offsetof(vcpu_hvm_x86_64, rflags) == 72);
static_assert(offsetof(vcpu_hvm_x86_64, cr0) == 80);
static_assert(offsetof(vcpu_hvm_x86_64, cr3) == 88);
static_assert(offsetof(vcpu_hvm_x86_64, cr4) == 96);
static_assert(offsetof(vcpu_hvm_x86_64, efer) == 104);
static_assert(std::has_unique_object_representations_v<vcpu_hvm_x86_64>);
static_assert(std::is_trivially_copyable_v<vcpu_hvm_x86_64>);

static_assert(sizeof(vcpu_hvm_context_32) == 128);
static_assert(offsetof(vcpu_hvm_context_32, mode) == 0);
static_assert(offsetof(vcpu_hvm_context_32, pad) == 4);
static_assert(offsetof(vcpu_hvm_context_32, regs) == 8);
static_assert(std::has_unique_object_representations_v<vcpu_hvm_context_32>);
static_assert(std::is_trivially_copyable_v<vcpu_hvm_context_32>);

static_assert(sizeof(vcpu_hvm_context_64) == 128);
static_assert(offsetof(vcpu_hvm_context_64, mode) == 0);
static_assert(offsetof(vcpu_hvm_context_64, pad) == 4);
static_assert(offsetof(vcpu_hvm_context_64, regs) == 8);
static_assert(offsetof(vcpu_hvm_context_64, rest) == 120);
static_assert(std::has_unique_object_representations_v<vcpu_hvm_context_64>);
static_assert(std::is_trivially_copyable_v<vcpu_hvm_context_64>);

}  // namespace pvh::abi
