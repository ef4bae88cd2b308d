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
#include <string>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/base/mapping.hpp>

namespace pvh::guest_memory {

enum class MemoryError {
  kOutsideRam,    // the guest has no memory there, or not as much
  kOverlap,       // two regions share an address
  kNoHostMemory,  // the host refused to map it
  kNoHugePages,   // the host has not as many free
  kNoFile         // the host has no such files, or may not have one as large
};

[[nodiscard]] base::Explanation explain(MemoryError code);

using Fault = base::Fault<MemoryError>;
template <typename T>
using Result = std::expected<T, Fault>;

inline constexpr base::ByteSize kHugePageSize{std::uint64_t{2} << 20};

// What the memory is made of on the host.
struct Backing {
  enum class Kind : std::uint8_t {
    kAnonymous,  // private; taken page by page as it is touched
    // A file without a place (memfd), that others may map by /proc/PID/fd; taken as it is touched.
    kMemfd,
    // Huge pages of 2 MiB from the host's pool, all of them taken at once. They are in such a file
    // too. What of a region is no whole huge page, at its beginning or end, is anonymous.
    kHugePages
  };
  Kind kind = Kind::kAnonymous;
  std::string name{};  // of the file, as /proc/PID/fd shows it; at most 200 bytes of it
};

class GuestMemory {
 public:
  struct Region {
    base::Range range;
    base::Mapping mapping;
    base::MutableBytes in_file{};  // the part of it that is
  };

  // Zeroed host memory for each range; sorted by address. Page-aligned ranges only. On the host
  // each region starts at the same offset within 2 MiB as in the guest, so that huge pages can back
  // it. In the file each byte is at its guest physical address; it cannot change its size.
  [[nodiscard]] static Result<GuestMemory> create(std::span<const base::Range> ranges,
                                                  const Backing& backing = {});

  // Both may cross from one region into a neighbour that touches it. write() changes nothing unless
  // all of it fits.
  [[nodiscard]] Result<void> read(base::PhysAddr address, base::MutableBytes out) const;
  [[nodiscard]] Result<void> write(base::PhysAddr address, base::Bytes in);

  // All of [address, address + size) as host memory; it must lie in one region. An empty slice is
  // allowed anywhere in RAM.
  [[nodiscard]] Result<base::MutableBytes> slice(base::PhysAddr address, base::ByteSize size);

  // The guest does not need the content of these bytes (a slice) any more: whole pages among them
  // (huge ones, where they are) go back to the host, and are zeros when they are touched again.
  // A huge page that the host has given to another by then cannot be had: that ends a process.
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
  GuestMemory(std::vector<Region> regions, base::Fd file, std::uint64_t file_page)
      : regions_(std::move(regions)), file_(std::move(file)), file_page_(file_page) {}

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
  base::Fd file_;            // open for others; empty when there is none
  std::uint64_t file_page_;  // what it is given and gives back in
};

}  // namespace pvh::guest_memory
