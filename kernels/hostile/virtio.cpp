// SPDX-License-Identifier: BSD-2-Clause
#include "hostile/virtio.hpp"

#include <bit>
#include <cstring>
#include <string_view>

#include <pvh/abi/acpi.hpp>
#include <pvh/abi/virtio_blk.hpp>

#include "common/aml.hpp"

namespace pvh::kernels::hostile {
namespace {

using std::string_view_literals::operator""sv;

std::uint64_t number(const void* pointer) {
  return reinterpret_cast<std::uint64_t>(pointer);
}

void barrier() {
  asm volatile("mfence" : : : "memory");
}

std::string_view find_dsdt(guest::Boot& boot) {
  guest::Machine& machine = boot.machine();
  guest::Diagnostics unheard;
  if (!boot.rsdp()) {
    return {};
  }
  const auto table = guest::find_acpi_table(machine, *boot.rsdp(), "FACP"sv, unheard);
  abi::acpi_table_fadt fadt{};
  abi::acpi_table_header header{};
  const auto bytes = std::as_writable_bytes(std::span(&fadt, 1));
  if (!table || table->range.size().value() < bytes.size() ||
      !machine.read(table->range.first(), bytes)) {
    return {};
  }
  const base::PhysAddr dsdt(fadt.Xdsdt.get());
  if (!machine.read(dsdt, std::as_writable_bytes(std::span(&header, 1)))) {
    return {};
  }
  const auto range = base::Range::from_size(dsdt, base::ByteSize(header.length.get()));
  const auto view = range ? machine.view(*range) : std::nullopt;
  return view ? std::string_view(reinterpret_cast<const char*>(view->data()), view->size())
              : std::string_view{};
}

}  // namespace

Places places_of(const Queue& queue) {
  return {number(queue.table), number(&queue.driver), number(&queue.device)};
}

Device::Device(std::uint64_t registers) : registers_(registers) {
  id_ = read(abi::VIRTIO_MMIO_DEVICE_ID);
  write(abi::VIRTIO_MMIO_STATUS, 0);
  for (; queues_ < kMostQueues; ++queues_) {
    write(abi::VIRTIO_MMIO_QUEUE_SEL, queues_);
    if (read(abi::VIRTIO_MMIO_QUEUE_NUM_MAX) == 0) {
      break;
    }
  }
}

std::uint32_t Device::read(std::uint64_t offset) const {
  return *reinterpret_cast<volatile const std::uint32_t*>(registers_ + offset);
}

void Device::write(std::uint64_t offset, std::uint32_t value) const {
  barrier();
  *reinterpret_cast<volatile std::uint32_t*>(registers_ + offset) = value;
}

void Device::begin(std::uint64_t features) const {
  constexpr std::uint32_t kDriver = abi::VIRTIO_CONFIG_S_ACKNOWLEDGE | abi::VIRTIO_CONFIG_S_DRIVER;
  write(abi::VIRTIO_MMIO_STATUS, 0);
  write(abi::VIRTIO_MMIO_STATUS, kDriver);
  for (std::uint32_t word = 0; word < 2; ++word) {
    write(abi::VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
    const std::uint32_t offered = read(abi::VIRTIO_MMIO_DEVICE_FEATURES);
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES,
          offered & static_cast<std::uint32_t>(features >> 32 * word));
  }
  write(abi::VIRTIO_MMIO_STATUS, kDriver | abi::VIRTIO_CONFIG_S_FEATURES_OK);
}

void Device::set_queue(std::uint32_t index, std::uint32_t size, const Places& places) const {
  const auto write_address = [this](std::uint64_t low, std::uint64_t value) {
    write(low, static_cast<std::uint32_t>(value));
    write(low + 4, static_cast<std::uint32_t>(value >> 32));
  };
  write(abi::VIRTIO_MMIO_QUEUE_SEL, index);
  write(abi::VIRTIO_MMIO_QUEUE_NUM, size);
  write_address(abi::VIRTIO_MMIO_QUEUE_DESC_LOW, places.table);
  write_address(abi::VIRTIO_MMIO_QUEUE_DRIVER_LOW, places.driver);
  write_address(abi::VIRTIO_MMIO_QUEUE_DEVICE_LOW, places.device);
  write(abi::VIRTIO_MMIO_QUEUE_READY, 1);
}

void Device::go() const {
  write(abi::VIRTIO_MMIO_STATUS, abi::VIRTIO_CONFIG_S_ACKNOWLEDGE | abi::VIRTIO_CONFIG_S_DRIVER |
                                     abi::VIRTIO_CONFIG_S_FEATURES_OK |
                                     abi::VIRTIO_CONFIG_S_DRIVER_OK);
}

void Device::bring_up(std::uint64_t features, Queue* queues) const {
  begin(features);
  for (std::uint32_t index = 0; index < queues_; ++index) {
    queues[index] = {};
    write(abi::VIRTIO_MMIO_QUEUE_SEL, index);
    const std::uint32_t most = read(abi::VIRTIO_MMIO_QUEUE_NUM_MAX);
    queues[index].entries =
        most < Queue::kEntries ? static_cast<std::uint16_t>(most) : Queue::kEntries;
    set_queue(index, queues[index].entries, places_of(queues[index]));
  }
  go();
}

std::span<Device> find_devices(guest::Boot& boot) {
  static Device devices[32];
  std::size_t count = 0;
  std::string_view aml = find_dsdt(boot);
  for (auto one = aml::next_virtio(aml); one && count < std::size(devices);
       one = aml::next_virtio(aml)) {
    devices[count++] = Device(one->address);
  }
  return std::span(devices).first(count);
}

void offer(Queue& queue, std::span<const Buffer> chain) {
  const std::size_t size = chain.size() < Queue::kEntries ? chain.size() : Queue::kEntries;
  for (std::size_t i = 0; i < size; ++i) {
    const bool is_last = i + 1 == size;
    const unsigned flags = (chain[i].is_written ? abi::VIRTQ_DESC_F_WRITE : 0u) |
                           (is_last ? 0u : abi::VIRTQ_DESC_F_NEXT);
    queue.table[i] = {base::Le64(chain[i].address), base::Le32(chain[i].size),
                      base::Le16(static_cast<std::uint16_t>(flags)),
                      base::Le16(static_cast<std::uint16_t>(is_last ? 0 : i + 1))};
  }
  const std::uint16_t at = queue.driver.idx.get();
  queue.driver_ring[at % queue.entries] = base::Le16(0);
  barrier();
  queue.driver.idx = base::Le16(static_cast<std::uint16_t>(at + 1));
  barrier();
}

std::optional<std::uint32_t> answer(guest::Machine& machine, const Queue& queue,
                                    std::uint16_t chains, std::uint64_t patience) {
  const std::uint64_t begin = machine.read_tsc();
  const auto answered = [&queue] {
    asm volatile("" : : : "memory");
    return queue.device.idx.get();
  };
  while (answered() != chains) {
    if (machine.read_tsc() - begin > patience) {
      return std::nullopt;
    }
    machine.pause();
  }
  barrier();
  return queue.device_ring[(chains - 1) % queue.entries].len.get();
}

bool serves(guest::Machine& machine, const Device& device) {
  static Queue queues[Device::kMostQueues];
  Queue& queue = queues[0];
  static abi::virtio_blk_req request;
  static std::uint8_t data[abi::kVirtioBlkSectorSize];
  static std::uint8_t status;
  if (device.id() != abi::VIRTIO_ID_BLOCK && device.id() != abi::VIRTIO_ID_RNG) {
    return true;
  }
  const bool is_disk = device.id() == abi::VIRTIO_ID_BLOCK;
  request = {base::Le32(abi::VIRTIO_BLK_T_IN), base::Le32(0), base::Le64(0)};
  status = 0xff;
  const Buffer chain[] = {{number(&request), sizeof(request), false},
                          {number(data), sizeof(data), true},
                          {number(&status), 1, true}};
  device.bring_up(abi::VIRTIO_F_VERSION_1, queues);
  offer(queue, is_disk ? std::span(chain) : std::span(chain).subspan(1, 1));
  device.ring(0);
  const auto written = answer(machine, queue, 1);
  device.write(abi::VIRTIO_MMIO_STATUS, 0);
  return written == (is_disk ? sizeof(data) + 1 : sizeof(data)) &&
         (!is_disk || status == abi::VIRTIO_BLK_S_OK);
}

}  // namespace pvh::kernels::hostile
