// SPDX-License-Identifier: BSD-2-Clause
// What startinfo32 cannot say in C++.

        .text
        // COM1's interrupt: hands every byte that has arrived to serial_interrupt(). It returns by a far RET that drops the
        // saved flags, because KVM's instruction emulator has no IRET for protected mode. So interrupts stay off; the one
        // place where they are on, the HLT in echo_by_interrupt(), turns them off next.
        .globl serial_interrupt_entry
        .type serial_interrupt_entry, @function
serial_interrupt_entry:
        pushal
        cld
        call serial_interrupt
        popal
        lret $4
        .size serial_interrupt_entry, . - serial_interrupt_entry

        // An IDT without a single entry turns any exception into a triple fault.
        .globl triple_fault
        .type triple_fault, @function
triple_fault:
        lidt no_idt
        ud2
1:      hlt
        jmp 1b
        .size triple_fault, . - triple_fault

        // XRSTOR, which no instruction emulator of KVM knows. Where the CPU runs it itself CR4.OSXSAVE is 0, so that it
        // raises #UD, and without an IDT that is a triple fault.
        .globl unemulated_instruction
        .globl unemulated_instruction_at
        .type unemulated_instruction, @function
unemulated_instruction:
        lidt no_idt
        movl $no_idt, %eax
unemulated_instruction_at:
        .byte 0x0f, 0xae, 0x28          // xrstor (%eax)
1:      hlt
        jmp 1b
        .size unemulated_instruction, . - unemulated_instruction

        .section .rodata
        .balign 64
no_idt: .word 0
        .long 0

        .section .note.GNU-stack, "", @progbits
