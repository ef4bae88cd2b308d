// SPDX-License-Identifier: BSD-2-Clause
// From the PVH entry point to C++ in 64-bit mode. The loader gives flat CS, DS, ES and SS, and EBX;
// nothing else is relied upon: not ESP, not EAX, no table, no flag.
//
// What runs before paging, and its data, is linked where it is loaded (.pvh_boot*); of a
// higher-half kernel the rest is not, and its physical addresses come from the linker script.
#include "note.inc"

        pvh_note pvh_entry
#include "entry_state.inc"
#include "own_segments.inc"

// Page table bits.
#define PRESENT_WRITABLE 0x3
#define LARGE 0x80
// A selector in pvh_gdt, beside those of own_segments.inc.
#define CODE64 0x18

        .section .pvh_boot, "ax", @progbits
        .code32
        .globl pvh_entry
        .type pvh_entry, @function
pvh_entry:
        save_entry_state

        load_own_segments_and_clear_bss
        movl $pvh_boot_bss_physical, %edi
        movl $pvh_boot_bss_dwords, %ecx
        rep stosl

        movl $0x80000000, %eax
        cpuid
        cmpl $0x80000001, %eax
        jb no_long_mode
        movl $0x80000001, %eax
        cpuid
        btl $29, %edx
        jnc no_long_mode
        movl %edx, %ebp                 // features, until EFER

        movl $pvh_stack_top_physical, %esp

        // The first 4 GiB: in 2 MiB pages, or but for the first GiB in pages of 1 GiB. The first is
        // always the former, so that one 2 MiB of it can be broken up below.
        movl $page_directories, %edi
        movl $LARGE + PRESENT_WRITABLE, %eax
        movl $0x200000, %edx
        movl $4096 * 4, %ecx
        btl $26, %ebp
        jnc 2f
        movl $4096, %ecx
2:      call fill_table
        movl $page_directories + 4096 + PRESENT_WRITABLE, %edx
        movl $4096, %ebx
        btl $26, %ebp
        jnc 3f
        movl $0x40000000 + LARGE + PRESENT_WRITABLE, %edx
        movl $0x40000000, %ebx
3:
        movl $page_directories + PRESENT_WRITABLE, low_pdpt
        movl $page_directories + PRESENT_WRITABLE, high_pdpt + 8 * 510
        movl %edx, low_pdpt + 8
        movl %edx, high_pdpt + 8 * 511
        addl %ebx, %edx
        movl %edx, low_pdpt + 16
        addl %ebx, %edx
        movl %edx, low_pdpt + 24
        // Behind them the window through which memory above 4 GiB is seen (x86_machine.hpp).
        movl $pvh_window_directory + PRESENT_WRITABLE, low_pdpt + 32

        // The 2 MiB around the boot stack in small pages, without the one below the stack.
        movl $guard_table, %edi
        movl $pvh_guard_region + PRESENT_WRITABLE, %eax
        movl $0x1000, %edx
        movl $4096, %ecx
        call fill_table
        movl $pvh_guard_entry, %eax
        movl $0, guard_table(%eax)
        movl $pvh_guard_directory_entry, %eax
        movl $guard_table + PRESENT_WRITABLE, page_directories(%eax)

        movl $low_pdpt + PRESENT_WRITABLE, pvh_boot_pml4
        movl $pvh_is_higher_half, %eax
        testl %eax, %eax
        jz 6f
        // pvh_boot_pml4 keeps the identity map, to come in by; pvh_kernel_pml4 has not got it.
        movl $low_pdpt + PRESENT_WRITABLE, %eax
        movl %eax, pvh_boot_pml4 + 8 * 256
        movl %eax, pvh_kernel_pml4 + 8 * 256
        movl $high_pdpt + PRESENT_WRITABLE, %eax
        movl %eax, pvh_boot_pml4 + 8 * 511
        movl %eax, pvh_kernel_pml4 + 8 * 511
6:
        movl $pvh_boot_pml4, %eax
        movl %eax, %cr3
        movl %cr4, %eax
        orl $1 << 5, %eax               // PAE
        movl %eax, %cr4
        movl $0xc0000080, %ecx          // EFER
        rdmsr
        orl $1 << 8, %eax               // LME
        btl $20, %ebp
        jnc 7f
        orl $1 << 11, %eax              // NXE
7:      wrmsr
        movl %cr0, %eax
        orl $0x80010020, %eax           // PG, WP, NE
        movl %eax, %cr0
        ljmp $CODE64, $8f

        .code64
8:      movq $pvh_stack_top, %rsp
        xorl %ebp, %ebp                 // the end of the chain of frames
        movl pvh_entry_state + ENTRY_STATE_EBX, %edi
        movq $pvh_start, %rax
        pushq $0                        // as if called: C++ counts on it for the alignment
        jmp *%rax

        .code32
// Fills ECX bytes at EDI, 64 times a power of two, with page table entries: the first is EAX, whose
// address is aligned to all that they map, and each next one is EDX more. What is done is copied
// behind itself and gets one more bit, time and again: about an instruction and a half for each entry, where a
// software KVM pays for each. Upper halves are 0 and stay so.
        .type fill_table, @function
fill_table:
        movl %ecx, %ebx
        .set offset, 0
        .rept 8
        movl %eax, offset(%edi)
        addl %edx, %eax
        .set offset, offset + 8
        .endr
        shll $3, %edx
        movl $64, %ecx
1:      cmpl %ebx, %ecx
        jae 3f
        pushl %edi
        pushl %ecx
        movl %edi, %esi
        addl %ecx, %edi
        movl %edi, %eax
        shrl $2, %ecx
        rep movsl
2:      .set offset, 0
        .rept 8
        orl %edx, offset(%eax)
        .set offset, offset + 8
        .endr
        addl $64, %eax
        cmpl %edi, %eax
        jne 2b
        popl %ecx
        popl %edi
        addl %ecx, %ecx
        addl %edx, %edx
        jmp 1b
3:      ret
        .size fill_table, . - fill_table

no_long_mode:
        movl $no_long_mode_text, %esi
        jmp pvh_say_and_stop
        .size pvh_entry, . - pvh_entry

// What e_entry names: a loader that ignores the note, Firecracker's for one, enters here, in 64-bit
// mode by Linux's boot protocol.
        .code64
        .globl pvh_wrong_entry
        .type pvh_wrong_entry, @function
pvh_wrong_entry:
        movl $wrong_entry_text, %esi
        .size pvh_wrong_entry, . - pvh_wrong_entry
        // Falls through.
#include "say.inc"

no_long_mode_text:
        .asciz "pvh: this processor has no 64-bit mode\n"
wrong_entry_text:
        .asciz "pvh: booted without PVH: this loader did not use the kernel's PVH note\n"
        .balign 4
gdt_pointer:
        .word pvh_gdt_end - pvh_gdt - 1
        .long pvh_gdt_physical

        // Writable: LTR marks its descriptor. Accessed already, so that nothing else is written.
        .section .data.pvh_gdt, "aw", @progbits
        .balign 8
        .globl pvh_gdt
pvh_gdt:
        .quad 0
        .quad 0x00cf9b000000ffff        // CODE32
        .quad 0x00cf93000000ffff        // DATA
        .quad 0x00af9b000000ffff        // CODE64
        .globl pvh_gdt_tss
pvh_gdt_tss:
        .quad 0, 0                      // filled by descriptors64.cpp
        .globl pvh_gdt_end
pvh_gdt_end:

        .section .pvh_boot_bss, "aw", @nobits
        .balign 4096
        .globl pvh_boot_pml4
pvh_boot_pml4:
        .skip 4096
        .globl pvh_kernel_pml4
pvh_kernel_pml4:
        .skip 4096
low_pdpt:
        .skip 4096
high_pdpt:
        .skip 4096
        .globl pvh_window_directory
pvh_window_directory:
        .skip 4096
guard_table:
        .skip 4096
page_directories:
        .skip 4 * 4096

        .section .note.GNU-stack, "", @progbits
