// SPDX-License-Identifier: BSD-2-Clause
// The host's one checked door to guest memory. A guest physical address never becomes a host
// pointer anywhere else: every access names an address and a size, and both ends are checked,
// overflow included.
//
// The guest runs while the host reads: bytes may change between two reads. Copy what you decide
// upon once (read), then use the copy. slice() is for bulk data whose content does not matter to
// the host (a file into RAM, RAM to a disk).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/base/mapping.hpp>

namespace pvh::guest_memory {

enum class MemoryError {
  kOutsideRam,   // the guest has no memory there, or not as much
  kOverlap,      // two regions share an address
  kNoHostMemory  // the host refused to map it
};

[[nodiscard]] base::Explanation explain(MemoryError code);

using Fault = base::Fault<MemoryError>;
template <typename T>
using Result = std::expected<T, Fault>;

class GuestMemory {
 public:
  struct Region {
    base::Range range;
    base::Mapping mapping;
  };

  // Zeroed, private, lazily populated host memory for each range; sorted by address. Page-aligned
  // ranges only. On the host each region starts at the same offset within 2 MiB as in the guest, so
  // that huge pages can back it.
  [[nodiscard]] static Result<GuestMemory> create(std::span<const base::Range> ranges);

  // Both may cross from one region into a neighbour that touches it. write() changes nothing unless
  // all of it fits.
  [[nodiscard]] Result<void> read(base::PhysAddr address, base::MutableBytes out) const;
  [[nodiscard]] Result<void> write(base::PhysAddr address, base::Bytes in);

  // All of [address, address + size) as host memory; it must lie in one region. An empty slice is
  // allowed anywhere in RAM.
  [[nodiscard]] Result<base::MutableBytes> slice(base::PhysAddr address, base::ByteSize size);

  // The guest does not need the content of these bytes (a slice) any more: whole pages among them
  // go back to the host, and are zeros when they are touched again.
  void discard(base::MutableBytes slice);

  template <base::Wire T>
  [[nodiscard]] Result<T> read_value(base::PhysAddr address) const {
    std::array<std::byte, sizeof(T)> bytes;
    if (auto done = read(address, bytes); !done) {
      return std::unexpected(std::move(done).error());
    }
    return std::bit_cast<T>(bytes);
  }
  template <base::Wire T>
  [[nodiscard]] Result<void> write_value(base::PhysAddr address, const T& value) {
    return write(address, base::to_bytes(value));
  }

  [[nodiscard]] std::span<const Region> regions() const { return regions_; }
  // For the hypervisor alone: where a region's memory is in this process.
  [[nodiscard]] std::span<Region> regions() { return regions_; }
  [[nodiscard]] base::ByteSize total() const;

 private:
  explicit GuestMemory(std::vector<Region> regions) : regions_(std::move(regions)) {}

  // The part of [address, address + size) that lies in one region, as an index and an offset into
  // it.
  struct Place {
    std::size_t region;
    std::size_t offset;
    std::size_t size;
  };
  [[nodiscard]] std::optional<Place> find(base::PhysAddr address, std::uint64_t size) const;
  [[nodiscard]] Result<void> check(base::PhysAddr address, std::uint64_t size) const;

  std::vector<Region> regions_;
};

}  // namespace pvh::guest_memory
