// SPDX-License-Identifier: BSD-2-Clause
// A virtqueue against a reader of the same bytes that is written from virtio 1.2, 2.7, number by
// number: any bytes as rings and descriptors, and chains made well and nearly well. Both find the
// same chain or the same fault; what is pushed is in the used ring where a driver looks for it; and
// the driver is interrupted when 2.7.7.2 says so.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <pvh/devices/virtio/queue.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

#include "lib/base/testing/fuzz.hpp"

namespace {

using namespace pvh;
using namespace pvh::devices;
using fuzz::require;
using virtio::QueueError;

constexpr std::uint64_t kMemory = 0x8000;  // of the guest, from 0
constexpr std::uint64_t kDescriptors = 0x1000;
constexpr std::uint64_t kDriver = 0x2000;
constexpr std::uint64_t kDevice = 0x3000;
constexpr std::uint64_t kTables = 0x4000;

struct Buffer {
  std::uint64_t address;
  std::uint64_t length;
};

struct Found {
  std::optional<QueueError> error;
  bool any = false;
  std::uint16_t head = 0;
  std::vector<Buffer> readable;
  std::vector<Buffer> writable;
};

class Session {
 public:
  Session(FuzzedDataProvider& draw, guest_memory::GuestMemory& memory)
      : draw_(draw),
        memory_(memory),
        size_(static_cast<std::uint16_t>(1u << draw.ConsumeIntegralInRange(0, 4))),
        event_index_(draw.ConsumeBool()),
        indirect_(draw.ConsumeBool()),
        queue_(*virtio::Queue::create(memory,
                                      {.size = size_,
                                       .descriptors = base::PhysAddr(kDescriptors),
                                       .driver_area = base::PhysAddr(kDriver),
                                       .device_area = base::PhysAddr(kDevice),
                                       .event_index = event_index_,
                                       .indirect = indirect_},
                                      16)) {}

  // False when the queue turned out broken.
  [[nodiscard]] bool step() {
    switch (draw_.ConsumeIntegralInRange(0, 7)) {
      case 0:
        scribble();
        return true;
      case 1:
      case 2:
      case 3:
        offer();
        return true;
      case 4:
        push();
        return true;
      case 5:
        silence();
        return true;
      case 6:
        // As a device does that has no room for the last chain.
        if (popped_last_) {
          queue_.unpop();
          --next_;
          taken_.pop_back();
          popped_last_ = false;
        }
        return true;
      default:
        return pop();
    }
  }

 private:
  // ---- guest memory, as numbers

  [[nodiscard]] std::uint64_t load(std::uint64_t address, std::size_t size) {
    std::array<std::byte, 8> bytes{};
    require(memory_.read(base::PhysAddr(address), std::span(bytes).first(size)).has_value());
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) {
      value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    }
    return value;
  }
  void store(std::uint64_t address, std::uint64_t value, std::size_t size) {
    std::array<std::byte, 8> bytes{};
    for (std::size_t i = 0; i < size; ++i) {
      bytes[i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
    }
    require(memory_.write(base::PhysAddr(address), std::span(bytes).first(size)).has_value());
  }
  void store_descriptor(std::uint64_t table, std::uint64_t index, Buffer buffer,
                        std::uint64_t flags, std::uint64_t next) {
    store(table + index * 16, buffer.address, 8);
    store(table + index * 16 + 8, buffer.length, 4);
    store(table + index * 16 + 12, flags, 2);
    store(table + index * 16 + 14, next, 2);
  }

  // ---- the driver

  void scribble() {
    constexpr std::array<std::uint64_t, 4> kParts{kDescriptors, kDriver, kDevice, kTables};
    const auto at =
        draw_.PickValueInArray(kParts) + draw_.ConsumeIntegralInRange<std::uint64_t>(0, 0x60);
    const auto bytes =
        draw_.ConsumeBytes<std::byte>(draw_.ConsumeIntegralInRange<std::size_t>(0, 32));
    require(memory_.write(base::PhysAddr(at), bytes).has_value());
    // The device's own index is the device's: a driver that writes there deceives itself only.
    store(kDevice + 2, used_, 2);
  }

  [[nodiscard]] Buffer some_buffer() {
    if (draw_.ConsumeIntegralInRange(0, 15) == 15) {
      return {draw_.ConsumeIntegral<std::uint64_t>(), draw_.ConsumeIntegral<std::uint32_t>()};
    }
    return {draw_.ConsumeIntegralInRange<std::uint64_t>(0x5000, kMemory),
            draw_.ConsumeIntegralInRange<std::uint64_t>(0, 0x800)};
  }

  // A chain of a few buffers, sometimes in a table of its own, and now and then not quite right.
  void offer() {
    const bool table = draw_.ConsumeBool();
    const std::uint64_t at = table ? kTables : kDescriptors;
    const std::uint64_t room = table ? 20 : size_;
    const std::uint64_t first = table ? 0 : draw_.ConsumeIntegralInRange<std::uint64_t>(0, 20);
    const auto count = draw_.ConsumeIntegralInRange<std::uint64_t>(1, 20);
    const auto readable = draw_.ConsumeIntegralInRange<std::uint64_t>(0, count);
    // In a circle, or into what was there.
    const bool goes_on = draw_.ConsumeIntegralInRange(0, 7) == 7;
    for (std::uint64_t i = 0; i < count; ++i) {
      const bool last = i + 1 == count && !goes_on;
      const std::uint64_t odd =
          draw_.ConsumeIntegralInRange(0, 31) == 31 ? draw_.ConsumeIntegral<std::uint16_t>() : 0;
      store_descriptor(at, (first + i) % room, some_buffer(),
                       (last ? 0u : 1u) | (i < readable ? 0u : 2u) | odd,
                       (first + i + 1) % room + odd);
    }
    const std::uint64_t head =
        table ? draw_.ConsumeIntegralInRange<std::uint64_t>(0, 15) : first % room;
    if (table) {
      const std::uint64_t extra = draw_.ConsumeIntegralInRange(0, 15) == 15 ? 1 : 0;
      store_descriptor(kDescriptors, head % size_, {kTables, count * 16 + extra}, 4 | extra, 0);
    }
    const std::uint64_t index = load(kDriver + 2, 2);
    store(kDriver + 4 + index % size_ * 2, table ? head % size_ : head, 2);
    store(kDriver + 2, index + 1, 2);
  }

  void silence() {
    store(kDriver, draw_.ConsumeIntegralInRange(0u, 1u), 2);
    store(kDriver + 4 + size_ * 2u, used_ + draw_.ConsumeIntegralInRange<std::uint64_t>(0, 3), 2);
    if (draw_.ConsumeBool()) {
      queue_.mute_driver();
      require(event_index_ || load(kDevice, 2) == 1);
    } else {
      require(queue_.unmute_driver() == (load(kDriver + 2, 2) != next_));
      require(event_index_ ? load(kDevice + 4 + size_ * 8u, 2) == next_ : load(kDevice, 2) == 0);
    }
  }

  // ---- the second reader

  Found expect() {
    Found found;
    const auto waiting = static_cast<std::uint16_t>(load(kDriver + 2, 2) - next_);
    if (waiting == 0) {
      return found;
    }
    found.any = true;
    if (waiting > size_) {
      found.error = QueueError::kBadIndex;
      return found;
    }
    found.head = static_cast<std::uint16_t>(load(kDriver + 4 + next_ % size_ * 2u, 2));
    std::uint64_t table = kDescriptors;
    std::uint64_t entries = size_;
    std::uint64_t index = found.head;
    bool inside = false;
    for (unsigned buffers = 0;;) {
      if (inside && buffers == size_) {
        found.error = QueueError::kLoop;
        return found;
      }
      if (index >= entries) {
        found.error = QueueError::kBadDescriptor;
        return found;
      }
      const Buffer buffer{load(table + index * 16, 8), load(table + index * 16 + 8, 4)};
      const std::uint64_t flags = load(table + index * 16 + 12, 2);
      const bool backed = buffer.address < kMemory && buffer.length <= kMemory - buffer.address;
      if ((flags & 4) != 0) {
        if (inside || !indirect_ || (flags & 1) != 0 || buffer.length == 0 ||
            buffer.length % 16 != 0) {
          found.error = QueueError::kBadIndirect;
        } else if (!backed) {
          found.error = QueueError::kOutsideRam;
        }
        if (found.error) {
          return found;
        }
        table = buffer.address;
        entries = buffer.length / 16;
        index = 0;
        inside = true;
        continue;
      }
      if (buffers == size_) {
        found.error = QueueError::kLoop;
        return found;
      }
      const bool writable = (flags & 2) != 0;
      if (!writable && !found.writable.empty()) {
        found.error = QueueError::kBadOrder;
      } else if (!backed) {
        found.error = QueueError::kOutsideRam;
      }
      if (found.error) {
        return found;
      }
      if (buffer.length != 0) {
        (writable ? found.writable : found.readable).push_back(buffer);
      }
      ++buffers;
      if ((flags & 1) == 0) {
        return found;
      }
      index = load(table + index * 16 + 14, 2);
    }
  }

  // ---- the device

  [[nodiscard]] bool same(const std::vector<iovec>& in_host, const std::vector<Buffer>& buffers) {
    return std::ranges::equal(in_host, buffers, [this](const iovec& there, const Buffer& buffer) {
      const auto slice =
          memory_.slice(base::PhysAddr(buffer.address), base::ByteSize(buffer.length));
      return slice && there.iov_base == slice->data() && there.iov_len == slice->size();
    });
  }

  [[nodiscard]] bool pop() {
    const Found expected = expect();
    const auto popped = queue_.pop(chain_);
    if (expected.error) {
      require(!popped && popped.error().code == *expected.error);
      require(!base::to_text(popped.error()).empty());
      return false;
    }
    require(popped.has_value() && *popped == expected.any);
    if (!expected.any) {
      return true;
    }
    require(chain_.head == expected.head);
    require(same(chain_.readable, expected.readable) && same(chain_.writable, expected.writable));
    std::uint64_t bytes = 0;
    for (const Buffer& buffer : expected.writable) {
      bytes += buffer.length;
    }
    require(chain_.writable_bytes == bytes);
    ++next_;
    taken_.push_back(chain_.head);
    popped_last_ = true;
    return true;
  }

  void push() {
    popped_last_ = false;
    const std::uint16_t before = used_;
    for (auto count = draw_.ConsumeIntegralInRange<std::size_t>(0, 2); count > 0 && !taken_.empty();
         --count) {
      const std::size_t which = draw_.ConsumeIntegralInRange<std::size_t>(0, taken_.size() - 1);
      const auto written = draw_.ConsumeIntegral<std::uint32_t>();
      queue_.push(taken_[which], written);
      const std::uint64_t entry = kDevice + 4 + used_ % size_ * 8u;
      require(load(entry, 4) == taken_[which] && load(entry + 4, 4) == written);
      ++used_;
      require(load(kDevice + 2, 2) == used_);
      taken_.erase(taken_.begin() + static_cast<std::ptrdiff_t>(which));
    }
    // 2.7.7.2: one of the entries is the one that the driver named, or the driver wants all.
    bool wanted = false;
    for (std::uint16_t at = before; at != used_; ++at) {
      wanted = wanted || (event_index_ ? load(kDriver + 4 + size_ * 2u, 2) == at
                                       : (load(kDriver, 2) & 1) == 0);
    }
    require(queue_.wants_interrupt() == wanted);
  }

  FuzzedDataProvider& draw_;
  guest_memory::GuestMemory& memory_;
  std::uint16_t size_;
  bool event_index_;
  bool indirect_;
  virtio::Queue queue_;
  virtio::Chain chain_;
  std::uint16_t next_ = 0;
  std::uint16_t used_ = 0;
  std::vector<std::uint16_t> taken_;
  bool popped_last_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto memory = guest_memory::GuestMemory::create(
      std::vector{*base::Range::from_size(base::PhysAddr(0), base::ByteSize(kMemory))});
  require(memory.has_value());
  FuzzedDataProvider draw(data, size);
  Session session(draw, *memory);
  while (draw.remaining_bytes() != 0 && session.step()) {
  }
  return 0;
}
