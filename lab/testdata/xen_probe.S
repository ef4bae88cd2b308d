# SPDX-License-Identifier: BSD-2-Clause
# A PVH kernel that says what Xen gave it, line by line, and ends as its command line tells:
#   end=poweroff | reboot | suspend | crash | watchdog   by SCHEDOP_shutdown
#   end=triple | halt | hang | reset                     by the processor; by the keyboard controller
#   via=console                                          says it by console_io, not through port 0xE9
#   lines=N                                              says N numbered lines first
# Built as a 32-bit and as a 64-bit ELF file: the entry is in 32-bit mode either way.

.set XEN_ELFNOTE_PHYS32_ENTRY, 18
.set HYPERVISOR_memory_op, 12
.set HYPERVISOR_console_io, 18
.set HYPERVISOR_vcpu_op, 24
.set HYPERVISOR_sched_op, 29
.set HYPERCALL_SIZE, 32
.set XENMEM_memory_map, 9
.set CONSOLEIO_write, 0
.set VCPUOP_is_up, 3
.set SCHEDOP_shutdown, 2
.set START_INFO_MAGIC, 0x336ec578
.set DEBUG_PORT, 0xe9
.set MAP_ENTRIES, 128

.macro hypercall number
    call hypercall_page + \number * HYPERCALL_SIZE
.endm

# Says a word that is written here.
.macro say words
    .section .data
9:  .asciz "\words"
    .section .text
    mov $9b, %esi
    call print
.endm

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start

    .section .text
    .code32
    .globl start
start:
    mov $stack_top, %esp
    cld
    mov %ebx, start_info

    # Xen's leaves start at a multiple of 0x100.
    mov $0x40000000, %edi
find_leaf:
    mov %edi, %eax
    cpuid
    cmp $0x566e6558, %ebx       # "XenV"
    je found_leaf
    add $0x100, %edi
    cmp $0x40010000, %edi
    jb find_leaf
    say "no Xen here\n"
    jmp hang
found_leaf:
    lea 2(%edi), %eax
    cpuid
    mov %ebx, %ecx              # the MSR that puts the hypercall page in place
    mov $hypercall_page, %eax
    xor %edx, %edx
    wrmsr

    mov start_info, %ebx
    cmpl $START_INFO_MAGIC, (%ebx)
    je good_magic
    say "bad magic\n"
    jmp hang
good_magic:
    mov 24(%ebx), %eax          # the low half of cmdline_paddr
    test %eax, %eax
    jz 1f
    mov %eax, command_line
1:  mov $via_console, %edi
    call find_word
    jne 1f
    movb $1, is_console
1:  mov $lines, %edi
    call find_word
    jne report
    call parse_number
    mov %eax, %ebp
    xor %ebx, %ebx
flood:
    cmp %ebp, %ebx
    jae report
    say "line "
    mov %ebx, %eax
    call print_number
    inc %ebx
    jmp flood

report:
    mov start_info, %ebx
    say "version "
    mov 4(%ebx), %eax
    call print_number
    say "flags "
    mov 8(%ebx), %eax
    call print_number
    say "start_info entries "
    xor %eax, %eax
    cmpl $1, 4(%ebx)
    jb 1f                       # version 0 ends before the map
    mov 48(%ebx), %eax
1:  call print_number

    mov $XENMEM_memory_map, %ebx
    mov $memory_map, %ecx
    hypercall HYPERVISOR_memory_op
    test %eax, %eax
    jnz 1f
    say "XENMEM_memory_map entries "
    mov memory_map, %eax
    call print_number
    jmp 2f
1:  say "XENMEM_memory_map refused\n"
2:
    xor %ebp, %ebp
count_processors:
    mov $VCPUOP_is_up, %ebx
    mov %ebp, %ecx
    xor %edx, %edx
    hypercall HYPERVISOR_vcpu_op
    test %eax, %eax
    js 1f
    inc %ebp
    jmp count_processors
1:  say "processors "
    mov %ebp, %eax
    call print_number

    mov start_info, %ebx
    say "modules "
    mov 12(%ebx), %eax
    call print_number
    cmpl $0, 12(%ebx)
    je 1f
    say "module size "
    mov 16(%ebx), %ebx          # the first entry of the module list
    mov 8(%ebx), %eax
    call print_number
    say "module begins "
    mov start_info, %ebx
    mov 16(%ebx), %ebx
    mov (%ebx), %esi
    call print_line
1:  say "command line ["
    mov command_line, %esi
    call print
    say "]\n"

    mov $end_table, %ebp
find_end:
    mov (%ebp), %edi
    test %edi, %edi
    jz hang
    call find_word
    je 1f
    add $8, %ebp
    jmp find_end
1:  jmp *4(%ebp)

end_poweroff:
    xor %eax, %eax
    jmp shutdown
end_reboot:
    mov $1, %eax
    jmp shutdown
end_suspend:
    mov $2, %eax
    jmp shutdown
end_crash:
    mov $3, %eax
    jmp shutdown
end_watchdog:
    mov $4, %eax
shutdown:
    mov %eax, shutdown_reason
    mov $SCHEDOP_shutdown, %ebx
    mov $shutdown_reason, %ecx
    hypercall HYPERVISOR_sched_op
    say "SCHEDOP_shutdown came back\n"
    jmp hang
end_triple:
    lidt no_idt
    ud2
end_reset:
    mov $0xfe, %al
    out %al, $0x64
hang:
    jmp hang
end_halt:
    cli
    hlt
    jmp end_halt

# The command line is searched for the word at EDI; ZF when it is there, with what follows it in ESI.
find_word:
    mov command_line, %edx
1:  mov %edx, %esi
    push %edi
2:  mov (%edi), %al
    test %al, %al
    jz 3f                       # all of the word was there
    cmp %al, (%esi)
    jne 3f
    inc %esi
    inc %edi
    jmp 2b
3:  pop %edi
    test %al, %al
    jz 4f
    inc %edx
    cmpb $0, -1(%edx)
    jne 1b
    test %edx, %edx             # not 0, so ZF is clear
4:  ret

# A decimal number at ESI, into EAX.
parse_number:
    xor %eax, %eax
1:  movzbl (%esi), %ecx
    sub $'0', %ecx
    cmp $9, %ecx
    ja 2f
    imul $10, %eax
    add %ecx, %eax
    inc %esi
    jmp 1b
2:  ret

# EAX in decimal, and the end of the line.
print_number:
    mov $number_end, %esi
    mov $10, %ecx
1:  xor %edx, %edx
    div %ecx
    add $'0', %dl
    dec %esi
    mov %dl, (%esi)
    test %eax, %eax
    jnz 1b
    jmp print

# The text at ESI up to its first newline, which need not be followed by anything.
print_line:
    xor %ecx, %ecx
1:  inc %ecx
    cmpb $'\n', -1(%esi,%ecx)
    jne 1b
    jmp print_counted

# The text at ESI. Keeps EBX and EBP.
print:
    xor %ecx, %ecx
1:  cmpb $0, (%esi,%ecx)
    je print_counted
    inc %ecx
    jmp 1b
print_counted:
    test %ecx, %ecx
    jz 2f
    cmpb $0, is_console
    jne 1f
    mov $DEBUG_PORT, %dx
    rep outsb
    ret
1:  push %ebx
    mov %esi, %edx
    mov $CONSOLEIO_write, %ebx
    hypercall HYPERVISOR_console_io
    pop %ebx
2:  ret

    .section .data
    .balign 8
no_idt:
    .word 0
    .long 0
command_line:
    .long nothing
end_table:
    .long poweroff, end_poweroff
    .long reboot, end_reboot
    .long suspend, end_suspend
    .long crash, end_crash
    .long watchdog, end_watchdog
    .long triple, end_triple
    .long reset, end_reset
    .long halt, end_halt
    .long 0
memory_map:
    .long MAP_ENTRIES, map_buffer
poweroff:    .asciz "end=poweroff"
reboot:      .asciz "end=reboot"
suspend:     .asciz "end=suspend"
crash:       .asciz "end=crash"
watchdog:    .asciz "end=watchdog"
triple:      .asciz "end=triple"
reset:       .asciz "end=reset"
halt:        .asciz "end=halt"
via_console: .asciz "via=console"
lines:       .asciz "lines="
nothing:     .asciz ""
    .skip 10
number_end:  .asciz "\n"
is_console:  .byte 0

    .section .bss
    .balign 4096
hypercall_page:
    .skip 4096
map_buffer:
    .skip MAP_ENTRIES * 20
start_info:
    .skip 4
shutdown_reason:
    .skip 4
    .balign 16
    .skip 4096
stack_top:
