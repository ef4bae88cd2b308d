// SPDX-License-Identifier: BSD-2-Clause
// How exceptions come to C++.
#include "exception_vectors.inc"

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
