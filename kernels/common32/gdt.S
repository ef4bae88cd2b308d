// SPDX-License-Identifier: BSD-2-Clause
// A GDT of our own: at entry the GDTR is unspecified, so no selector may be loaded before this.
        .section .rodata
        .balign 8
own_gdt:
        .quad 0
        .quad 0x00cf9b000000ffff        // 0x08: code, base 0, limit 4 GiB, accessed
        .quad 0x00cf93000000ffff        // 0x10: data, likewise
own_gdt_end:
        .globl own_gdt_pointer
own_gdt_pointer:
        .word own_gdt_end - own_gdt - 1
        .long own_gdt

        .text
        .globl load_own_gdt
        .type load_own_gdt, @function
load_own_gdt:
        lgdt own_gdt_pointer
        movl $0x10, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        ljmp $0x08, $1f
1:      ret
        .size load_own_gdt, . - load_own_gdt

        .section .note.GNU-stack, "", @progbits
