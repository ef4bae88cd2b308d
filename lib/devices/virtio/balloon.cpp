// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <utility>

#include <pvh/abi/virtio.hpp>
#include <pvh/abi/virtio_balloon.hpp>
#include <pvh/devices/virtio/balloon.hpp>

namespace pvh::devices::virtio {
namespace {

constexpr std::uint64_t kPage = abi::VIRTIO_BALLOON_PAGE_SIZE;

constexpr std::size_t kNumbersAtOnce = 256;  // as many as Linux sends in one buffer

// Of one buffer, so that one guest cannot keep the devices' thread for long. What is behind is not
// given to the host: that costs it memory, and nobody a page.
constexpr std::uint64_t kMostNumberBytes = std::uint64_t{4} * kNumbersAtOnce * sizeof(base::Le32);

// Pages that follow one another, so that the host is asked once for all of them.
class Run {
 public:
  explicit Run(guest_memory::GuestMemory& memory) : memory_(memory) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() { drop(); }

  void add(std::uint64_t page) {
    if (count_ != 0 && page == first_ + count_) {
      ++count_;
      return;
    }
    drop();
    first_ = page;
    count_ = 1;
  }

 private:
  void drop() {
    if (count_ == 0) {
      return;
    }
    // A page that is not RAM was none of the guest's: nothing to give.
    if (const auto slice =
            memory_.slice(base::PhysAddr(first_ * kPage), base::ByteSize(count_ * kPage))) {
      memory_.discard(*slice);
    }
    count_ = 0;
  }

  guest_memory::GuestMemory& memory_;
  std::uint64_t first_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace

void Balloon::set_target(base::ByteSize target) {
  const std::uint64_t pages = std::min<std::uint64_t>(target.value() / kPage, UINT32_MAX);
  num_pages_.store(static_cast<std::uint32_t>(pages));
  if (active_) {
    active_->driver->config_changed();
  }
}

base::ByteSize Balloon::target() const {
  return base::ByteSize(num_pages_.load() * kPage);
}

base::ByteSize Balloon::actual() const {
  return base::ByteSize(actual_.load() * kPage);
}

std::uint32_t Balloon::id() const {
  return abi::VIRTIO_ID_BALLOON;
}

std::uint64_t Balloon::features() const {
  return abi::VIRTIO_BALLOON_F_DEFLATE_ON_OOM | abi::VIRTIO_BALLOON_F_PAGE_REPORTING;
}

void Balloon::read_config(std::uint64_t offset, base::MutableBytes data) const {
  const abi::virtio_balloon_config config{base::Le32(num_pages_.load()),
                                          base::Le32(actual_.load())};
  read_config_bytes(base::to_bytes(config), offset, data);
}

void Balloon::write_config(std::uint64_t offset, base::Bytes data) {
  const auto value = base::read_at<base::Le32>(data, 0);
  if (offset == offsetof(abi::virtio_balloon_config, actual) && value &&
      data.size() == sizeof(*value)) {
    actual_.store(value->get());
  }
}

void Balloon::activate(Activation activation) {
  active_ = std::move(activation);
}

void Balloon::inflate(const Chain& chain) {
  Run run(*active_->memory);
  std::array<base::Le32, kNumbersAtOnce> numbers;
  const std::uint64_t end = std::min(chain.readable_bytes, kMostNumberBytes);
  for (std::uint64_t offset = 0; offset < end; offset += sizeof(numbers)) {
    const std::size_t bytes =
        copy_from(chain.readable, offset, std::as_writable_bytes(std::span(numbers)));
    for (const base::Le32 number : std::span(numbers).first(bytes / sizeof(base::Le32))) {
      run.add(number.get());
    }
  }
}

void Balloon::notify(std::size_t queue) {
  if (!active_) {
    return;
  }
  const auto take = [&](const Chain& chain) {
    if (queue == kInflate) {
      inflate(chain);
    } else if (queue == kReporting) {
      for (const iovec& free : chain.writable) {
        active_->memory->discard({static_cast<std::byte*>(free.iov_base), free.iov_len});
      }
    }
    // Pages that leave the balloon need nothing: the host gives new ones at the first touch.
    return std::optional(0u);
  };
  if (!serve_at_once(*active_, queue, chain_, take)) {
    active_.reset();
  }
}

void Balloon::reset() {
  active_.reset();
  actual_.store(0);
}

}  // namespace pvh::devices::virtio
