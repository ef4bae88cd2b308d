// SPDX-License-Identifier: BSD-2-Clause
// The PVH entry point of the 32-bit kernels: saves the CPU as the loader left it, takes a stack of its own, calls
// kernel_main(const EntryState*). The protocol gives flat CS, DS, ES and SS and EBX; nothing else is relied upon,
// ESP and the direction flag least of all.
#include "abi_offsets.h"
#include "common32/entry_state.h"

        .section .note.Xen, "a", @note
        .balign 4
        .long 2f - 1f, 4f - 3f, XEN_NOTE_PHYS32_ENTRY
1:      .asciz "Xen"
2:      .balign 4
3:      .long pvh_entry
4:      .balign 4

        .text
        .globl pvh_entry
        .type pvh_entry, @function
pvh_entry:
        // MOV changes no flag, so EFLAGS is still the loader's when it is pushed.
        movl %eax, entry_state + ENTRY_EAX
        movl %ebx, entry_state + ENTRY_EBX
        movl %ecx, entry_state + ENTRY_ECX
        movl %edx, entry_state + ENTRY_EDX
        movl %esi, entry_state + ENTRY_ESI
        movl %edi, entry_state + ENTRY_EDI
        movl %ebp, entry_state + ENTRY_EBP
        movl %esp, entry_state + ENTRY_ESP
        movl $stack_top, %esp
        pushfl
        popl entry_state + ENTRY_EFLAGS
        cld
        movl %cr0, %eax
        movl %eax, entry_state + ENTRY_CR0
        movl %cr3, %eax
        movl %eax, entry_state + ENTRY_CR3
        movl %cr4, %eax
        movl %eax, entry_state + ENTRY_CR4
        movw %cs, entry_state + ENTRY_CS
        movw %ds, entry_state + ENTRY_DS
        movw %es, entry_state + ENTRY_ES
        movw %fs, entry_state + ENTRY_FS
        movw %gs, entry_state + ENTRY_GS
        movw %ss, entry_state + ENTRY_SS
        str %ax
        movw %ax, entry_state + ENTRY_TR
        sldt %ax
        movw %ax, entry_state + ENTRY_LDTR
        sgdt entry_state + ENTRY_GDTR
        sidt entry_state + ENTRY_IDTR

        pushl $entry_state
        call kernel_main
1:      cli
        hlt
        jmp 1b
        .size pvh_entry, . - pvh_entry

        .bss
        .balign 16
entry_state:
        .skip ENTRY_SIZE
        .balign 16
        .skip 16384
stack_top:

        .section .note.GNU-stack, "", @progbits
