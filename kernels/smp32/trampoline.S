// SPDX-License-Identifier: BSD-2-Clause
// Where an application processor starts: in real mode, at the page that the SIPI named. It goes to 32-bit mode, counts
// itself and sleeps. Copied below 1 MiB by smp32.cpp; refers to nothing by its own address.
        .text
        .globl trampoline
        .globl trampoline_end
        .code16
trampoline:
        cli
        // CS is all that a SIPI sets: its base is this page.
        movw %cs, %ax
        movw %ax, %ds
        lgdtl trampoline_gdt - trampoline
        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        ljmpl $0x08, $in_32_bits
        .balign 4
        .globl trampoline_gdt
trampoline_gdt:
        .skip 6
trampoline_end:

        .code32
in_32_bits:
        movl $0x10, %eax
        movl %eax, %ds
        lock incl started_cpus
1:      cli
        hlt
        jmp 1b

        .bss
        .balign 4
        .globl started_cpus
started_cpus:
        .skip 4

        .section .note.GNU-stack, "", @progbits
