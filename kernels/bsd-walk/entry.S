// SPDX-License-Identifier: BSD-2-Clause
// sys/amd64/amd64/xen-locore.S, xen_start32: from the PVH entry to C++ at KERNBASE. Relied upon are
// EBX, flat CS and DS, and a zeroed .bss, which is the loader's duty; nothing else.

#define KERNBASE 0xffffffff80000000
#define VTOP(symbol) (symbol - KERNBASE)
#define PG_V_RW 0x3
#define PG_PS 0x80
#define NBPDR 0x200000
#define CODE32 0x08
#define DATA 0x10
#define CODE64 0x18

        // As many notes as FreeBSD has, so that a loader must look for the one that counts.
        .macro elfnote type, directive, value:vararg
        .long 2f - 1f, 4f - 3f, \type
1:      .asciz "Xen"
2:      .balign 4
3:      \directive \value
4:      .balign 4
        .endm

        .section __xen_guest, "a", @note
        .balign 4
        elfnote 6, .asciz, "FreeBSD"            // GUEST_OS
        elfnote 7, .asciz, "bsd-walk"           // GUEST_VERSION
        elfnote 5, .asciz, "xen-3.0"            // XEN_VERSION
        elfnote 3, .quad, KERNBASE              // VIRT_BASE
        elfnote 4, .quad, KERNBASE              // PADDR_OFFSET
        elfnote 10, .asciz, "writable_descriptor_tables|auto_translated_physmap|supervisor_mode_kernel|hvm_callback_vector"
        elfnote 9, .asciz, "yes"                // PAE_MODE
        elfnote 13, .quad, 1, 1                 // L1_MFN_VALID
        elfnote 8, .asciz, "generic"            // LOADER
        elfnote 14, .long, 0                    // SUSPEND_CANCEL
        elfnote 11, .asciz, "yes"               // BSD_SYMTAB
        elfnote 18, .quad, VTOP(xen_start32)    // PHYS32_ENTRY

        .text
        .code32
        .globl xen_start32
        .type xen_start32, @function
xen_start32:
        lgdtl VTOP(gdt_descriptor)
        movl $DATA, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        movl $VTOP(bootstack_top), %esp

        // All 512 slots of PT4 name PT3, all of PT3 name PT2, and PT2 is the first GiB: it shows at
        // 0, where this runs, at KERNBASE, and everywhere else.
        xorl %ecx, %ecx
1:      movl $VTOP(PT3) + PG_V_RW, VTOP(PT4)(, %ecx, 8)
        movl $VTOP(PT2) + PG_V_RW, VTOP(PT3)(, %ecx, 8)
        movl %ecx, %eax
        shll $21, %eax
        orl $PG_V_RW + PG_PS, %eax
        movl %eax, VTOP(PT2)(, %ecx, 8)
        incl %ecx
        cmpl $512, %ecx
        jne 1b

        movl $1 << 5, %eax              // PAE
        movl %eax, %cr4
        movl $0xc0000080, %ecx          // EFER
        rdmsr
        orl $1 << 8 | 1 << 0, %eax      // LME, SCE
        wrmsr
        movl $VTOP(PT4), %eax
        movl %eax, %cr3
        movl %cr0, %eax
        orl $0x80010001, %eax           // PG, WP, PE
        movl %eax, %cr0
        ljmp $CODE64, $VTOP(bootstrap64)

        .code64
bootstrap64:
        movabsq $at_kernbase, %rax
        jmp *%rax
at_kernbase:
        movq $bootstack_top, %rsp
        pushq $0x2                      // no flag is the loader's any longer
        popfq
        xorl %ebp, %ebp
        movl %ebx, %edi
        call hammer_time_xen
2:      cli
        hlt
        jmp 2b
        .size xen_start32, . - xen_start32

// What e_entry names, for the loader of FreeBSD's own: nobody enters here.
        .globl btext
        .type btext, @function
btext:
        cli
        hlt
        jmp btext
        .size btext, . - btext

        .section .rodata
        .balign 8
gdt:    .quad 0
        .quad 0x00cf9b000000ffff        // CODE32
        .quad 0x00cf93000000ffff        // DATA
        .quad 0x00af9b000000ffff        // CODE64
gdt_descriptor:
        .word . - gdt - 1
        .long VTOP(gdt)

        .bss
        .balign 4096
PT4:    .skip 4096
PT3:    .skip 4096
PT2:    .skip 4096
bootstack:
        .skip 16384
bootstack_top:

        .section .note.GNU-stack, "", @progbits
