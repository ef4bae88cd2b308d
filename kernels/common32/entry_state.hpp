// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common32/entry_state.h"

namespace pvh::kernels {

struct EntryState {
  uint32_t eax, ebx, ecx, edx, esi, edi, ebp, esp, eflags, cr0, cr3, cr4;
  uint16_t cs, ds, es, fs, gs, ss, tr, ldtr;
  uint16_t gdtr_limit, gdtr_base_low, gdtr_base_high, pad0;
  uint16_t idtr_limit, idtr_base_low, idtr_base_high, pad1;
};

static_assert(offsetof(EntryState, eax) == ENTRY_EAX);
static_assert(offsetof(EntryState, ebx) == ENTRY_EBX);
static_assert(offsetof(EntryState, ecx) == ENTRY_ECX);
static_assert(offsetof(EntryState, edx) == ENTRY_EDX);
static_assert(offsetof(EntryState, esi) == ENTRY_ESI);
static_assert(offsetof(EntryState, edi) == ENTRY_EDI);
static_assert(offsetof(EntryState, ebp) == ENTRY_EBP);
static_assert(offsetof(EntryState, esp) == ENTRY_ESP);
static_assert(offsetof(EntryState, eflags) == ENTRY_EFLAGS);
static_assert(offsetof(EntryState, cr0) == ENTRY_CR0);
static_assert(offsetof(EntryState, cr3) == ENTRY_CR3);
static_assert(offsetof(EntryState, cr4) == ENTRY_CR4);
static_assert(offsetof(EntryState, cs) == ENTRY_CS);
static_assert(offsetof(EntryState, ds) == ENTRY_DS);
static_assert(offsetof(EntryState, es) == ENTRY_ES);
static_assert(offsetof(EntryState, fs) == ENTRY_FS);
static_assert(offsetof(EntryState, gs) == ENTRY_GS);
static_assert(offsetof(EntryState, ss) == ENTRY_SS);
static_assert(offsetof(EntryState, tr) == ENTRY_TR);
static_assert(offsetof(EntryState, ldtr) == ENTRY_LDTR);
static_assert(offsetof(EntryState, gdtr_limit) == ENTRY_GDTR);
static_assert(offsetof(EntryState, idtr_limit) == ENTRY_IDTR);
static_assert(sizeof(EntryState) == ENTRY_SIZE);

}  // namespace pvh::kernels
