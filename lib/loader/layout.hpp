// SPDX-License-Identifier: BSD-2-Clause
// What has been placed so far and what is still free, byte for byte. The invariant that everything
// rests on: add() takes its range out of the free RAM, and nobody adds a range that is not free.
// (Private to the loader.)
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/loader/plan.hpp>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/map.hpp>

namespace pvh::loader::internal {

// normalize() with room of its own, nothing withheld.
[[nodiscard]] std::vector<memory_map::Entry> normalized(std::span<const memory_map::RawEntry> map);

class Layout {
 public:
  Layout() = default;
  explicit Layout(std::vector<memory_map::Entry> ram) : free_(std::move(ram)) {}

  // The RAM in a map or in a list of ranges, merged.
  [[nodiscard]] static std::vector<memory_map::Entry> ram_of(
      std::span<const memory_map::RawEntry> map);
  [[nodiscard]] static std::vector<memory_map::Entry> ram_of(std::span<const base::Range> ranges);

  [[nodiscard]] std::span<const memory_map::Entry> free() const { return free_; }
  [[nodiscard]] bool is_free(base::Range range) const { return memory_map::is_ram(free_, range); }
  // The lowest free place.
  [[nodiscard]] std::optional<base::Range> find(base::ByteSize size, base::ByteSize alignment,
                                                base::Range within) const;
  // A piece that shares an address with the range.
  [[nodiscard]] const Piece* in_the_way(base::Range range) const;

  // The range is free, or is no RAM at all (tables). `content` may follow later.
  std::size_t add(PieceKind kind, std::string name, base::Range range, base::Bytes content);
  void fill(std::size_t piece, std::vector<std::byte> content);

  // What is free in the pages that boot data lies in, page 0 left out: kernels look there for what
  // a BIOS has left.
  [[nodiscard]] std::vector<base::Range> free_beside_boot_data() const;

  // By address.
  [[nodiscard]] std::vector<Piece> take_pieces() &&;

 private:
  void take(base::Range range);

  std::vector<memory_map::Entry> free_;
  std::vector<Piece> pieces_;  // in the order placed
};

}  // namespace pvh::loader::internal
