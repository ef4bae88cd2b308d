// SPDX-License-Identifier: BSD-2-Clause
// How exceptions come to C++.
#include "exception_vectors.inc"

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
