// SPDX-License-Identifier: BSD-2-Clause
// What a loader leaves in memory, written into a FakeMachine: start_info and all that it points at.
// Set the members that matter to a test, then boot(); the others are as Firecracker has them.
//
//   FakeMachine fake;
//   BootBuilder builder(fake);
//   builder.map = {{0, 0x9fc00, 1}, {0x100000, 0x7f00000, 1}};
//   const auto boot = builder.boot();
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include <pvh/guest/boot.hpp>

#include "lib/guest/testing/fake_machine.hpp"

namespace pvh::guest::testing {

// Storage of exactly these sizes on the heap, so that ASan sees one too many.
struct StorageSizes {
  std::size_t entries = 64;
  std::size_t modules = 8;
  std::size_t reservations = 80;
  std::size_t strings = 256;
};
class HeapStorage {
 public:
  explicit HeapStorage(const StorageSizes& sizes = {});

  [[nodiscard]] Storage spans();
  [[nodiscard]] MapStorage map_spans();

 private:
  std::vector<memory_map::RawEntry> raw_;
  std::vector<memory_map::Entry> map_;
  std::vector<memory_map::Entry> free_;
  std::vector<memory_map::Scratch> scratch_;
  std::vector<base::Range> ranges_;
  std::vector<Module> modules_;
  std::vector<Reservation> reservations_;
  std::vector<char> strings_;
};

// One record of the module list, as it is written.
struct ModuleRecord {
  std::uint64_t paddr = 0;
  std::uint64_t size = 0;
  std::uint64_t cmdline_paddr = 0;
  std::uint64_t reserved = 0;
};

class BootBuilder {
 public:
  explicit BootBuilder(FakeMachine& fake) : fake_(&fake) {}

  // Zeroes at 0 before anything is placed; 0: memory is only where something is put.
  std::uint64_t low_memory = 0x100000;
  base::Range image = *base::Range::from_last(base::PhysAddr(0x200000), base::PhysAddr(0x2fffff));

  std::uint64_t start_info = 0x6000;
  std::uint32_t magic = abi::XEN_HVM_START_MAGIC_VALUE;
  std::uint32_t version = 1;
  std::uint32_t flags = 0;
  std::uint64_t rsdp = 0;

  // Nothing written for an empty one and the address is kept; the counts are the real ones unless
  // told otherwise.
  std::vector<memory_map::RawEntry> map = {{0, 0x9fc00, 1}, {0x100000, 0x7f00000, 1}};
  std::uint64_t memmap = 0x7000;
  std::optional<std::uint32_t> memmap_entries;

  std::vector<ModuleRecord> modules;
  std::uint64_t modlist = 0x6040;
  std::optional<std::uint32_t> nr_modules;

  std::optional<std::string> command_line;  // its NUL is written too
  std::uint64_t command_line_address = 0x20000;

  StorageSizes sizes;
  BootOptions options;
  DetectOptions detect;

  // Writes it all; the answer is EBX. Only the first 40 bytes of a version 0.
  base::PhysAddr place();
  // place() and capture(). The storage lives as long as the builder, and is the same each time.
  [[nodiscard]] std::expected<Boot, BootError> boot();
  // capture() of what is there, placed by hand.
  [[nodiscard]] std::expected<Boot, BootError> capture_at(base::PhysAddr ebx);

 private:
  FakeMachine* fake_;
  std::optional<HeapStorage> storage_;
};

// Empty when free() is what it must be, else what is wrong with it: sorted, in whole pages, exactly
// the RAM of memory_map() that no reservation touches. Judged interval by interval, in the most
// naive way.
[[nodiscard]] std::string judge_free(const Boot& boot);

// Whether there is a reservation of this kind, of exactly these bytes.
[[nodiscard]] bool has_reservation(const Boot& boot, ReservationKind kind, std::uint64_t first,
                                   std::uint64_t last, std::uint32_t index = 0);

}  // namespace pvh::guest::testing
