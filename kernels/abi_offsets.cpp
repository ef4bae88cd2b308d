// SPDX-License-Identifier: BSD-2-Clause
// Prints lib/abi's facts as a header of plain numbers. A 32-bit kernel cannot include lib/abi
// itself: this machine's C++ library comes for 64 bits only. So the facts still live once, and the
// build carries them over.
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include <pvh/abi/elf_note.hpp>
#include <pvh/abi/start_info.hpp>

namespace {

void define(const char* name, std::uint64_t value) {
  std::printf("#define %s 0x%llx\n", name, static_cast<unsigned long long>(value));
}

}  // namespace

int main() {
  using namespace pvh::abi;
  std::puts("/* Made from lib/abi by kernels/abi_offsets.cpp. */");
  std::puts("#pragma once");
  define("HVM_START_MAGIC", XEN_HVM_START_MAGIC_VALUE);
  define("HVM_START_INFO_SIZE_V0", kStartInfoSizeV0);
  define("HVM_START_INFO_SIZE_V1", kStartInfoSizeV1);
  define("HVM_START_INFO_MAGIC", offsetof(hvm_start_info, magic));
  define("HVM_START_INFO_VERSION", offsetof(hvm_start_info, version));
  define("HVM_START_INFO_FLAGS", offsetof(hvm_start_info, flags));
  define("HVM_START_INFO_NR_MODULES", offsetof(hvm_start_info, nr_modules));
  define("HVM_START_INFO_MODLIST_PADDR", offsetof(hvm_start_info, modlist_paddr));
  define("HVM_START_INFO_CMDLINE_PADDR", offsetof(hvm_start_info, cmdline_paddr));
  define("HVM_START_INFO_RSDP_PADDR", offsetof(hvm_start_info, rsdp_paddr));
  define("HVM_START_INFO_MEMMAP_PADDR", offsetof(hvm_start_info, memmap_paddr));
  define("HVM_START_INFO_MEMMAP_ENTRIES", offsetof(hvm_start_info, memmap_entries));
  define("HVM_START_INFO_RESERVED", offsetof(hvm_start_info, reserved));
  define("HVM_MODLIST_SIZE", sizeof(hvm_modlist_entry));
  define("HVM_MODLIST_PADDR", offsetof(hvm_modlist_entry, paddr));
  define("HVM_MODLIST_SIZE_FIELD", offsetof(hvm_modlist_entry, size));
  define("HVM_MODLIST_CMDLINE_PADDR", offsetof(hvm_modlist_entry, cmdline_paddr));
  define("HVM_MODLIST_RESERVED", offsetof(hvm_modlist_entry, reserved));
  define("HVM_MEMMAP_ENTRY_SIZE", sizeof(hvm_memmap_table_entry));
  define("HVM_MEMMAP_ADDR", offsetof(hvm_memmap_table_entry, addr));
  define("HVM_MEMMAP_SIZE_FIELD", offsetof(hvm_memmap_table_entry, size));
  define("HVM_MEMMAP_TYPE", offsetof(hvm_memmap_table_entry, type));
  define("HVM_MEMMAP_RESERVED", offsetof(hvm_memmap_table_entry, reserved));
  define("HVM_MEMMAP_TYPE_RAM", XEN_HVM_MEMMAP_TYPE_RAM);
  define("XEN_NOTE_PHYS32_ENTRY", XEN_ELFNOTE_PHYS32_ENTRY);
  return 0;
}
