// SPDX-License-Identifier: BSD-2-Clause
// The driver's end of a virtio device under test: it negotiates through the registers and lays out
// queues and buffers in guest memory, well or, when a test says so, badly.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <pvh/abi/virtio.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/virtio/mmio.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

namespace pvh::devices::testing {

// One buffer of a request.
struct Buffer {
  std::uint64_t address = 0;
  std::uint32_t length = 0;
  bool device_writes = false;
};

// Guest memory of 4 MiB at 1 MiB, from which tests take what they need, from low to high.
class DriverMemory {
 public:
  static constexpr std::uint64_t kFirst = 0x100000;
  static constexpr std::uint64_t kSize = 0x400000;

  DriverMemory()
      : memory_(*guest_memory::GuestMemory::create(
            std::vector{*base::Range::from_size(base::PhysAddr(kFirst), base::ByteSize(kSize))})) {}

  std::uint64_t take(std::uint64_t size, std::uint64_t alignment = 16) {
    next_ = (next_ + alignment - 1) / alignment * alignment;
    const std::uint64_t at = next_;
    next_ += size;
    EXPECT_LE(next_, kFirst + kSize);
    return at;
  }
  std::uint64_t put(std::string_view text) {
    const std::uint64_t at = take(text.size());
    EXPECT_TRUE(memory_.write(base::PhysAddr(at), std::as_bytes(std::span(text))));
    return at;
  }
  std::string get(std::uint64_t address, std::size_t size) {
    std::string text(size, '\0');
    EXPECT_TRUE(memory_.read(base::PhysAddr(address), std::as_writable_bytes(std::span(text))));
    return text;
  }
  template <base::Wire T>
  std::uint64_t put_value(const T& value) {
    const std::uint64_t at = take(sizeof(T));
    store(at, value);
    return at;
  }
  template <base::Wire T>
  void store(std::uint64_t address, const T& value) {
    EXPECT_TRUE(memory_.write_value(base::PhysAddr(address), value));
  }
  template <base::Wire T>
  T load(std::uint64_t address) {
    return *memory_.read_value<T>(base::PhysAddr(address));
  }

  guest_memory::GuestMemory& memory() { return memory_; }

 private:
  guest_memory::GuestMemory memory_;
  std::uint64_t next_ = kFirst;
};

// One queue as a driver keeps it. Descriptors are used one after the other and never freed: the
// test makes fewer than `size` of them, or says where to begin again.
class DriverQueue {
 public:
  struct Used {
    std::uint32_t id;
    std::uint32_t length;
    friend bool operator==(Used, Used) = default;
  };

  DriverQueue(DriverMemory& memory, std::uint16_t size)
      : memory_(memory),
        size_(size),
        descriptors_(memory.take(std::uint64_t{size} * sizeof(abi::virtq_desc))),
        driver_area_(memory.take(4 + std::uint64_t{size} * 2 + 2)),
        device_area_(memory.take(4 + std::uint64_t{size} * 8 + 2)) {}

  [[nodiscard]] virtio::QueueSetup setup() const {
    return {.size = size_,
            .descriptors = base::PhysAddr(descriptors_),
            .driver_area = base::PhysAddr(driver_area_),
            .device_area = base::PhysAddr(device_area_),
            .event_index = false,
            .indirect = true};
  }

  void set_descriptor(std::uint16_t index, std::uint64_t address, std::uint32_t length,
                      std::uint16_t flags, std::uint16_t next) {
    memory_.store(descriptors_ + std::uint64_t{index} * sizeof(abi::virtq_desc),
                  abi::virtq_desc{base::Le64(address), base::Le32(length), base::Le16(flags),
                                  base::Le16(next)});
  }
  // Makes a chain of the next descriptors available; gives its head.
  std::uint16_t add(const std::vector<Buffer>& buffers) {
    const std::uint16_t head = next_descriptor_;
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      const bool last = i + 1 == buffers.size();
      const auto flags =
          static_cast<std::uint16_t>((last ? 0 : abi::VIRTQ_DESC_F_NEXT) |
                                     (buffers[i].device_writes ? abi::VIRTQ_DESC_F_WRITE : 0));
      const auto next = static_cast<std::uint16_t>((next_descriptor_ + 1) % size_);
      set_descriptor(next_descriptor_, buffers[i].address, buffers[i].length, flags, next);
      next_descriptor_ = next;
    }
    make_available(head);
    return head;
  }
  void make_available(std::uint16_t head) {
    memory_.store(driver_area_ + 4 + std::uint64_t{available_} % size_ * 2, base::Le16(head));
    ++available_;
    set_available_index(available_);
  }
  // As for a device that was reset: the next chain is the first.
  void restart() {
    available_ = 0;
    seen_ = 0;
  }
  void set_available_index(std::uint16_t index) {
    memory_.store(driver_area_ + 2, base::Le16(index));
  }
  void set_flags(std::uint16_t flags) { memory_.store(driver_area_, base::Le16(flags)); }
  void set_used_event(std::uint16_t index) {
    memory_.store(driver_area_ + 4 + std::uint64_t{size_} * 2, base::Le16(index));
  }

  // What came back since the last call.
  std::vector<Used> used() {
    std::vector<Used> result;
    const std::uint16_t index = memory_.load<base::Le16>(device_area_ + 2).get();
    while (seen_ != index) {
      const auto element = memory_.load<abi::virtq_used_elem>(
          device_area_ + 4 + std::uint64_t{seen_} % size_ * sizeof(abi::virtq_used_elem));
      result.push_back({element.id.get(), element.len.get()});
      ++seen_;
    }
    return result;
  }
  std::uint16_t device_flags() { return memory_.load<base::Le16>(device_area_).get(); }
  std::uint16_t available_event() {
    return memory_.load<base::Le16>(device_area_ + 4 + std::uint64_t{size_} * 8).get();
  }
  std::uint16_t size() const { return size_; }

 private:
  DriverMemory& memory_;
  std::uint16_t size_;
  std::uint64_t descriptors_;
  std::uint64_t driver_area_;
  std::uint64_t device_area_;
  std::uint16_t next_descriptor_ = 0;
  std::uint16_t available_ = 0;
  std::uint16_t seen_ = 0;
};

// A whole driver: memory, loop, transport. The loop has no thread: settle() lets it work.
class Driver {
 public:
  explicit Driver(virtio::Backend& backend, EventLoop& loop)
      : loop_(loop),
        transport_(virtio::MmioTransport::create(
            {.backend = backend,
             .loop = loop,
             .memory = memory.memory(),
             .connect = [this] { return ++connected > 0; },
             .complain = [this](const std::string& words) { complaints.push_back(words); }})) {}

  std::uint32_t read(std::uint64_t offset) {
    base::Le32 value;
    std::array<std::byte, 4> bytes{};
    transport_->read(offset, bytes);
    value = std::bit_cast<base::Le32>(bytes);
    return value.get();
  }
  void write(std::uint64_t offset, std::uint32_t value) {
    EXPECT_EQ(transport_->write(offset, base::to_bytes(base::Le32(value))), Action{});
  }
  template <base::Wire T>
  T config(std::uint64_t offset = 0) {
    std::array<std::byte, sizeof(T)> bytes{};
    transport_->read(abi::VIRTIO_MMIO_CONFIG + offset, bytes);
    return std::bit_cast<T>(bytes);
  }
  std::uint32_t status() { return read(abi::VIRTIO_MMIO_STATUS); }
  std::uint64_t offered() {
    write(abi::VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    const std::uint64_t low = read(abi::VIRTIO_MMIO_DEVICE_FEATURES);
    write(abi::VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    return low | std::uint64_t{read(abi::VIRTIO_MMIO_DEVICE_FEATURES)} << 32;
  }

  // 3.1.1, steps 1 to 6: true when the device accepted the features.
  bool negotiate(std::uint64_t features) {
    write(abi::VIRTIO_MMIO_STATUS, 0);
    write(abi::VIRTIO_MMIO_STATUS, abi::VIRTIO_CONFIG_S_ACKNOWLEDGE);
    write(abi::VIRTIO_MMIO_STATUS, abi::VIRTIO_CONFIG_S_DRIVER);
    features |= abi::VIRTIO_F_VERSION_1;
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES, static_cast<std::uint32_t>(features));
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES, static_cast<std::uint32_t>(features >> 32));
    write(abi::VIRTIO_MMIO_STATUS, abi::VIRTIO_CONFIG_S_FEATURES_OK);
    return (status() & abi::VIRTIO_CONFIG_S_FEATURES_OK) != 0;
  }
  // Of at most 64 entries, so that a test's memory suffices.
  DriverQueue& add_queue(std::uint32_t index) {
    write(abi::VIRTIO_MMIO_QUEUE_SEL, index);
    const std::uint32_t most = read(abi::VIRTIO_MMIO_QUEUE_NUM_MAX);
    queues_.push_back(std::make_unique<DriverQueue>(
        memory, static_cast<std::uint16_t>(std::min(most, std::uint32_t{64}))));
    set_queue(index, queues_.back()->setup());
    return *queues_.back();
  }
  void set_queue(std::uint32_t index, const virtio::QueueSetup& setup) {
    const auto pair = [this](std::uint64_t offset, base::PhysAddr address) {
      write(offset, static_cast<std::uint32_t>(address.value()));
      write(offset + 4, static_cast<std::uint32_t>(address.value() >> 32));
    };
    write(abi::VIRTIO_MMIO_QUEUE_SEL, index);
    write(abi::VIRTIO_MMIO_QUEUE_NUM, setup.size);
    pair(abi::VIRTIO_MMIO_QUEUE_DESC_LOW, setup.descriptors);
    pair(abi::VIRTIO_MMIO_QUEUE_DRIVER_LOW, setup.driver_area);
    pair(abi::VIRTIO_MMIO_QUEUE_DEVICE_LOW, setup.device_area);
    write(abi::VIRTIO_MMIO_QUEUE_READY, 1);
  }
  void start() {
    write(abi::VIRTIO_MMIO_STATUS, abi::VIRTIO_CONFIG_S_DRIVER_OK);
    settle();
  }
  // Rings, and lets the device work.
  void ring(std::uint32_t queue) {
    write(abi::VIRTIO_MMIO_QUEUE_NOTIFY, queue);
    settle();
  }
  // Until the device has nothing more to do at once. `wait` for what comes from elsewhere.
  void settle(int wait = 0) {
    loop_.run_once(wait);
    for (int i = 0; i < 16; ++i) {
      loop_.run_once(0);
    }
  }
  // Whether the device interrupted since the last call, and why: VIRTIO_MMIO_INT_*.
  std::uint32_t interrupt() {
    if (!transport_->interrupt().clear()) {
      return 0;
    }
    const std::uint32_t reason = read(abi::VIRTIO_MMIO_INTERRUPT_STATUS);
    write(abi::VIRTIO_MMIO_INTERRUPT_ACK, reason);
    return reason;
  }

  virtio::MmioTransport& transport() { return *transport_; }

  DriverMemory memory;
  std::vector<std::string> complaints;
  int connected = 0;

 private:
  EventLoop& loop_;
  std::vector<std::unique_ptr<DriverQueue>> queues_;
  std::unique_ptr<virtio::MmioTransport> transport_;
};

}  // namespace pvh::devices::testing
