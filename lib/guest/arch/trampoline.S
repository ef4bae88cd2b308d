// SPDX-License-Identifier: BSD-2-Clause
// Where another processor starts: in real mode, at the page that the SIPI named, to which smp.cpp
// has copied this; it refers to nothing by its own address. It goes by 32-bit to 64-bit mode and
// from there into the kernel. Structures: internal/processor_start.hpp.
#define TRAMPOLINE_CR3 24
#define TRAMPOLINE_EFER 28
#define TRAMPOLINE_CR0 32
#define TRAMPOLINE_START 40
#define TRAMPOLINE_ENTRY 48
#define START_STATE 0
#define START_CR3 8
#define START_CR4 16
#define START_STACK 24
#define WANTED 1
#define COMES 2

#define CODE32 0x08
#define DATA 0x10
#define CODE64 0x18

        .section .rodata.pvh_trampoline, "a", @progbits
        .balign 16
        .globl pvh_trampoline
        .globl pvh_trampoline_data
        .globl pvh_trampoline_end
        .code16
pvh_trampoline:
        cli
        cld
        // CS is all that a SIPI sets: its base is this page.
        xorl %ebx, %ebx
        movw %cs, %bx
        movw %bx, %ds
        shll $4, %ebx
        lgdtl pvh_trampoline_data - pvh_trampoline
        movl %cr0, %eax
        orb $1, %al                     // PE
        movl %eax, %cr0
        ljmpl *(protected_mode_entry - pvh_trampoline)

        .code32
in_protected_mode:
        addl $pvh_trampoline_data - pvh_trampoline, %ebx
        movl $DATA, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        movl %eax, %fs
        movl %eax, %gs
        movl %cr4, %eax
        orl $1 << 5, %eax               // PAE
        movl %eax, %cr4
        movl TRAMPOLINE_CR3(%ebx), %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx          // EFER
        movl TRAMPOLINE_EFER(%ebx), %eax
        xorl %edx, %edx
        wrmsr
        movl TRAMPOLINE_CR0(%ebx), %eax
        movl %eax, %cr0
        ljmpl *(long_mode_entry - pvh_trampoline_data)(%ebx)

        .code64
in_long_mode:
        movq TRAMPOLINE_START(%rbx), %rdi
        jmp *TRAMPOLINE_ENTRY(%rbx)

        .balign 8
pvh_trampoline_data:
        .word gdt_end - gdt - 1
        .long gdt - pvh_trampoline
        .word 0
protected_mode_entry:
        .long in_protected_mode - pvh_trampoline
        .word CODE32, 0
long_mode_entry:
        .long in_long_mode - pvh_trampoline
        .word CODE64, 0
        .long 0, 0, 0, 0                // CR3, EFER, CR0
        .quad 0, 0                      // start, entry
        .balign 8
gdt:
        .quad 0
        .quad 0x00cf9b000000ffff        // CODE32
        .quad 0x00cf93000000ffff        // DATA
        .quad 0x00af9b000000ffff        // CODE64
gdt_end:
pvh_trampoline_end:

        .section .text.pvh_processor_entry, "ax", @progbits
        .globl pvh_processor_entry
        .type pvh_processor_entry, @function
pvh_processor_entry:
        // Who comes too late finds that nobody waits.
        movl $WANTED, %eax
        movl $COMES, %ecx
        lock cmpxchgl %ecx, START_STATE(%rdi)
        jne 1f
        movq START_CR3(%rdi), %rax
        movq %rax, %cr3
        movq START_CR4(%rdi), %rax
        movq %rax, %cr4
        movq START_STACK(%rdi), %rsp
        xorl %ebp, %ebp                 // the end of the chain of frames
        pushq $0                        // as if called: C++ counts on it for the alignment
        jmp pvh_processor_start
1:      cli
        hlt
        jmp 1b
        .size pvh_processor_entry, . - pvh_processor_entry

        .section .note.GNU-stack, "", @progbits
