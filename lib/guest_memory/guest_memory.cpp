// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include <fmt/format.h>
#include <pvh/base/try.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

namespace pvh::guest_memory {
namespace {

constexpr std::uint64_t kHugePage = kHugePageSize.value();

std::unexpected<Fault> fault(MemoryError code, std::string detail, int sys_errno = 0) {
  return std::unexpected(Fault{code, std::move(detail), std::nullopt, sys_errno});
}

std::unexpected<Fault> outside(base::PhysAddr address, std::uint64_t size) {
  return fault(MemoryError::kOutsideRam,
               fmt::format("{:#x} bytes at {:#x}", size, address.value()));
}

// Address space for a region, aligned as the guest sees it; with `usable` it is memory already.
Result<base::Mapping> reserve(base::Range range, bool usable) {
  const std::uint64_t size = range.size().value();
  const std::uint64_t skew = range.first().value() % kHugePage;
  const auto reserve = base::checked_add(size, std::uint64_t{2} * kHugePage);
  if (!reserve) {
    return fault(MemoryError::kNoHostMemory, fmt::format("{} bytes", size), ENOMEM);
  }
  // Without MAP_NORESERVE, so that the host's own overcommit policy decides what is too much.
  // Reserve more than needed, keep the part that is aligned as the guest sees it, give the rest
  // back.
  void* raw = ::mmap(nullptr, *reserve, usable ? PROT_READ | PROT_WRITE : PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
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
  return base::Mapping(start + head, size);
}

// The part of a range that is made of whole pages of `page` bytes.
std::optional<base::Range> whole_pages(base::Range range, base::ByteSize page) {
  const auto first = range.first().align_up(page);
  const auto end = range.end() ? range.end()->align_down(page) : std::nullopt;
  return first && end ? base::Range::from_end(*first, *end) : std::nullopt;
}

std::uint64_t pool_count(const char* name) {
  std::ifstream file(fmt::format("/sys/kernel/mm/hugepages/hugepages-2048kB/{}", name));
  std::uint64_t count = 0;
  file >> count;
  return count;
}

// How many the guest needs, how many there are, and how to have enough.
std::unexpected<Fault> no_huge_pages(std::span<const base::Range> ranges) {
  std::uint64_t needed = 0;
  for (const base::Range& range : ranges) {
    const auto whole = whole_pages(range, kHugePageSize);
    needed += whole ? whole->size().value() / kHugePage : 0;
  }
  const std::uint64_t free = pool_count("free_hugepages");
  const std::uint64_t promised = pool_count("resv_hugepages");
  const std::uint64_t ours = free - std::min(free, promised);
  const std::uint64_t missing = needed - std::min(needed, ours);
  return fault(MemoryError::kNoHugePages,
               fmt::format("{} of 2 MiB are needed, {} are free; `sysctl vm.nr_hugepages={}`",
                           needed, ours, pool_count("nr_hugepages") + missing));
}

std::unexpected<Fault> no_file(const Backing& backing, int sys_errno) {
  return fault(MemoryError::kNoFile,
               backing.kind == Backing::Kind::kMemfd ? "memfd_create"
                                                     : "memfd_create with huge pages of 2 MiB",
               sys_errno);
}

// As long as the guest's addresses reach; takes no memory yet.
Result<base::Fd> make_file(const Backing& backing, base::Range last) {
  const auto size = last.end() ? std::optional(last.end()->value()) : std::nullopt;
  rlimit limit{};
  // Beyond it the kernel sends SIGXFSZ besides its error.
  if (!size || *size > INT64_MAX ||
      (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < *size)) {
    return no_file(backing, EFBIG);
  }
  const bool huge = backing.kind == Backing::Kind::kHugePages;
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0u);
  base::Fd file(::memfd_create(backing.name.substr(0, 200).c_str(), flags));
  // A pool's files are whole huge pages.
  const std::uint64_t length = huge ? base::align_up(*size, kHugePage).value_or(*size) : *size;
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(length)) != 0 ||
      ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return no_file(backing, errno);
  }
  return file;
}

int take_all(const base::Fd& file, base::Range range) {
  int done = -1;
  do {
    done = ::fallocate(file.get(), 0, static_cast<off_t>(range.first().value()),
                       static_cast<off_t>(range.size().value()));
  } while (done != 0 && errno == EINTR);
  return done == 0 ? 0 : errno;
}

// Puts the file's bytes of the range, which lies in the region, in their place.
Result<void> map_file(GuestMemory::Region& region, const base::Fd& file, base::Range range) {
  const std::uint64_t offset = range.first().value() - region.range.first().value();
  const base::MutableBytes bytes = region.mapping.bytes().subspan(offset, range.size().value());
  if (::mmap(bytes.data(), bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.get(),
             static_cast<off_t>(range.first().value())) == MAP_FAILED) {
    return fault(MemoryError::kNoHostMemory, fmt::format("{} MiB", bytes.size() >> 20), errno);
  }
  region.in_file = bytes;
  return {};
}

// Makes what is not in the file of a region of PROT_NONE usable.
Result<void> open_rest(GuestMemory::Region& region) {
  const base::MutableBytes all = region.mapping.bytes();
  const base::MutableBytes head =
      region.in_file.empty()
          ? all
          : all.first(static_cast<std::size_t>(region.in_file.data() - all.data()));
  const base::MutableBytes tail = region.in_file.empty()
                                      ? base::MutableBytes()
                                      : all.subspan(head.size() + region.in_file.size());
  for (const base::MutableBytes part : {head, tail}) {
    if (!part.empty() && ::mprotect(part.data(), part.size(), PROT_READ | PROT_WRITE) != 0) {
      return fault(MemoryError::kNoHostMemory, fmt::format("{} KiB", part.size() >> 10), errno);
    }
  }
  return {};
}

// The whole pages of `page` bytes that `bytes` and `part` share.
base::MutableBytes shared_pages(base::MutableBytes bytes, base::MutableBytes part,
                                std::uint64_t page) {
  const auto start = reinterpret_cast<std::uintptr_t>(bytes.data());
  const auto part_start = reinterpret_cast<std::uintptr_t>(part.data());
  const auto first = base::align_up(std::uint64_t{std::max(start, part_start)}, page);
  const auto end = base::align_down(
      std::uint64_t{std::min(start + bytes.size(), part_start + part.size())}, page);
  return first && end && *first < *end ? bytes.subspan(*first - start, *end - *first)
                                       : base::MutableBytes();
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
    case MemoryError::kNoHugePages:
      return {"the host has not enough huge pages for the guest",
              "have more reserved, or run without --hugepages"};
    case MemoryError::kNoFile:
      return {"the host has no file for the guest's memory", "run without --hugepages and --memfd"};
  }
  return {"unknown error", ""};
}

Result<GuestMemory> GuestMemory::create(std::span<const base::Range> ranges,
                                        const Backing& backing) {
  std::vector<base::Range> sorted(ranges.begin(), ranges.end());
  std::ranges::sort(sorted);
  std::vector<Region> regions;
  for (const base::Range& range : sorted) {
    const bool is_whole = range.first().is_aligned(base::kPageSize) &&
                          base::is_aligned(range.size().value(), base::kPageSize.value());
    if (!is_whole || (!regions.empty() && regions.back().range.overlaps(range))) {
      return fault(MemoryError::kOverlap,
                   fmt::format("{:#x}-{:#x}", range.first().value(), range.last().value()));
    }
    regions.push_back({range, TRY(reserve(range, backing.kind != Backing::Kind::kHugePages)), {}});
  }
  const bool huge = backing.kind == Backing::Kind::kHugePages;
  const base::ByteSize file_page = huge ? kHugePageSize : base::kPageSize;
  base::Fd file;
  if (backing.kind != Backing::Kind::kAnonymous && !sorted.empty()) {
    file = TRY(make_file(backing, sorted.back()));
  }
  for (Region& region : regions) {
    if (const auto part = file ? whole_pages(region.range, file_page) : std::nullopt) {
      if (const int error = huge ? take_all(file, *part) : 0; error != 0) {
        // What it took so far is to be counted as free.
        regions.clear();
        file.reset();
        return error == ENOSPC || error == ENOMEM ? no_huge_pages(sorted) : no_file(backing, error);
      }
      TRY(map_file(region, file, *part));
    }
    if (huge) {
      TRY(open_rest(region));
    }
    ::madvise(region.mapping.bytes().data(), region.mapping.bytes().size(), MADV_DONTDUMP);
  }
  return GuestMemory(std::move(regions), std::move(file), file_page.value());
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
  const auto region = std::ranges::find_if(regions_, [slice](Region& each) {
    const auto bytes = each.mapping.bytes();
    return slice.data() >= bytes.data() &&
           slice.data() + slice.size() <= bytes.data() + bytes.size();
  });
  if (region == regions_.end()) {
    return;
  }
  const base::MutableBytes all = region->mapping.bytes();
  const base::MutableBytes in_file = region->in_file;
  const std::size_t before =
      in_file.empty() ? all.size() : static_cast<std::size_t>(in_file.data() - all.data());
  struct Part {
    base::MutableBytes bytes;
    std::uint64_t page;
    int advice;  // MADV_REMOVE makes a hole in the file: else its pages would only be unmapped
  };
  for (const Part& part :
       {Part{all.first(before), base::kPageSize.value(), MADV_DONTNEED},
        Part{in_file, file_page_, MADV_REMOVE},
        Part{all.subspan(before + in_file.size()), base::kPageSize.value(), MADV_DONTNEED}}) {
    const base::MutableBytes pages = shared_pages(slice, part.bytes, part.page);
    if (!pages.empty()) {
      // Advice: when the host does not take it, the pages stay, and that is all.
      ::madvise(pages.data(), pages.size(), part.advice);
    }
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
