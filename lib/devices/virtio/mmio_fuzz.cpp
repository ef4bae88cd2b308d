// SPDX-License-Identifier: BSD-2-Clause
// The registers of the MMIO transport beside a model of them, written from virtio 1.2, 2.1, 3.1.1
// and 4.2.2: any sequence of accesses, of any width, doorbells and a device that finds fault with
// its driver in between. Every register always reads what the model says, and the device behind
// hears of exactly the activations, doorbells and resets that the model has.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <pvh/base/little_endian.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/virtio/mmio.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

#include "lib/base/testing/fuzz.hpp"

namespace {

using namespace pvh;
using namespace pvh::devices;
using fuzz::require;

constexpr std::array<std::uint16_t, 3> kSizes{64, 8, 1};
constexpr std::uint64_t kOwnFeatures = 0x8000000000000005;
constexpr std::uint64_t kOffered = kOwnFeatures | std::uint64_t{1} << 32 | 3u << 28;
constexpr std::uint64_t kMemory = 0x10000;
constexpr std::array<std::uint8_t, 12> kConfig{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

// Notes what it hears.
class Ears final : public virtio::Backend {
 public:
  [[nodiscard]] std::uint32_t id() const override { return 42; }
  [[nodiscard]] std::uint64_t features() const override { return kOwnFeatures; }
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const override { return kSizes; }
  void read_config(std::uint64_t offset, base::MutableBytes data) const override {
    virtio::read_config_bytes(std::as_bytes(std::span(kConfig)), offset, data);
  }
  void write_config(std::uint64_t offset, base::Bytes data) override {
    config_writes += 1;
    last_write = {offset, data.size()};
  }
  void activate(virtio::Activation activation) override {
    require(!active && activation.driver != nullptr && activation.memory != nullptr);
    require(activation.queues.size() == kSizes.size());
    active = std::move(activation);
    ++activations;
  }
  void notify(std::size_t queue) override {
    require(active && queue < kSizes.size() && active->queues[queue].size() != 0);
    ++notified[queue];
  }
  void reset() override { active.reset(); }

  std::optional<virtio::Activation> active;
  unsigned activations = 0;
  unsigned config_writes = 0;
  std::pair<std::uint64_t, std::size_t> last_write;
  std::array<unsigned, kSizes.size()> notified{};
};

struct Queue {
  std::uint32_t size = 0;
  bool ready = false;
  std::array<std::uint64_t, 3> parts{};  // descriptors, driver area, device area
};

// Whether the memory of the model's guest, [0, kMemory), holds this queue as 2.7 wants it.
bool is_sound(const Queue& queue, std::uint16_t most) {
  const std::uint64_t n = queue.size;
  const std::array<std::uint64_t, 3> sizes{16 * n, 6 + 2 * n, 6 + 8 * n};
  const std::array<std::uint64_t, 3> alignments{16, 2, 4};
  bool sound = n != 0 && n <= most && (n & (n - 1)) == 0;
  for (std::size_t i = 0; i < 3; ++i) {
    sound = sound && queue.parts[i] % alignments[i] == 0 && queue.parts[i] <= kMemory &&
            sizes[i] <= kMemory - queue.parts[i];
  }
  return sound;
}

class Model {
 public:
  std::uint32_t status = 0;
  std::uint32_t interrupts = 0;
  std::uint32_t generation = 0;
  unsigned activations = 0;
  unsigned config_writes = 0;
  bool active = false;
  std::array<unsigned, kSizes.size()> notified{};

  [[nodiscard]] std::uint32_t read(std::uint64_t offset) const {
    const bool has_queue = queue_ < kSizes.size();
    switch (offset) {
      case 0x000:
        return 0x74726976;
      case 0x004:
        return 2;
      case 0x008:
        return 42;
      case 0x00c:
        return 0x00485650;
      case 0x010:
        return device_select_ == 0   ? static_cast<std::uint32_t>(kOffered)
               : device_select_ == 1 ? static_cast<std::uint32_t>(kOffered >> 32)
                                     : 0;
      case 0x034:
        return has_queue ? kSizes[queue_] : 0;
      case 0x044:
        return has_queue && queues_[queue_].ready ? 1 : 0;
      case 0x060:
        return interrupts;
      case 0x070:
        return status;
      case 0x0b0:
      case 0x0b4:
      case 0x0b8:
      case 0x0bc:
        return 0xffffffff;
      case 0x0fc:
        return generation;
      default:
        return 0;
    }
  }

  void write(std::uint64_t offset, std::uint32_t value) {
    switch (offset) {
      case 0x014:
        device_select_ = value;
        return;
      case 0x020:
        if (driver_select_ < 2 && (status & 8) == 0) {
          features_ = driver_select_ == 0 ? (features_ >> 32 << 32) | value
                                          : (features_ & 0xffffffff) | std::uint64_t{value} << 32;
        }
        return;
      case 0x024:
        driver_select_ = value;
        return;
      case 0x030:
        queue_ = value;
        return;
      case 0x050:
        // A queue that is used, of a device that works.
        if (value < kSizes.size() && active && queues_[value].ready && (status & 64) == 0) {
          ++notified[value];
        }
        return;
      case 0x064:
        interrupts &= ~value;
        return;
      case 0x070:
        write_status(value);
        return;
      default:
        write_queue(offset, value);
    }
  }

  void reset() {
    const Model fresh;
    status = interrupts = 0;
    active = false;
    device_select_ = driver_select_ = queue_ = 0;
    features_ = 0;
    queues_ = fresh.queues_;
  }
  void broken() {
    if ((status & 64) == 0) {
      status |= 64;
      interrupts |= 2;
    }
  }

 private:
  void write_status(std::uint32_t value) {
    if (value == 0) {
      reset();
      return;
    }
    const bool was_ready = (status & 4) != 0;
    const bool acceptable = (features_ & ~kOffered) == 0 && (features_ >> 32 & 1) != 0;
    const bool features_ok = (status & 8) != 0 || ((value & 8) != 0 && acceptable);
    status |= value & (1 | 2 | 128);
    status |= features_ok ? 8 : 0;
    status |= features_ok ? value & 4 : 0;
    if (!was_ready && (status & 4) != 0) {
      activate();
    }
  }
  void activate() {
    active = false;
    for (std::size_t i = 0; i < kSizes.size(); ++i) {
      if (queues_[i].ready && !is_sound(queues_[i], kSizes[i])) {
        broken();
        return;
      }
    }
    active = true;
    ++activations;
    for (std::size_t i = 0; i < kSizes.size(); ++i) {
      // For what came before the driver was ready.
      notified[i] += queues_[i].ready && (status & 64) == 0 ? 1 : 0;
    }
  }
  void write_queue(std::uint64_t offset, std::uint32_t value) {
    if (queue_ >= kSizes.size() || (status & 4) != 0) {
      return;
    }
    Queue& queue = queues_[queue_];
    if (offset == 0x044) {
      queue.ready = value == 1;
    } else if (!queue.ready && offset == 0x038) {
      queue.size = value;
    } else if (!queue.ready && offset >= 0x080 && offset < 0x0a8 && offset % 16 <= 4) {
      std::uint64_t& part = queue.parts[(offset - 0x080) / 16];
      part = offset % 16 == 0 ? (part >> 32 << 32) | value
                              : (part & 0xffffffff) | std::uint64_t{value} << 32;
    }
  }

  std::uint32_t device_select_ = 0;
  std::uint32_t driver_select_ = 0;
  std::uint32_t queue_ = 0;
  std::uint64_t features_ = 0;
  std::array<Queue, kSizes.size()> queues_;
};

class Session {
 public:
  Session(EventLoop& loop, guest_memory::GuestMemory& memory)
      : loop_(loop),
        transport_(virtio::MmioTransport::create({.backend = ears_,
                                                  .loop = loop,
                                                  .memory = memory,
                                                  .connect = [] { return true; },
                                                  .complain = [](const std::string&) {}})) {
    require(transport_ != nullptr);
  }

  void step(FuzzedDataProvider& draw) {
    switch (draw.ConsumeIntegralInRange(0, 9)) {
      case 0:
        odd_access(draw);
        break;
      case 1:
        config(draw);
        break;
      case 2:
        negotiate(draw);
        break;
      case 3:
        queue(draw);
        break;
      case 4:
        of_the_device(draw);
        break;
      case 5:
        transport_->reset();
        model_.reset();
        break;
      default: {
        constexpr std::array<std::uint64_t, 20> kWritable{
            0x014, 0x020, 0x024, 0x030, 0x038, 0x044, 0x050, 0x060, 0x064, 0x070,
            0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x0ac, 0x000, 0x0fc, 0x070};
        constexpr std::array<std::uint32_t, 12> kValues{0,  1,  2,  3,   4,   8,
                                                        11, 15, 64, 128, 143, 0xffffffff};
        const auto offset = draw.PickValueInArray(kWritable);
        write(offset, draw.ConsumeBool() ? draw.PickValueInArray(kValues)
                                         : draw.ConsumeIntegral<std::uint32_t>());
      }
    }
    settle();
    compare();
  }

 private:
  void write(std::uint64_t offset, std::uint32_t value) {
    require(transport_->write(offset, base::to_bytes(base::Le32(value))) == Action{});
    model_.write(offset, value);
    settle();
  }

  // Not a register: reads as 0, changes nothing.
  void odd_access(FuzzedDataProvider& draw) {
    const auto offset = draw.ConsumeIntegralInRange<std::uint64_t>(0, 0xff);
    const auto width = draw.ConsumeIntegralInRange<std::size_t>(1, 8);
    if (width == 4 && offset % 4 == 0) {
      return;
    }
    std::vector<std::byte> bytes(width, std::byte{draw.ConsumeIntegral<std::uint8_t>()});
    require(transport_->write(offset, bytes) == Action{});
    transport_->read(offset, bytes);
    require(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
  }

  void config(FuzzedDataProvider& draw) {
    const auto offset = draw.ConsumeIntegralInRange<std::uint64_t>(0, 0xeff);
    std::vector<std::byte> bytes(draw.ConsumeIntegralInRange<std::size_t>(1, 8), std::byte{9});
    transport_->read(0x100 + offset, bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      require(std::to_integer<std::uint8_t>(bytes[i]) ==
              (offset + i < kConfig.size() ? kConfig[offset + i] : 0));
    }
    require(transport_->write(0x100 + offset, bytes) == Action{});
    ++model_.config_writes;
    require(ears_.last_write == std::pair(offset, bytes.size()));
  }

  // What a driver does, with the features and the order nearly right.
  void negotiate(FuzzedDataProvider& draw) {
    constexpr std::array<std::uint32_t, 4> kHigh{1, 0, 0x80000001, 3};
    write(0x070, 1);
    write(0x070, 3);
    write(0x024, 1);
    write(0x020, draw.PickValueInArray(kHigh));
    write(0x024, 0);
    write(0x020, draw.ConsumeBool() ? 0x30000005 : draw.ConsumeIntegral<std::uint32_t>());
    write(0x070, 11);
    if (draw.ConsumeBool()) {
      write(0x070, 15);
    }
  }

  void queue(FuzzedDataProvider& draw) {
    constexpr std::array<std::uint32_t, 6> kNumbers{1, 8, 64, 0, 3, 128};
    write(0x030, draw.ConsumeIntegralInRange<std::uint32_t>(0, 3));
    write(0x038, draw.PickValueInArray(kNumbers));
    for (const std::uint64_t part : {0x080u, 0x090u, 0x0a0u}) {
      write(part, draw.ConsumeIntegralInRange(0, 7) == 7
                      ? draw.ConsumeIntegral<std::uint32_t>()
                      : draw.ConsumeIntegralInRange<std::uint32_t>(0, 0xfff) * 16);
      write(part + 4, draw.ConsumeIntegralInRange(0, 31) == 31 ? 1 : 0);
    }
    write(0x044, 1);
  }

  // It has used buffers, new configuration, or had enough of the driver.
  void of_the_device(FuzzedDataProvider& draw) {
    if (!ears_.active) {
      return;
    }
    virtio::DriverSide& driver = *ears_.active->driver;
    switch (draw.ConsumeIntegralInRange(0, 3)) {
      case 0:
        driver.config_changed();
        ++model_.generation;
        model_.interrupts |= 2;
        break;
      case 1:
        driver.broken({virtio::QueueError::kLoop, "", std::nullopt});
        model_.broken();
        break;
      default:
        driver.used_buffers();
        model_.interrupts |= 1;
    }
  }

  void settle() {
    for (int turn = 0; turn < 3; ++turn) {
      loop_.run_once(0);
    }
  }

  void compare() {
    for (std::uint64_t offset = 0; offset < 0x100; offset += 4) {
      std::array<std::byte, 4> bytes{};
      transport_->read(offset, bytes);
      require(std::bit_cast<base::Le32>(bytes).get() == model_.read(offset));
    }
    require(ears_.activations == model_.activations);
    require(ears_.active.has_value() == model_.active);
    require(ears_.config_writes == model_.config_writes);
    require(ears_.notified == model_.notified);
  }

  EventLoop& loop_;
  Ears ears_;
  std::unique_ptr<virtio::MmioTransport> transport_;
  Model model_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto loop = EventLoop::create();
  require(loop != nullptr);
  auto memory = guest_memory::GuestMemory::create(
      std::vector{*base::Range::from_size(base::PhysAddr(0), base::ByteSize(kMemory))});
  require(memory.has_value());
  FuzzedDataProvider draw(data, size);
  Session session(*loop, *memory);
  for (int steps = 0; steps < 64 && draw.remaining_bytes() != 0; ++steps) {
    session.step(draw);
  }
  return 0;
}
