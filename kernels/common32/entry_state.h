// SPDX-License-Identifier: BSD-2-Clause
// The CPU as the loader left it, in the order in which entry.S saves it. entry_state.hpp asserts that the struct
// agrees.
#pragma once

#define ENTRY_EAX 0
#define ENTRY_EBX 4
#define ENTRY_ECX 8
#define ENTRY_EDX 12
#define ENTRY_ESI 16
#define ENTRY_EDI 20
#define ENTRY_EBP 24
#define ENTRY_ESP 28
#define ENTRY_EFLAGS 32
#define ENTRY_CR0 36
#define ENTRY_CR3 40
#define ENTRY_CR4 44
#define ENTRY_CS 48
#define ENTRY_DS 50
#define ENTRY_ES 52
#define ENTRY_FS 54
#define ENTRY_GS 56
#define ENTRY_SS 58
#define ENTRY_TR 60
#define ENTRY_LDTR 62
#define ENTRY_GDTR 64 /* limit, 2 bytes; base, 4 bytes */
#define ENTRY_IDTR 72
#define ENTRY_SIZE 80
