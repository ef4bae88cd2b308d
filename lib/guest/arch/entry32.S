// SPDX-License-Identifier: BSD-2-Clause
// From the PVH entry point to C++ in a kernel that stays in 32-bit mode, without paging. The loader
// gives flat CS, DS, ES and SS, and EBX; nothing else is relied upon: not ESP, not EAX, no table,
// no flag.
#include "note.inc"

        pvh_note pvh_entry
#include "entry_state.inc"
#include "own_segments.inc"

        .section .pvh_boot, "ax", @progbits
        .globl pvh_entry
        .type pvh_entry, @function
pvh_entry:
        save_entry_state

        load_own_segments_and_clear_bss

        movl $pvh_stack_top, %esp
        xorl %ebp, %ebp                 // the end of the chain of frames
        subl $12, %esp                  // C++ counts on a multiple of 16 before the call
        pushl %ebx
        call pvh_start
        ud2
        .size pvh_entry, . - pvh_entry

// What e_entry names: whoever ignores the note enters here.
        .globl pvh_wrong_entry
        .type pvh_wrong_entry, @function
pvh_wrong_entry:
        movl $wrong_entry_text, %esi
        .size pvh_wrong_entry, . - pvh_wrong_entry
        // Falls through.
#include "say.inc"

wrong_entry_text:
        .asciz "pvh: booted without PVH: this loader did not use the kernel's PVH note\n"
        .balign 4
gdt_pointer:
        .word pvh_gdt_end - pvh_gdt - 1
        .long pvh_gdt

        // Accessed already, so that nothing is written to it.
        .section .data.pvh_gdt, "aw", @progbits
        .balign 8
        .globl pvh_gdt
pvh_gdt:
        .quad 0
        .quad 0x00cf9b000000ffff        // CODE32
        .quad 0x00cf93000000ffff        // DATA
        .globl pvh_gdt_end
pvh_gdt_end:

        .section .note.GNU-stack, "", @progbits
