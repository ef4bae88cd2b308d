// SPDX-License-Identifier: BSD-2-Clause
// Against one kind of device, by a driver that speaks its language.
#include <iterator>

#include <pvh/abi/virtio_vsock.hpp>

#include "hostile/attacks.hpp"

namespace pvh::kernels::hostile {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint64_t kBuffers = 0x10000;
constexpr std::uint64_t kGuestPort = 1000;

// One device whose queues are where the arena begins, brought up again whenever it has stopped.
class Victim {
 public:
  Victim(Attacker& guest, const Device& device) : guest_(guest), device_(device) { bring_up(); }

  // Offers the chain and gives the device a moment for it.
  void send(std::uint32_t index, std::span<const Buffer> chain) {
    constexpr std::uint64_t kMoment = 100'000'000;
    offer(queue(index), chain);
    device_.ring(index);
    const std::uint16_t offered = queue(index).driver.idx.get();
    if (!answer(guest_.machine, queue(index), offered, kMoment)) {
      bring_up();
    }
  }
  // A page for what the device has to say; nobody waits for it.
  void make_room(std::uint32_t index) {
    const Buffer room[] = {{guest_.arena + kArena / 2, 4096, true}};
    if (queue(index).driver.idx.get() - queue(index).device.idx.get() < queue(index).entries) {
      offer(queue(index), room);
      device_.ring(index);
    }
  }

 private:
  Queue& queue(std::uint32_t index) { return reinterpret_cast<Queue*>(guest_.arena)[index]; }
  void bring_up() { device_.bring_up(~std::uint64_t{0}, &queue(0)); }

  Attacker& guest_;
  const Device& device_;
};

// An attack on the first device of a kind, if there is one, which is left reset.
template <std::uint32_t Id, void (*Run)(Attacker&, Victim&)>
void against(Attacker& guest) {
  for (const Device& device : guest.devices) {
    if (device.id() == Id) {
      Victim victim(guest, device);
      Run(guest, victim);
      device.write(abi::VIRTIO_MMIO_STATUS, 0);
      return;
    }
  }
}

// Page numbers of everything but what this guest itself stands on: devices, holes, past the end.
void balloon_anything(Attacker& guest, Victim& victim) {
  auto* const pages = reinterpret_cast<std::uint32_t*>(guest.arena + kBuffers);
  for (std::uint32_t i = 0; i < guest.times(100); ++i) {
    for (std::uint32_t at = 0; at < 1024; ++at) {
      const std::uint64_t address = guest.bad_address();
      const bool own = address >= guest.arena && address < guest.arena + kBuffers + 0x2000;
      pages[at] = own ? UINT32_MAX : static_cast<std::uint32_t>(address >> 12);
    }
    const std::uint32_t queue = guest.random.below(2);
    const Buffer chain[] = {{guest.arena + kBuffers, guest.random.below(4097), false}};
    victim.send(queue, chain);
  }
}

// Gives the host every page that there is, its own code's first: nobody can say where that ends.
void balloon_itself(Attacker& guest, Victim& victim) {
  auto* const pages = reinterpret_cast<std::uint32_t*>(guest.arena + kBuffers);
  for (std::uint32_t first = 256; first < 65536; first += 1024) {
    for (std::uint32_t at = 0; at < 1024; ++at) {
      pages[at] = first + at;
    }
    const Buffer chain[] = {{guest.arena + kBuffers, 4096, false}};
    victim.send(0, chain);
  }
}

abi::virtio_vsock_hdr some_packet(Random& random) {
  constexpr std::uint32_t kPorts[] = {0, 1, 1000, 2000, 0xffffffff};
  const auto port = [&random, &kPorts] {
    return base::Le32(random.one_in(4) ? static_cast<std::uint32_t>(random.next())
                                       : random.of(kPorts));
  };
  constexpr std::uint64_t kContexts[] = {5, 2, 3, 0, UINT64_MAX};
  abi::virtio_vsock_hdr packet{};
  packet.src_cid = base::Le64(random.one_in(8) ? random.of(kContexts) : 5);
  packet.dst_cid = base::Le64(random.one_in(8) ? random.of(kContexts) : abi::VMADDR_CID_HOST);
  packet.src_port = random.one_in(2) ? base::Le32(kGuestPort + random.below(4)) : port();
  packet.dst_port = random.one_in(2) ? base::Le32(2000) : port();
  packet.len =
      base::Le32(random.one_in(4) ? static_cast<std::uint32_t>(random.next()) : random.below(4096));
  packet.type = base::Le16(random.one_in(16) ? static_cast<std::uint16_t>(random.next())
                                             : abi::VIRTIO_VSOCK_TYPE_STREAM);
  packet.op =
      base::Le16(static_cast<std::uint16_t>(random.one_in(16) ? random.next() : random.below(9)));
  packet.flags = base::Le32(random.below(5));
  packet.buf_alloc =
      base::Le32(random.one_in(2) ? static_cast<std::uint32_t>(random.next()) : 65536);
  packet.fwd_cnt = base::Le32(random.one_in(2) ? static_cast<std::uint32_t>(random.next()) : 0);
  return packet;
}

// Right headers with everything in them wrong, and data with them or not.
void vsock_packets(Attacker& guest, Victim& victim) {
  auto* const packet = reinterpret_cast<abi::virtio_vsock_hdr*>(guest.arena + kBuffers);
  for (std::uint32_t i = 0; i < guest.times(3000); ++i) {
    *packet = some_packet(guest.random);
    const Buffer chain[] = {
        {guest.arena + kBuffers, sizeof(*packet), false},
        {guest.arena + kBuffers + 4096,
         guest.random.one_in(4) ? guest.random.below(8192) : packet->len.get() % 8192, false}};
    if (!guest.random.one_in(4)) {
      victim.make_room(0);
    }
    victim.send(1, std::span(chain).first(1 + guest.random.below(2)));
  }
}

// As many connections as there are numbers, none of them ever used, to somebody who listens and to
// nobody; or with data that the host does not read.
void vsock_connections(Attacker& guest, Victim& victim) {
  auto* const packet = reinterpret_cast<abi::virtio_vsock_hdr*>(guest.arena + kBuffers);
  for (std::uint32_t i = 0; i < guest.times(3000); ++i) {
    *packet = {};
    packet->src_cid = base::Le64(5);
    packet->dst_cid = base::Le64(abi::VMADDR_CID_HOST);
    packet->src_port = base::Le32(i);
    packet->dst_port = base::Le32(i % 4 == 0 ? 2001 : 2000);
    packet->type = base::Le16(abi::VIRTIO_VSOCK_TYPE_STREAM);
    packet->op = base::Le16(abi::VIRTIO_VSOCK_OP_REQUEST);
    packet->buf_alloc = base::Le32(UINT32_MAX);
    const Buffer chain[] = {{guest.arena + kBuffers, sizeof(*packet), false}};
    victim.make_room(0);
    victim.send(1, chain);
  }
}

// Frames of any length with anything in them, as fast as they are taken.
void network_frames(Attacker& guest, Victim& victim) {
  auto* const bytes = reinterpret_cast<std::uint64_t*>(guest.arena + kBuffers);
  for (std::uint32_t i = 0; i < guest.times(3000); ++i) {
    for (std::uint32_t word = 0; word < 16; ++word) {
      bytes[word] = guest.random.one_in(2) ? guest.random.next() : 0;
    }
    const Buffer chain[] = {
        {guest.arena + kBuffers, guest.random.one_in(2) ? 12 : guest.random.below(64), false},
        {guest.arena + kBuffers + 12, guest.random.below(guest.random.one_in(4) ? 70000 : 1600),
         false}};
    victim.send(1, std::span(chain).first(1 + guest.random.below(2)));
  }
}

// More than a console's reader takes, who takes nothing.
void console_flood(Attacker& guest, Victim& victim) {
  const Buffer chain[] = {{guest.arena + kBuffers, 0x80000, false}};
  for (std::uint32_t i = 0; i < guest.times(40); ++i) {
    victim.send(1, chain);
  }
}

constexpr Attack kAttacks[] = {
    {"balloon-anything"sv, against<abi::VIRTIO_ID_BALLOON, balloon_anything>},
    {"balloon-itself"sv, against<abi::VIRTIO_ID_BALLOON, balloon_itself>},
    {"vsock-packets"sv, against<abi::VIRTIO_ID_VSOCK, vsock_packets>},
    {"vsock-connections"sv, against<abi::VIRTIO_ID_VSOCK, vsock_connections>},
    {"network-frames"sv, against<abi::VIRTIO_ID_NET, network_frames>},
    {"console-flood"sv, against<abi::VIRTIO_ID_CONSOLE, console_flood>}};

}  // namespace

std::span<const Attack> device_attacks() {
  return kAttacks;
}

}  // namespace pvh::kernels::hostile
