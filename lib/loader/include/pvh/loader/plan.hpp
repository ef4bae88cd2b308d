// SPDX-License-Identifier: BSD-2-Clause
// Where everything goes: a pure value, made from an Image and a request, that says every byte of
// guest memory the loader will write, the memory map that the guest is handed, and the registers it
// starts with. `pvh run` writes it, `pvh layout` prints it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/loader/entry_state.hpp>
#include <pvh/loader/image.hpp>
#include <pvh/memory_map/map.hpp>

namespace pvh::loader {

enum class PlanError {
  kBadImage,            // the image has problems; the first is quoted
  kOutsideRam,          // a segment does not lie in the guest's RAM
  kOverlapsReserved,    // a segment lies on boot data or tables that cannot move
  kModuleTooLarge,      // no free run of RAM is long enough
  kCommandLineTooLong,  // likewise, or longer than this shape's peer allows
  kCommandLineHasNul,   // the guest would not see what follows
  kTooManyModules,      // more than this shape's peer passes, or than their list finds room for
  kNoRoomForBootData,   // start_info and what it points to
  kNoRam,               // the request has none
  kBadRequest           // tables that overlap, RAM that is not whole pages, ...
};

[[nodiscard]] base::Explanation explain(PlanError code);
using PlanFault = base::Fault<PlanError>;

// Whose placement and memory map the guest sees. kStrict is ours: sorted, disjoint, page-granular
// where RAM, and every byte that the loader wrote inside an entry. The others reproduce a peer, its
// faults included.
enum class Shape { kStrict, kQemu, kQboot, kFirecracker, kCloudHypervisor, kXen };

[[nodiscard]] std::string_view to_string(Shape shape);
[[nodiscard]] std::optional<Shape> shape_from_string(std::string_view name);

// RAM as this project's machine has it: from 0 up to the hole at 3 GiB, the rest from 4 GiB up.
// `size` is rounded up to a whole page. Empty when size is 0 or does not fit below 2^46.
[[nodiscard]] std::vector<base::Range> ram_ranges(base::ByteSize size);

// What kStrict's map names as reserved in the hole below 4 GiB: I/O APIC, local APIC, and the four
// pages that KVM needs on Intel for real mode. A machine may have no such thing elsewhere.
inline constexpr std::array kStrictDevices{
    *base::Range::from_size(base::PhysAddr(0xfec00000), base::ByteSize(0x1000)),
    *base::Range::from_size(base::PhysAddr(0xfee00000), base::ByteSize(0x1000)),
    *base::Range::from_size(base::PhysAddr(0xfffbc000), base::ByteSize(0x4000)),
};

// How much a machine may put at the reset vector.
inline constexpr base::ByteSize kResetVectorSize{16};

// Where the machine shall put its own tables so that they fit into this shape. The plan checks what
// it is given; this only says what will pass.
struct TablePlacement {
  base::Range acpi;              // room for everything but the RSDP
  base::PhysAddr rsdp;           // 36 bytes
  base::PhysAddr mp_table;       // the floating pointer; the table follows it
  base::ByteSize mp_table_room;  // for both; 0 where the peer has no MP table
  // What a kernel jumps to when it resets the machine as a BIOS would; absent where RAM lies there.
  std::optional<base::PhysAddr> reset_vector;
  bool passes_rsdp;  // whether start_info.rsdp_paddr is set
  // Host memory that the tables need outside of RAM: to be created beside it and named in
  // PlanRequest::table_memory. No entry of type RAM covers it.
  std::optional<base::Range> table_memory;
};
[[nodiscard]] TablePlacement table_placement(Shape shape, const std::vector<base::Range>& ram);

// An empty module has a page of its own, so that its address is good for something. An empty
// command line is absent (cmdline_paddr 0).
struct ModuleRequest {
  std::string name;  // for messages and pictures
  base::Bytes content;
  std::string command_line;
};

// Bytes that the machine has already decided upon: ACPI tables, the RSDP, the MP table.
struct TableRequest {
  std::string name;
  base::PhysAddr address;
  std::vector<std::byte> content;
  memory_map::Type type;  // how the map has to call them: kAcpi, kNvs or kReserved
};

struct PlanRequest {
  std::vector<base::Range> ram;  // sorted, whole pages
  std::string command_line;
  std::vector<ModuleRequest> modules;
  std::vector<TableRequest> tables;
  std::optional<base::Range> table_memory;  // TablePlacement::table_memory
  std::optional<base::PhysAddr> rsdp;
  std::uint32_t start_info_version = 1;  // 0 or 1; 0 leaves the memory map out
  Shape shape = Shape::kStrict;
  bool poison =
      false;  // hostile but legal values in everything that the protocol leaves unspecified
};

enum class PieceKind {
  kSegment,
  kModule,
  kModuleCommandLine,
  kModuleList,
  kCommandLine,
  kStartInfo,
  kMemoryMap,
  kGdt,
  kIdt,
  kTable
};
[[nodiscard]] std::string_view to_string(PieceKind kind);

// A run of guest memory that the loader fills: with `content`, then with zeroes up to the end of
// `range`.
struct Piece {
  PieceKind kind;
  std::string name;  // "segment 2", the module's name, ...
  base::Range range;
  base::Bytes content;  // in the image, the request or `owned`; never longer than range
  std::vector<std::byte> owned;
};

// Hostile as a length, as an address and as a character.
inline constexpr std::byte kPoisonByte{0xa5};

struct Plan {
  std::vector<Piece> pieces;  // sorted by address; no two overlap
  std::vector<memory_map::RawEntry>
      memory_map;  // as it is handed over (and printed even for version 0)
  EntryState entry;
  base::PhysAddr start_info;
  std::int64_t load_offset = 0;       // added to every p_paddr when the image was relocated
  std::vector<base::Range> poisoned;  // RAM beside the boot data, to be filled with kPoisonByte

  Plan() = default;
  Plan(Plan&&) = default;
  Plan& operator=(Plan&&) = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
};

// `image` and `request` must outlive the Plan: it refers to their bytes. Cost: a few passes over
// the pieces for each piece, none over their bytes.
[[nodiscard]] std::expected<Plan, PlanFault> make_plan(const Image& image,
                                                       const PlanRequest& request);

// Writes every piece, and the poison. The memory must have the request's RAM and table_memory, and
// be zeroed, as GuestMemory::create leaves it.
[[nodiscard]] guest_memory::Result<void> write(const Plan& plan, guest_memory::GuestMemory& memory);

}  // namespace pvh::loader
