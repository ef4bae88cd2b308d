/* SPDX-License-Identifier: BSD-2-Clause */
/* The claim: a kernel in C gets what a kernel in C++ gets, through pvh.h alone. It says who runs it and how
 * much memory is free, allocates a page, writes to it, and ends with the verdict. */
#include <pvh.h>

#define VERDICT_OK 0x10
#define VERDICT_BAD 0x11

static uint64_t free_bytes(const struct pvh_boot *boot) {
  uint64_t sum = 0;
  struct pvh_range range;
  for (size_t i = 0; pvh_free_at(boot, i, &range); ++i) {
    sum += range.last - range.first + 1;
  }
  return sum;
}

/* Whether a fresh page is RAM that keeps what is written, and leaves the free list with it. */
static bool page_works(struct pvh_boot *boot) {
  const uint64_t before = free_bytes(boot);
  struct pvh_range page;
  if (!pvh_allocate(boot, 4096, 0, UINT64_MAX, &page)) {
    return false;
  }
  const uint64_t written = 0x5a5aa5a5c001d00dULL;
  uint64_t read = 0;
  return pvh_write_physical(boot, page.first, &written, sizeof(written)) &&
         pvh_read_physical(boot, page.first, &read, sizeof(read)) && read == written &&
         free_bytes(boot) == before - 4096;
}

void pvh_main(struct pvh_boot *boot) {
  pvh_print_string("hello from C: start_info version ");
  pvh_print_number(pvh_start_info_version(boot));
  pvh_print_string(" on ");
  const struct pvh_text hypervisor = pvh_hypervisor(boot);
  if (hypervisor.length != 0) {
    pvh_print(hypervisor);
  } else {
    pvh_print_string("no hypervisor");
  }
  pvh_print_string(", ");
  pvh_print_number(free_bytes(boot) >> 20);
  pvh_print_string(" MiB free, command line \"");
  pvh_print(pvh_command_line(boot));
  pvh_print_string("\"\n");

  const bool ok = page_works(boot);
  pvh_print_string(ok ? "verdict ok\n" : "verdict page-does-not-work\n");
  pvh_debug_exit(boot, ok ? VERDICT_OK : VERDICT_BAD);
  /* Nobody listens there. */
  pvh_power_off(boot);
}
