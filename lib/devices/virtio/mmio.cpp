// SPDX-License-Identifier: BSD-2-Clause
#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <pvh/abi/virtio.hpp>
#include <pvh/devices/virtio/mmio.hpp>

namespace pvh::devices::virtio {
namespace {

using namespace abi;  // NOLINT(google-build-using-namespace): the registers' names, here only

static_assert(kNotifyOffset == VIRTIO_MMIO_QUEUE_NOTIFY);

constexpr std::uint32_t kVendor = 0x00485650;  // "PVH"; drivers do not look
constexpr std::uint32_t kStatusBits = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                                      VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
                                      VIRTIO_CONFIG_S_FAILED;

std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}
std::uint64_t with_low(std::uint64_t value, std::uint32_t part) {
  return (value & ~std::uint64_t{UINT32_MAX}) | part;
}
std::uint64_t with_high(std::uint64_t value, std::uint32_t part) {
  return (value & UINT32_MAX) | std::uint64_t{part} << 32;
}

}  // namespace

void read_config_bytes(base::Bytes whole, std::uint64_t offset, base::MutableBytes data) {
  std::ranges::fill(data, std::byte{0});
  if (offset < whole.size()) {
    const base::Bytes rest = whole.subspan(offset);
    std::memcpy(data.data(), rest.data(), std::min(rest.size(), data.size()));
  }
}

std::unique_ptr<MmioTransport> MmioTransport::create(Parts parts) {
  std::vector<base::EventFd> doorbells;
  for (std::size_t i = 0; i < parts.backend.queue_sizes().size(); ++i) {
    auto doorbell = base::EventFd::create();
    if (!doorbell) {
      return nullptr;
    }
    doorbells.push_back(std::move(*doorbell));
  }
  auto interrupt = base::EventFd::create();
  if (!interrupt) {
    return nullptr;
  }
  return std::unique_ptr<MmioTransport>(
      new MmioTransport(std::move(parts), std::move(doorbells), std::move(*interrupt)));
}

MmioTransport::MmioTransport(Parts parts, std::vector<base::EventFd> doorbells,
                             base::EventFd interrupt)
    : parts_(std::move(parts)),
      doorbells_(std::move(doorbells)),
      interrupt_(std::move(interrupt)),
      registers_(doorbells_.size()) {}

MmioTransport::~MmioTransport() {
  deactivate();
}

void MmioTransport::read(std::uint64_t offset, base::MutableBytes data) {
  if (offset >= VIRTIO_MMIO_CONFIG) {
    parts_.backend.read_config(offset - VIRTIO_MMIO_CONFIG, data);
    return;
  }
  std::uint32_t value = 0;
  if (data.size() == sizeof(value) && offset % sizeof(value) == 0) {
    value = read_register(offset);
  }
  std::ranges::fill(data, std::byte{0});
  std::memcpy(data.data(), &value, std::min(data.size(), sizeof(value)));
}

Action MmioTransport::write(std::uint64_t offset, base::Bytes data) {
  if (offset >= VIRTIO_MMIO_CONFIG) {
    parts_.loop.call([&] { parts_.backend.write_config(offset - VIRTIO_MMIO_CONFIG, data); });
    return {};
  }
  if (const auto value = base::read_at<base::Le32>(data, 0);
      value && data.size() == sizeof(*value) && offset % sizeof(*value) == 0) {
    write_register(offset, value->get());
  }
  return {};
}

std::uint64_t MmioTransport::offered() const {
  return parts_.backend.features() | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC |
         VIRTIO_F_EVENT_IDX;
}

std::uint32_t MmioTransport::read_register(std::uint64_t offset) {
  switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
      return kVirtioMmioMagic;
    case VIRTIO_MMIO_VERSION:
      return kVirtioMmioVersion;
    case VIRTIO_MMIO_DEVICE_ID:
      return parts_.backend.id();
    case VIRTIO_MMIO_VENDOR_ID:
      return kVendor;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
      return interrupt_status_.load();
    case VIRTIO_MMIO_STATUS:
      return status_.load();
    case VIRTIO_MMIO_CONFIG_GENERATION:
      return generation_.load();
    default:
      break;
  }
  if (offset >= VIRTIO_MMIO_SHM_LEN_LOW && offset <= VIRTIO_MMIO_SHM_BASE_HIGH) {
    return UINT32_MAX;  // no shared memory region has any number [4.2.2]
  }
  const std::scoped_lock lock(mutex_);
  const bool has_queue = queue_sel_ < registers_.size();
  switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES:
      return device_features_sel_ == 0   ? low(offered())
             : device_features_sel_ == 1 ? high(offered())
                                         : 0;
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
      return has_queue ? parts_.backend.queue_sizes()[queue_sel_] : 0;
    case VIRTIO_MMIO_QUEUE_READY:
      return has_queue && registers_[queue_sel_].ready ? 1 : 0;
    default:
      return 0;
  }
}

void MmioTransport::write_register(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case VIRTIO_MMIO_QUEUE_NOTIFY:
      if (value < doorbells_.size()) {
        doorbells_[value].signal();
      }
      return;
    case VIRTIO_MMIO_INTERRUPT_ACK:
      interrupt_status_.fetch_and(~value);
      return;
    case VIRTIO_MMIO_STATUS:
      write_status(value);
      return;
    default:
      break;
  }
  const std::scoped_lock lock(mutex_);
  switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
      device_features_sel_ = value;
      break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
      driver_features_sel_ = value;
      break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
      // Settled once the driver has said so.
      if (driver_features_sel_ < driver_features_.size() &&
          (status_.load() & VIRTIO_CONFIG_S_FEATURES_OK) == 0) {
        driver_features_[driver_features_sel_] = value;
      }
      break;
    case VIRTIO_MMIO_QUEUE_SEL:
      queue_sel_ = value;
      break;
    default:
      write_queue_register(offset, value);
      break;
  }
}

void MmioTransport::write_queue_register(std::uint64_t offset, std::uint32_t value) {
  // The queues are the backend's once the driver is ready.
  if (queue_sel_ >= registers_.size() || (status_.load() & VIRTIO_CONFIG_S_DRIVER_OK) != 0) {
    return;
  }
  QueueRegisters& queue = registers_[queue_sel_];
  if (offset == VIRTIO_MMIO_QUEUE_READY) {
    queue.ready = value == 1;
    return;
  }
  if (queue.ready) {
    return;
  }
  switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
      queue.size = value;
      break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
      queue.descriptors = with_low(queue.descriptors, value);
      break;
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
      queue.descriptors = with_high(queue.descriptors, value);
      break;
    case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
      queue.driver_area = with_low(queue.driver_area, value);
      break;
    case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
      queue.driver_area = with_high(queue.driver_area, value);
      break;
    case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
      queue.device_area = with_low(queue.device_area, value);
      break;
    case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
      queue.device_area = with_high(queue.device_area, value);
      break;
    default:
      break;
  }
}

void MmioTransport::write_status(std::uint32_t value) {
  if (value == 0) {
    reset();
    return;
  }
  std::optional<std::pair<std::uint64_t, std::vector<QueueRegisters>>> activation;
  {
    const std::scoped_lock lock(mutex_);
    const std::uint32_t before = status_.load();
    // A driver adds bits and takes none away. [3.1.1]
    std::uint32_t after = before | (value & kStatusBits);
    const std::uint64_t features = with_high(driver_features_[0], driver_features_[1]);
    const bool settled = (before & VIRTIO_CONFIG_S_FEATURES_OK) != 0;
    if (!settled && ((features & ~offered()) != 0 || (features & VIRTIO_F_VERSION_1) == 0)) {
      after &= ~VIRTIO_CONFIG_S_FEATURES_OK;  // reads back as refused
    }
    if ((after & VIRTIO_CONFIG_S_FEATURES_OK) == 0) {
      after &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    }
    status_.fetch_or(after);
    if ((after & ~before & VIRTIO_CONFIG_S_DRIVER_OK) != 0) {
      activation.emplace(features, registers_);
    }
  }
  if (activation) {
    parts_.loop.call([&] { activate(activation->first, activation->second); });
  }
}

void MmioTransport::reset() {
  parts_.loop.call([this] { deactivate(); });
  const std::scoped_lock lock(mutex_);
  device_features_sel_ = 0;
  driver_features_sel_ = 0;
  queue_sel_ = 0;
  driver_features_ = {};
  std::ranges::fill(registers_, QueueRegisters{});
  interrupt_status_.store(0);
  status_.store(0);
}

void MmioTransport::activate(std::uint64_t features, const std::vector<QueueRegisters>& registers) {
  deactivate();  // two vCPUs may have raced a reset against this
  if (!parts_.connect()) {
    return;  // the machine ends
  }
  Activation activation{
      .queues = {}, .features = features, .driver = this, .memory = &parts_.memory};
  for (std::size_t i = 0; i < registers.size(); ++i) {
    const QueueRegisters& queue = registers[i];
    // A size above 16 bits is above every maximum.
    const auto size = base::narrow<std::uint16_t>(queue.size).value_or(0);
    auto made = Queue::create(parts_.memory,
                              {.size = size,
                               .descriptors = base::PhysAddr(queue.descriptors),
                               .driver_area = base::PhysAddr(queue.driver_area),
                               .device_area = base::PhysAddr(queue.device_area),
                               .event_index = (features & VIRTIO_F_EVENT_IDX) != 0,
                               .indirect = (features & VIRTIO_F_INDIRECT_DESC) != 0},
                              parts_.backend.queue_sizes()[i]);
    if (!queue.ready) {
      activation.queues.emplace_back();
    } else if (made) {
      activation.queues.push_back(std::move(*made));
    } else {
      broken(made.error());
      return;
    }
  }
  std::vector<std::size_t> in_use;
  for (std::size_t i = 0; i < activation.queues.size(); ++i) {
    if (activation.queues[i].size() != 0) {
      in_use.push_back(i);
    }
  }
  parts_.backend.activate(std::move(activation));
  for (const std::size_t i : in_use) {
    EventLoop::Watch watch =
        parts_.loop.watch(doorbells_[i].get(), EPOLLIN, [this, i](std::uint32_t) {
          if (doorbells_[i].clear() && (status_.load() & VIRTIO_CONFIG_S_NEEDS_RESET) == 0) {
            parts_.backend.notify(i);
          }
        });
    watches_.push_back(std::move(watch));
    doorbells_[i].signal();  // for what came before the driver was ready
  }
}

void MmioTransport::deactivate() {
  watches_.clear();
  for (const base::EventFd& doorbell : doorbells_) {
    doorbell.clear();
  }
  parts_.backend.reset();
}

void MmioTransport::raise(std::uint32_t reason) {
  interrupt_status_.fetch_or(reason);
  interrupt_.signal();
}

void MmioTransport::used_buffers() {
  raise(VIRTIO_MMIO_INT_VRING);
}

void MmioTransport::config_changed() {
  generation_.fetch_add(1);
  raise(VIRTIO_MMIO_INT_CONFIG);
}

void MmioTransport::notify_again(std::size_t queue) {
  doorbells_[queue].signal();
}

void MmioTransport::broken(const QueueFault& fault) {
  const std::uint32_t before = status_.fetch_or(VIRTIO_CONFIG_S_NEEDS_RESET);
  if ((before & VIRTIO_CONFIG_S_NEEDS_RESET) == 0) {
    parts_.complain(fmt::format("{}: the device stops until it is reset", base::to_text(fault)));
    raise(VIRTIO_MMIO_INT_CONFIG);
  }
}

}  // namespace pvh::devices::virtio
