// SPDX-License-Identifier: BSD-2-Clause
// Against the transport and the queues, whatever the device.
#include <iterator>
#include <optional>

#include "hostile/attacks.hpp"

namespace pvh::kernels::hostile {
namespace {

using std::string_view_literals::operator""sv;

// One for each queue, where the arena begins; the buffers are behind them.
Queue& queue_of(Attacker& guest, std::uint32_t index) {
  return reinterpret_cast<Queue*>(guest.arena)[index];
}
constexpr std::uint64_t kBuffers = 0x10000;
static_assert(sizeof(Queue) * Device::kMostQueues <= kBuffers);

void bring_up(Attacker& guest, const Device& device, std::uint64_t features) {
  device.bring_up(features, &queue_of(guest, 0));
}

// Any register, by any width, with any value.
void registers(Attacker& guest) {
  for (const Device& device : guest.devices) {
    for (std::uint32_t i = 0; i < guest.times(3000); ++i) {
      const std::uint64_t offset = guest.random.below(guest.random.one_in(8) ? 0x1000 : 0x120);
      const std::uint64_t at =
          device.registers() + (guest.random.one_in(8) ? offset : offset & ~3ull);
      const std::uint64_t value =
          guest.random.one_in(2) ? guest.random.next() : guest.random.below(16);
      switch (guest.random.below(8)) {
        case 0:
          *reinterpret_cast<volatile std::uint8_t*>(at) = static_cast<std::uint8_t>(value);
          break;
        case 1:
          *reinterpret_cast<volatile std::uint16_t*>(at) = static_cast<std::uint16_t>(value);
          break;
        case 2:
          *reinterpret_cast<volatile std::uint64_t*>(at) = value;
          break;
        case 3:
        case 4:
          static_cast<void>(*reinterpret_cast<volatile std::uint32_t*>(at));
          break;
        default:
          *reinterpret_cast<volatile std::uint32_t*>(at) = static_cast<std::uint32_t>(value);
          break;
      }
    }
    device.write(abi::VIRTIO_MMIO_STATUS, 0);
  }
}

// Every doorbell, of a device that is not up, and with numbers of queues that it has not.
void doorbells(Attacker& guest) {
  for (const Device& device : guest.devices) {
    for (std::uint32_t i = 0; i < guest.times(500); ++i) {
      device.ring(guest.random.one_in(2) ? guest.random.below(16)
                                         : static_cast<std::uint32_t>(guest.random.next()));
    }
    bring_up(guest, device, ~std::uint64_t{0});
    for (std::uint32_t i = 0; i < guest.times(500); ++i) {
      device.ring(guest.random.below(guest.random.one_in(2) ? 16 : 2));
    }
    device.write(abi::VIRTIO_MMIO_STATUS, 0);
  }
}

// Queues of any size at any place: at devices, in holes, past the end, over the end of the address
// space.
void queues_anywhere(Attacker& guest) {
  for (const Device& device : guest.devices) {
    for (std::uint32_t i = 0; i < guest.times(150); ++i) {
      device.begin(guest.random.one_in(2) ? ~std::uint64_t{0}
                                          : guest.random.next() | abi::VIRTIO_F_VERSION_1);
      for (std::uint32_t index = 0; index < device.queues(); ++index) {
        Places places = places_of(queue_of(guest, index));
        queue_of(guest, index).driver.idx =
            base::Le16(static_cast<std::uint16_t>(guest.random.next()));
        const std::uint32_t bad = guest.random.below(8);
        places.table = (bad & 1) != 0 ? guest.bad_address() : places.table;
        places.driver = (bad & 2) != 0 ? guest.bad_address() : places.driver;
        places.device = (bad & 4) != 0 ? guest.bad_address() : places.device;
        const std::uint32_t size = guest.random.one_in(3)
                                       ? static_cast<std::uint32_t>(guest.random.next())
                                       : 1u << guest.random.below(17);
        device.set_queue(index, guest.random.one_in(2) ? Queue::kEntries : size, places);
      }
      device.go();
      for (std::uint32_t index = 0; index < device.queues(); ++index) {
        device.ring(index);
      }
      // Moved while the device has them.
      device.write(abi::VIRTIO_MMIO_QUEUE_DESC_LOW,
                   static_cast<std::uint32_t>(guest.bad_address()));
      device.write(abi::VIRTIO_MMIO_QUEUE_READY, guest.random.below(3));
      device.ring(0);
    }
    device.write(abi::VIRTIO_MMIO_STATUS, 0);
  }
}

// A descriptor that is seldom right: buffers anywhere, of any length, chains that loop, tables in
// tables.
abi::virtq_desc some_descriptor(Attacker& guest) {
  Random& random = guest.random;
  const std::uint64_t address =
      random.one_in(3) ? guest.bad_address() : guest.arena + random.below(kArena);
  const std::uint32_t length =
      random.one_in(4) ? static_cast<std::uint32_t>(random.next()) : random.below(0x3000);
  const auto flags = static_cast<std::uint16_t>(random.one_in(8) ? random.next() : random.below(8));
  const auto next =
      static_cast<std::uint16_t>(random.one_in(8) ? random.next() : random.below(Queue::kEntries));
  return {base::Le64(address), base::Le32(length), base::Le16(flags), base::Le16(next)};
}

// The first bytes of buffers are what devices look at: small numbers are commands.
void scribble(Attacker& guest) {
  auto* const words = reinterpret_cast<std::uint32_t*>(guest.arena + kBuffers);
  for (std::uint32_t i = 0; i < 64; ++i) {
    const std::uint64_t value = guest.random.next();
    words[guest.random.below((kArena - kBuffers) / 4)] =
        static_cast<std::uint32_t>(guest.random.one_in(2) ? value : value & 15);
  }
}

void corrupt(Attacker& guest, Queue& queue) {
  Random& random = guest.random;
  for (std::uint32_t i = 0; i < 16; ++i) {
    queue.table[random.below(Queue::kEntries)] = some_descriptor(guest);
    queue.driver_ring[random.below(Queue::kEntries)] = base::Le16(static_cast<std::uint16_t>(
        random.one_in(8) ? random.next() : random.below(Queue::kEntries)));
  }
  const std::uint32_t step =
      random.one_in(8) ? static_cast<std::uint32_t>(random.next()) : random.below(4);
  queue.driver.idx = base::Le16(static_cast<std::uint16_t>(queue.driver.idx.get() + step));
  queue.driver.flags = base::Le16(static_cast<std::uint16_t>(random.below(3)));
  queue.used_event = base::Le16(static_cast<std::uint16_t>(random.next()));
}

void random_chains(Attacker& guest) {
  for (const Device& device : guest.devices) {
    for (std::uint32_t i = 0; i < guest.times(80); ++i) {
      if (i % 8 == 0) {
        bring_up(guest, device,
                 guest.random.one_in(4) ? guest.random.next() | abi::VIRTIO_F_VERSION_1
                                        : ~std::uint64_t{0});
      }
      scribble(guest);
      for (std::uint32_t index = 0; index < device.queues(); ++index) {
        corrupt(guest, queue_of(guest, index));
        device.ring(index);
      }
    }
    device.write(abi::VIRTIO_MMIO_STATUS, 0);
  }
}

// The other processors change descriptors, rings and what they point at, all the time.
struct Meddler {
  Attacker guest;
  volatile bool go_on = true;
};

void meddle(void* argument) {
  auto& meddler = *static_cast<Meddler*>(argument);
  while (meddler.go_on) {
    scribble(meddler.guest);
    corrupt(meddler.guest,
            queue_of(meddler.guest, meddler.guest.random.below(Device::kMostQueues)));
  }
}

void moving_targets(Attacker& guest) {
  static guest::Processor processors[7];
  static std::uint8_t stacks[std::size(processors)][4096] __attribute__((aligned(16)));
  static std::optional<Meddler> meddlers[std::size(processors)];
  guest::ProcessorStarter starter(guest.boot);
  std::size_t count = 0;
  for (const guest::Processor& processor :
       guest::other_processors(guest.boot, processors).processors) {
    meddlers[count].emplace(guest);
    meddlers[count]->guest.random = Random(guest.random.next());
    if (starter.start(processor, meddle, &*meddlers[count],
                      stacks[count] + sizeof(stacks[count]))) {
      ++count;
    }
  }
  random_chains(guest);
  for (std::size_t i = 0; i < count; ++i) {
    meddlers[i]->go_on = false;
  }
}

// Reset with requests on their way, at once set up again at the same place, again and again.
void reset_in_flight(Attacker& guest) {
  const std::uint64_t buffer = guest.arena + kBuffers;
  for (const Device& device : guest.devices) {
    for (std::uint32_t i = 0; i < guest.times(15); ++i) {
      bring_up(guest, device, ~std::uint64_t{0});
      const bool writes = guest.random.one_in(2);
      auto* const header = reinterpret_cast<std::uint32_t*>(buffer);
      header[0] = writes ? 1 : 0;
      header[2] = guest.random.below(16);
      const Buffer chain[] = {
          {buffer, 16, false}, {buffer + 4096, 65536, !writes}, {buffer + 16, 1, true}};
      for (std::uint32_t index = 0; index < device.queues(); ++index) {
        for (std::uint32_t many = 0; many < 4; ++many) {
          offer(queue_of(guest, index), chain);
        }
        device.ring(index);
      }
      for (std::uint32_t wait = guest.random.below(64); wait > 0; --wait) {
        guest.machine.pause();
      }
      device.write(abi::VIRTIO_MMIO_STATUS, 0);
    }
  }
}

constexpr Attack kAttacks[] = {{"registers"sv, registers},
                               {"doorbells"sv, doorbells},
                               {"queues-anywhere"sv, queues_anywhere},
                               {"random-chains"sv, random_chains},
                               {"moving-targets"sv, moving_targets},
                               {"reset-in-flight"sv, reset_in_flight}};

}  // namespace

std::span<const Attack> virtio_attacks() {
  return kAttacks;
}

}  // namespace pvh::kernels::hostile
