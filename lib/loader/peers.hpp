// SPDX-License-Identifier: BSD-2-Clause
// Private to the loader: how other loaders look for the PVH entry, faults included. Each returns
// what that loader would make of the file.
#pragma once

#include <cstdint>
#include <optional>

#include "elf.hpp"

namespace pvh::loader {

struct PeerEntry {
  enum class Outcome { kNone, kFound, kRefused, kCrash };
  Outcome outcome = Outcome::kNone;
  std::uint32_t address = 0;  // when kFound

  friend constexpr bool operator==(const PeerEntry&, const PeerEntry&) = default;
};

// include/hw/elf_ops.h (get_elf_note_type) and hw/i386/x86.c (read_pvh_start_addr).
[[nodiscard]] PeerEntry find_as_qemu(const Elf& elf);

// src/loader/elf/mod.rs: Firecracker, Cloud Hypervisor, libkrun. ELF64 only.
[[nodiscard]] PeerEntry find_as_linux_loader(const Elf& elf);
// The same in one PT_NOTE.
[[nodiscard]] PeerEntry find_as_linux_loader(const Elf& elf, const ProgramHeader& header);

// xen/common/libelf/libelf-dominfo.c: Xen's dom0 builder, and xl.
[[nodiscard]] PeerEntry find_as_libelf(const Elf& elf);

// A Multiboot1 header where QEMU looks for one (hw/i386/multiboot.c, load_multiboot).
struct MultibootHeader {
  std::uint64_t offset;
  bool has_addresses;  // "a.out kludge": the ELF headers are not looked at
};
[[nodiscard]] std::optional<MultibootHeader> find_multiboot1(base::Bytes file);

}  // namespace pvh::loader
