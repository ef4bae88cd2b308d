// SPDX-License-Identifier: BSD-2-Clause
// The first instruction of each exception: a call, so that the return address tells which one it
// is. Then C++ with all registers in memory (exceptions.cpp), which does not return.
        .section .text.pvh_exception_vectors, "ax", @progbits
        .globl pvh_exception_vectors
pvh_exception_vectors:
        .rept 32
        call exception
        .endr

exception:
        pushq %rax
        pushq %rcx
        pushq %rdx
        pushq %rbx
        pushq %rbp
        pushq %rsi
        pushq %rdi
        pushq %r8
        pushq %r9
        pushq %r10
        pushq %r11
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        cld
        movq %rsp, %rdi
        andq $-16, %rsp
        call pvh_exception
        ud2

        .section .note.GNU-stack, "", @progbits
