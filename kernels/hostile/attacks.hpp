// SPDX-License-Identifier: BSD-2-Clause
// What a hostile guest does, one attack a name. An attack that returns has left the machine in a
// state in which its devices must still serve; the others end the machine, and how is their point.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <pvh/guest/pvh.hpp>

#include "hostile/random.hpp"
#include "hostile/virtio.hpp"

namespace pvh::kernels::hostile {

struct Attacker {
  guest::Boot& boot;
  guest::Machine& machine;
  Random random;
  std::span<Device> devices;
  std::uint64_t arena;   // kArena bytes of RAM that may be overwritten with anything
  std::uint32_t number;  // of the command line: which of several, or how often

  // A physical address at which there should be trouble: in the arena, at a device, in a hole, at
  // an end, anywhere.
  std::uint64_t bad_address();
  // So many, as `number` says or else `usual`.
  [[nodiscard]] std::uint32_t times(std::uint32_t usual) const {
    return number != 0 ? number : usual;
  }
};
inline constexpr std::uint64_t kArena = std::uint64_t{2} << 20;

struct Attack {
  std::string_view name;
  void (*run)(Attacker&);
};

// The tables of the sources that have attacks.
[[nodiscard]] std::span<const Attack> port_attacks();
[[nodiscard]] std::span<const Attack> memory_attacks();
[[nodiscard]] std::span<const Attack> processor_attacks();
[[nodiscard]] std::span<const Attack> virtio_attacks();
[[nodiscard]] std::span<const Attack> device_attacks();
[[nodiscard]] std::span<const Attack> endings();

}  // namespace pvh::kernels::hostile
