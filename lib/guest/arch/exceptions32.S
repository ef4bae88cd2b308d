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
        pushl %eax
        pushl %ecx
        pushl %edx
        pushl %ebx
        pushl %ebp
        pushl %esi
        pushl %edi
        cld
        movl %esp, %eax
        andl $-16, %esp
        subl $12, %esp
        pushl %eax
        call pvh_exception
        ud2

        .section .note.GNU-stack, "", @progbits
