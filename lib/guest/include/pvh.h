/* SPDX-License-Identifier: BSD-2-Clause */
/* The C face of the guest runtime, for kernels in C and in whatever calls C (Rust, Zig). It is what
 * pvh/guest/pvh.hpp offers, function for function: plain numbers, fixed widths, no ownership. A C++
 * kernel includes pvh.hpp instead.
 *
 * The kernel defines pvh_main(). The runtime enters by the PVH note, switches to 64-bit mode (or
 * stays in 32-bit mode in a 32-bit kernel), captures the boot environment and calls it. When it
 * returns, the machine is reset.
 *
 * Ranges are inclusive, so that one may end at the top of the address space. Texts are not
 * NUL-terminated: each has its length. Functions that fill a structure answer false when there is
 * nothing to fill it with, and leave it alone then.
 */
#ifndef PVH_H
#define PVH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Lives as long as the kernel. */
struct pvh_boot;
/* The proof that Xen runs this kernel: what a hypercall asks for. */
struct pvh_xen;

#ifndef __cplusplus
/* The kernel's. */
void pvh_main(struct pvh_boot* boot);
#endif

struct pvh_text {
  const char* data;
  size_t length;
};

struct pvh_range {
  uint64_t first; /* physical */
  uint64_t last;
};

/* ---- what was handed over ---- */

uint32_t pvh_start_info_version(const struct pvh_boot* boot);
uint64_t pvh_start_info_address(const struct pvh_boot* boot);
/* SIF_*; believe them only on Xen. */
uint32_t pvh_start_info_flags(const struct pvh_boot* boot);
struct pvh_text pvh_command_line(const struct pvh_boot* boot);
/* The value of the last NAME=VALUE among its words; empty for a word without a value; false when
 * there is no such word. */
bool pvh_argument(const struct pvh_boot* boot, struct pvh_text name, struct pvh_text* value);

struct pvh_module {
  bool present; /* else it has an address or a size of 0 and `range` means nothing */
  bool in_ram;
  struct pvh_range range;
  struct pvh_text command_line;
};
size_t pvh_module_count(const struct pvh_boot* boot);
bool pvh_module_at(const struct pvh_boot* boot, size_t index, struct pvh_module* module);

/* Where the ACPI tables begin; 0 when there are none. */
uint64_t pvh_rsdp(const struct pvh_boot* boot);

/* ---- who runs us ---- */

/* The signature of the first hypervisor that CPUID names, 12 characters; empty when there is none.
 */
struct pvh_text pvh_hypervisor(const struct pvh_boot* boot);
/* NULL when it is not Xen. */
const struct pvh_xen* pvh_xen_token(const struct pvh_boot* boot);
/* Not negative, or minus one of Xen's error numbers. Pointers go by linear address. */
intptr_t pvh_xen_hypercall(struct pvh_boot* boot, const struct pvh_xen* xen, uint32_t number,
                           uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e);

/* ---- memory ---- */

/* The numbers of ACPI, E820, SMAP and hvm_memmap_table_entry. Every other number is possible too,
 * and is not RAM. */
enum pvh_memory_type {
  PVH_MEMORY_RAM = 1,
  PVH_MEMORY_RESERVED = 2,
  PVH_MEMORY_ACPI = 3,
  PVH_MEMORY_NVS = 4,
  PVH_MEMORY_UNUSABLE = 5,
  PVH_MEMORY_DISABLED = 6,
  PVH_MEMORY_PMEM = 7,
  PVH_MEMORY_UNACCEPTED = 8
};

struct pvh_memory {
  struct pvh_range range;
  uint32_t type;
};

/* Sorted and disjoint, RAM in whole pages; what no entry covers is not RAM. */
size_t pvh_memory_map_count(const struct pvh_boot* boot);
bool pvh_memory_map_at(const struct pvh_boot* boot, size_t index, struct pvh_memory* memory);
/* Whether it came from Xen by hypercall and not from start_info. */
bool pvh_memory_map_from_xen(const struct pvh_boot* boot);

/* RAM that nobody uses, in whole pages, ascending. */
size_t pvh_free_count(const struct pvh_boot* boot);
bool pvh_free_at(const struct pvh_boot* boot, size_t index, struct pvh_range* range);

/* Takes `size` bytes, rounded up to whole pages, out of the free RAM: the lowest place that is a
 * multiple of `alignment` (a power of two; 0: a page) and ends at or below `last` (UINT64_MAX:
 * anywhere). It is not zeroed. */
bool pvh_allocate(struct pvh_boot* boot, uint64_t size, uint64_t alignment, uint64_t last,
                  struct pvh_range* range);
/* Takes a range out of the free RAM that the kernel has other plans with. False: no more room to
 * note it. */
bool pvh_reserve(struct pvh_boot* boot, struct pvh_range range);
/* Gives back what the runtime has copied: start_info, the map's table, the module list. */
void pvh_release_boot_data(struct pvh_boot* boot);

/* Copies between physical memory and the kernel's; false when not all of it can be reached. */
bool pvh_read_physical(struct pvh_boot* boot, uint64_t address, void* to, size_t size);
bool pvh_write_physical(struct pvh_boot* boot, uint64_t address, const void* from, size_t size);
/* A pointer that stays good, or NULL where there is none. */
void* pvh_view_physical(struct pvh_boot* boot, struct pvh_range range);

/* ---- console ---- */

void pvh_print(struct pvh_text text);
void pvh_print_string(const char* nul_terminated);
void pvh_print_number(uint64_t value);
void pvh_print_hex(uint64_t value);
/* The whole boot environment. */
void pvh_dump(const struct pvh_boot* boot);

/* ---- processors ---- */

struct pvh_processor {
  uint32_t id;  /* APIC id; on Xen the number of the vCPU */
  uint32_t uid; /* ACPI's number for it */
  bool enabled;
};
/* The others, at most `most` of them; answers how many there are, which may be more. */
size_t pvh_other_processors(struct pvh_boot* boot, struct pvh_processor* processors, size_t most);
/* Calls entry(argument) there, on the stack that ends at `stack` (16-byte aligned); it must not
 * return. Not from two processors at once. False: it did not come up. */
bool pvh_start_processor(struct pvh_boot* boot, const struct pvh_processor* processor,
                         void (*entry)(void* argument), void* argument, void* stack);

/* ---- the end ---- */

#define PVH_NORETURN __attribute__((__noreturn__))

PVH_NORETURN void pvh_power_off(struct pvh_boot* boot);
PVH_NORETURN void pvh_reset(struct pvh_boot* boot);
PVH_NORETURN void pvh_crash(struct pvh_boot* boot, struct pvh_text why);
PVH_NORETURN void pvh_halt(void);
/* Ends a monitor that has the debug exit with status 2 * value + 1; else it does nothing. */
void pvh_debug_exit(struct pvh_boot* boot, uint8_t value);

#ifdef __cplusplus
}
#endif

#endif
