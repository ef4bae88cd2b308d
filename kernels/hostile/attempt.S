// SPDX-License-Identifier: BSD-2-Clause
// attempt.hpp: what a call must keep is on the stack, and where the stack is, in hostile_recovery.
        .text
        .globl hostile_attempt
        .globl hostile_exception
hostile_attempt:
        pushq %rbx
        pushq %rbp
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        pushq hostile_recovery
        movq %rsp, hostile_recovery
        movq %rdi, %rax
        movq %rsi, %rdi
        call *%rax
        movl $1, %eax
attempt_ends:
        popq hostile_recovery
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        ret

// Any exception, with or without an error code, on a stack of its own: none of it is looked at.
hostile_exception:
        cld
        movq hostile_recovery, %rsp
        xorl %eax, %eax
        jmp attempt_ends

        .bss
        .balign 8
hostile_recovery:
        .quad 0

        .section .note.GNU-stack, "", @progbits
