// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <atomic>
#include <cstring>

#include <fmt/format.h>
#include <pvh/abi/virtio.hpp>
#include <pvh/base/try.hpp>
#include <pvh/devices/virtio/queue.hpp>

namespace pvh::devices::virtio {
namespace {

// Of both rings: where their entries begin. Behind the entries lies the event index of the other
// side.
constexpr std::size_t kFlags = offsetof(abi::virtq_ring_header, flags);
constexpr std::size_t kIdx = offsetof(abi::virtq_ring_header, idx);
constexpr std::size_t kRing = sizeof(abi::virtq_ring_header);

constexpr std::size_t available_entry(std::uint16_t i) {
  return kRing + std::size_t{i} * sizeof(base::Le16);
}
constexpr std::size_t used_entry(std::uint16_t i) {
  return kRing + std::size_t{i} * sizeof(abi::virtq_used_elem);
}

std::unexpected<QueueFault> fault(QueueError code, std::string detail) {
  return std::unexpected(QueueFault{code, std::move(detail), std::nullopt});
}

std::expected<base::MutableBytes, QueueFault> part(guest_memory::GuestMemory& memory,
                                                   const char* what, base::PhysAddr address,
                                                   std::uint64_t alignment, std::size_t size) {
  const auto detail = [&] {
    return fmt::format("{}: {} bytes at {:#x}", what, size, address.value());
  };
  if (!address.is_aligned(base::ByteSize(alignment))) {
    return fault(QueueError::kMisaligned, detail());
  }
  const auto slice = memory.slice(address, base::ByteSize(size));
  if (!slice) {
    return fault(QueueError::kOutsideRam, detail());
  }
  return *slice;
}

std::uint16_t minus(std::uint16_t a, std::uint16_t b) {
  return static_cast<std::uint16_t>(a - b);  // modulo 2^16, as ring indices count
}

}  // namespace

base::Explanation explain(QueueError code) {
  switch (code) {
    case QueueError::kBadSize:
      return {"the driver gave a queue a size that it cannot have", ""};
    case QueueError::kMisaligned:
      return {"the driver put a queue at a misaligned address", ""};
    case QueueError::kOutsideRam:
      return {"the driver named memory that the guest does not have", ""};
    case QueueError::kBadIndex:
      return {"the driver made more available than the queue holds", ""};
    case QueueError::kBadDescriptor:
      return {"the driver named a descriptor outside the table", ""};
    case QueueError::kLoop:
      return {"the driver's chain of descriptors does not end", ""};
    case QueueError::kBadIndirect:
      return {"the driver's table of indirect descriptors is malformed", ""};
    case QueueError::kBadOrder:
      return {"the driver put a buffer to read behind one to write", ""};
    case QueueError::kTooShort:
      return {"the driver's buffers are too short for a request", ""};
  }
  return {"unknown error", ""};
}

namespace {

// Calls copy(host memory, number of bytes done before, length) for each piece of the buffers from
// `offset` on, until `size` bytes are done.
template <typename Copy>
std::size_t for_each_piece(const std::vector<iovec>& buffers, std::uint64_t offset,
                           std::size_t size, Copy copy) {
  std::size_t done = 0;
  for (const iovec& buffer : buffers) {
    if (done == size) {
      break;
    }
    if (offset >= buffer.iov_len) {
      offset -= buffer.iov_len;
      continue;
    }
    const std::size_t length = std::min(size - done, buffer.iov_len - offset);
    copy(static_cast<std::byte*>(buffer.iov_base) + offset, done, length);
    done += length;
    offset = 0;
  }
  return done;
}

}  // namespace

std::size_t copy_from(const std::vector<iovec>& buffers, std::uint64_t offset,
                      base::MutableBytes out) {
  return for_each_piece(buffers, offset, out.size(),
                        [out](const std::byte* from, std::size_t done, std::size_t length) {
                          std::memcpy(out.data() + done, from, length);
                        });
}

std::size_t copy_to(const std::vector<iovec>& buffers, std::uint64_t offset, base::Bytes in) {
  return for_each_piece(buffers, offset, in.size(),
                        [in](std::byte* to, std::size_t done, std::size_t length) {
                          std::memcpy(to, in.data() + done, length);
                        });
}

void take_part(const std::vector<iovec>& buffers, std::uint64_t offset, std::uint64_t size,
               std::vector<iovec>& part) {
  part.clear();
  for_each_piece(buffers, offset, size,
                 [&part](std::byte* piece, std::size_t /*done*/, std::size_t length) {
                   part.push_back({piece, length});
                 });
}

std::expected<Queue, QueueFault> Queue::create(guest_memory::GuestMemory& memory,
                                               const QueueSetup& setup, std::uint16_t most) {
  if (!base::is_power_of_two(setup.size) || setup.size > most) {
    return fault(QueueError::kBadSize, fmt::format("{}, at most {}", setup.size, most));
  }
  const std::uint16_t size = setup.size;
  // The event index behind the entries is there whether it is used or not.
  constexpr std::size_t kEventIndex = sizeof(base::Le16);
  Queue queue;
  queue.memory_ = &memory;
  queue.descriptors_ = TRY(part(memory, "descriptors", setup.descriptors, abi::VIRTQ_DESC_ALIGN,
                                std::size_t{size} * sizeof(abi::virtq_desc)));
  queue.driver_area_ = TRY(part(memory, "driver area", setup.driver_area, abi::VIRTQ_AVAIL_ALIGN,
                                available_entry(size) + kEventIndex));
  queue.device_area_ = TRY(part(memory, "device area", setup.device_area, abi::VIRTQ_USED_ALIGN,
                                used_entry(size) + kEventIndex));
  queue.size_ = size;
  queue.event_index_ = setup.event_index;
  queue.indirect_ = setup.indirect;
  return queue;
}

std::uint16_t Queue::load(base::MutableBytes area, std::size_t offset) const {
  // The area is aligned, and so is each of its 16-bit numbers.
  auto* const number = reinterpret_cast<std::uint16_t*>(area.data() + offset);
  return std::atomic_ref(*number).load(std::memory_order_acquire);
}

void Queue::store(base::MutableBytes area, std::size_t offset, std::uint16_t value) {
  auto* const number = reinterpret_cast<std::uint16_t*>(area.data() + offset);
  std::atomic_ref(*number).store(value, std::memory_order_release);
}

std::expected<bool, QueueFault> Queue::pop(Chain& chain) {
  const std::uint16_t waiting = minus(load(driver_area_, kIdx), next_available_);
  if (waiting == 0) {
    return false;
  }
  if (waiting > size_) {
    return fault(QueueError::kBadIndex, fmt::format("{} of {}", waiting, size_));
  }
  chain.head = load(driver_area_, available_entry(next_available_ % size_));
  chain.readable.clear();
  chain.writable.clear();
  chain.readable_bytes = 0;
  chain.writable_bytes = 0;
  TRY(walk(chain, descriptors_, chain.head));
  ++next_available_;
  return true;
}

std::expected<void, QueueFault> Queue::walk(Chain& chain, base::Bytes table, std::uint16_t first) {
  // Of this table; an indirect one may have its own size, but never more steps than the queue.
  std::size_t entries = table.size() / sizeof(abi::virtq_desc);
  bool is_indirect = false;
  std::uint16_t index = first;
  for (std::size_t steps = 0; steps <= size_; ++steps) {
    if (index >= entries) {
      return fault(QueueError::kBadDescriptor, fmt::format("{} of {}", index, entries));
    }
    // The one look at it.
    const auto descriptor =
        *base::read_at<abi::virtq_desc>(table, std::uint64_t{index} * sizeof(abi::virtq_desc));
    const std::uint16_t flags = descriptor.flags.get();
    if ((flags & abi::VIRTQ_DESC_F_INDIRECT) != 0) {
      const std::uint32_t length = descriptor.len.get();
      if (is_indirect || !indirect_ || (flags & abi::VIRTQ_DESC_F_NEXT) != 0 || length == 0 ||
          length % sizeof(abi::virtq_desc) != 0) {
        return fault(QueueError::kBadIndirect, fmt::format("{} bytes", length));
      }
      const auto slice =
          memory_->slice(base::PhysAddr(descriptor.addr.get()), base::ByteSize(length));
      if (!slice) {
        return fault(QueueError::kOutsideRam,
                     fmt::format("a table of {} bytes at {:#x}", length, descriptor.addr.get()));
      }
      table = *slice;
      entries = table.size() / sizeof(abi::virtq_desc);
      is_indirect = true;
      index = 0;
      continue;
    }
    if (steps == size_ && !is_indirect) {
      break;
    }
    TRY(add_buffer(chain, descriptor.addr.get(), descriptor.len.get(),
                   (flags & abi::VIRTQ_DESC_F_WRITE) != 0));
    if ((flags & abi::VIRTQ_DESC_F_NEXT) == 0) {
      return {};
    }
    index = descriptor.next.get();
  }
  return fault(QueueError::kLoop, fmt::format("more than {} descriptors", size_));
}

std::expected<void, QueueFault> Queue::add_buffer(Chain& chain, std::uint64_t address,
                                                  std::uint32_t length, bool writable) {
  if (!writable && !chain.writable.empty()) {
    return fault(QueueError::kBadOrder, fmt::format("{} bytes at {:#x}", length, address));
  }
  const auto slice = memory_->slice(base::PhysAddr(address), base::ByteSize(length));
  if (!slice) {
    return fault(QueueError::kOutsideRam, fmt::format("{} bytes at {:#x}", length, address));
  }
  if (length != 0) {
    (writable ? chain.writable : chain.readable).push_back({slice->data(), slice->size()});
    (writable ? chain.writable_bytes : chain.readable_bytes) += length;
  }
  return {};
}

void Queue::push(std::uint16_t head, std::uint32_t written) {
  const Used used{head, written};
  push({&used, 1});
}

void Queue::push(std::span<const Used> chains) {
  for (const Used& used : chains) {
    const abi::virtq_used_elem element{base::Le32(used.head), base::Le32(used.written)};
    std::memcpy(device_area_.data() + used_entry(next_used_ % size_), &element, sizeof(element));
    ++next_used_;
  }
  store(device_area_, kIdx, next_used_);  // publishes the entries
}

bool Queue::wants_interrupt() {
  const std::uint16_t before = signalled_used_;
  signalled_used_ = next_used_;
  if (before == next_used_) {
    return false;
  }
  // The driver's wish must be read after our index is written: it does the two the other way
  // around.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (event_index_) {
    // 2.7.7.2: when the index passed the one that the driver named.
    const std::uint16_t event = load(driver_area_, available_entry(size_));
    const std::uint16_t behind = minus(next_used_, event);
    return minus(behind, 1) < minus(next_used_, before);
  }
  return (load(driver_area_, kFlags) & abi::VIRTQ_AVAIL_F_NO_INTERRUPT) == 0;
}

void Queue::mute_driver() {
  if (!event_index_) {
    store(device_area_, kFlags, abi::VIRTQ_USED_F_NO_NOTIFY);
  }
  // With an event index the driver rings only when it passes the one that unmute_driver() named.
}

bool Queue::unmute_driver() {
  if (event_index_) {
    store(device_area_, used_entry(size_), next_available_);
  } else {
    store(device_area_, kFlags, 0);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return load(driver_area_, kIdx) != next_available_;
}

}  // namespace pvh::devices::virtio
