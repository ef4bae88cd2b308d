// SPDX-License-Identifier: BSD-2-Clause
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <pvh/base/try.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

namespace pvh::guest_memory {
namespace {

constexpr std::size_t kHugePage = 2u << 20;

std::unexpected<Fault> fault(MemoryError code, std::string detail, int sys_errno = 0) {
  return std::unexpected(Fault{code, std::move(detail), std::nullopt, sys_errno});
}

std::unexpected<Fault> outside(base::PhysAddr address, std::uint64_t size) {
  return fault(MemoryError::kOutsideRam,
               fmt::format("{:#x} bytes at {:#x}", size, address.value()));
}

Result<base::Mapping> map_region(base::Range range) {
  const std::uint64_t size = range.size().value();
  const std::uint64_t skew = range.first().value() % kHugePage;
  const auto reserve = base::checked_add(size, std::uint64_t{2} * kHugePage);
  if (!reserve) {
    return fault(MemoryError::kNoHostMemory, fmt::format("{} bytes", size), ENOMEM);
  }
  // Without MAP_NORESERVE, so that the host's own overcommit policy decides what is too much.
  // Reserve more than needed, keep the part that is aligned as the guest sees it, give the rest
  // back.
  void* raw = ::mmap(nullptr, *reserve, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) {
    return fault(MemoryError::kNoHostMemory, fmt::format("{} MiB", size >> 20), errno);
  }
  auto* const start = static_cast<std::byte*>(raw);
  const auto misaligned = reinterpret_cast<std::uintptr_t>(start) % kHugePage;
  const std::uint64_t head = (kHugePage - misaligned) % kHugePage + skew;
  if (head != 0) {
    ::munmap(start, head);
  }
  ::munmap(start + head + size, *reserve - head - size);
  ::madvise(start + head, size, MADV_DONTDUMP);
  return base::Mapping(start + head, size);
}

}  // namespace

base::Explanation explain(MemoryError code) {
  switch (code) {
    case MemoryError::kOutsideRam:
      return {"the guest has no memory there", "give it more with --memory"};
    case MemoryError::kOverlap:
      return {"two regions of guest memory overlap or are not made of whole pages", ""};
    case MemoryError::kNoHostMemory:
      return {"the host has not enough memory for the guest", "ask for less with --memory"};
  }
  return {"unknown error", ""};
}

Result<GuestMemory> GuestMemory::create(std::span<const base::Range> ranges) {
  std::vector<base::Range> sorted(ranges.begin(), ranges.end());
  std::ranges::sort(sorted);
  std::vector<Region> regions;
  for (const base::Range& range : sorted) {
    const bool whole_pages = range.first().is_aligned(base::kPageSize) &&
                             base::is_aligned(range.size().value(), base::kPageSize.value());
    if (!whole_pages || (!regions.empty() && regions.back().range.overlaps(range))) {
      return fault(MemoryError::kOverlap,
                   fmt::format("{:#x}-{:#x}", range.first().value(), range.last().value()));
    }
    regions.push_back({range, TRY(map_region(range))});
  }
  return GuestMemory(std::move(regions));
}

std::optional<GuestMemory::Place> GuestMemory::find(base::PhysAddr address,
                                                    std::uint64_t size) const {
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    if (regions_[i].range.contains(address)) {
      const std::uint64_t offset = address.value() - regions_[i].range.first().value();
      return Place{i, offset, std::min(size, regions_[i].range.size().value() - offset)};
    }
  }
  return std::nullopt;
}

Result<void> GuestMemory::check(base::PhysAddr address, std::uint64_t size) const {
  base::PhysAddr at = address;
  std::uint64_t left = size;
  while (left != 0) {
    const auto place = find(at, left);
    if (!place) {
      return outside(address, size);
    }
    left -= place->size;
    const auto next = at.checked_add(base::ByteSize(place->size));
    if (left != 0 && !next) {
      return outside(address, size);
    }
    at = next.value_or(at);
  }
  return {};
}

Result<void> GuestMemory::read(base::PhysAddr address, base::MutableBytes out) const {
  TRY(check(address, out.size()));
  for (std::size_t done = 0; done < out.size();) {
    const auto place = find(base::PhysAddr(address.value() + done), out.size() - done);
    std::memcpy(out.data() + done, regions_[place->region].mapping.bytes().data() + place->offset,
                place->size);
    done += place->size;
  }
  return {};
}

Result<void> GuestMemory::write(base::PhysAddr address, base::Bytes in) {
  TRY(check(address, in.size()));
  for (std::size_t done = 0; done < in.size();) {
    const auto place = find(base::PhysAddr(address.value() + done), in.size() - done);
    std::memcpy(regions_[place->region].mapping.bytes().data() + place->offset, in.data() + done,
                place->size);
    done += place->size;
  }
  return {};
}

Result<base::MutableBytes> GuestMemory::slice(base::PhysAddr address, base::ByteSize size) {
  const auto place = find(address, size.value());
  if (!place || place->size != size.value()) {
    return outside(address, size.value());
  }
  return regions_[place->region].mapping.bytes().subspan(place->offset, place->size);
}

void GuestMemory::discard(base::MutableBytes slice) {
  const auto inside = [slice](const Region& region) {
    const auto bytes = region.mapping.bytes();
    return slice.data() >= bytes.data() &&
           slice.data() + slice.size() <= bytes.data() + bytes.size();
  };
  if (!std::ranges::any_of(regions_, inside)) {
    return;
  }
  const std::uint64_t page = base::kPageSize.value();
  const auto first = reinterpret_cast<std::uintptr_t>(slice.data());
  const std::uint64_t head = (page - first % page) % page;
  if (slice.size() >= head + page) {
    // Advice: when the host does not take it, the pages stay, and that is all.
    ::madvise(slice.data() + head, (slice.size() - head) / page * page, MADV_DONTNEED);
  }
}

base::ByteSize GuestMemory::total() const {
  std::uint64_t sum = 0;
  for (const Region& region : regions_) {
    sum += region.range.size().value();
  }
  return base::ByteSize(sum);
}

}  // namespace pvh::guest_memory
