// SPDX-License-Identifier: BSD-2-Clause
#include "buffer.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <pvh/base/address.hpp>
#include <pvh/base/checked.hpp>

namespace pvh::loader {
namespace {

// Below this a growing buffer would make more system calls than sense.
constexpr std::uint64_t kSmallest = 1u << 20;
// The whole address space of a process; it keeps every sum below from wrapping.
constexpr std::uint64_t kLargest = std::uint64_t{1} << 47;

}  // namespace

Buffer::Buffer(std::uint64_t limit, std::uint64_t guess)
    : limit_(std::min(limit, kLargest)), guess_(std::min(guess, limit_)) {}

Buffer::~Buffer() {
  if (data_ != nullptr) {
    ::munmap(data_, capacity_);
  }
}

std::expected<base::MutableBytes, int> Buffer::room(std::size_t wanted) {
  const std::uint64_t most = limit_ + 1;
  if (over_limit()) {
    return std::unexpected(EFBIG);
  }
  const std::uint64_t left = most - size_;
  const std::uint64_t needed = size_ + std::clamp<std::uint64_t>(wanted, 1, left);
  if (needed > capacity_) {
    const std::uint64_t roomy = std::max({needed, guess_ + 1, kSmallest, 2 * capacity_});
    const std::uint64_t capacity = *base::align_up(std::min(roomy, most), base::kPageSize.value());
    void* const grown = data_ == nullptr
                            ? ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                            : ::mremap(data_, capacity_, capacity, MREMAP_MAYMOVE);
    if (grown == MAP_FAILED) {
      return std::unexpected(errno);
    }
    // A kernel is tens of MiB, written once from front to back: page by page, the faults would take
    // longer than lz4 does. Where huge pages are off this changes nothing.
    ::madvise(grown, capacity, MADV_HUGEPAGE);
    data_ = static_cast<std::byte*>(grown);
    capacity_ = capacity;
  }
  return base::MutableBytes(data_ + size_, std::min<std::uint64_t>(capacity_, most) - size_);
}

base::Mapping Buffer::take() {
  const std::size_t kept = *base::align_up(size_, std::size_t{base::kPageSize.value()});
  if (kept < capacity_) {
    ::munmap(data_ + kept, capacity_ - kept);
  }
  std::byte* const data = std::exchange(data_, nullptr);
  capacity_ = 0;
  const std::size_t size = std::exchange(size_, 0);
  return size == 0 ? base::Mapping() : base::Mapping(data, size);
}

}  // namespace pvh::loader
