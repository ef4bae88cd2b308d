// SPDX-License-Identifier: BSD-2-Clause
// A guest that means harm: `attack=NAME` on the command line says how, `seed=N` with which numbers,
// `number=N` how often or which. Whatever it does, the monitor must answer, and go on serving a
// driver that does right.
#include "common/finish.hpp"
#include "hostile/attacks.hpp"
#include "hostile/attempt.hpp"

namespace pvh::kernels::hostile {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::span<const Attack> (*kAll[])() = {port_attacks,   memory_attacks, processor_attacks,
                                                 virtio_attacks, device_attacks, endings};

const Attack* find(std::string_view name) {
  for (const auto attacks : kAll) {
    for (const Attack& attack : attacks()) {
      if (attack.name == name) {
        return &attack;
      }
    }
  }
  return nullptr;
}

std::uint64_t value_of(const guest::Boot& boot, std::string_view name) {
  const auto argument = guest::find_argument(boot.command_line(), name);
  return guest::parse_number(argument ? argument->value.value_or(""sv) : ""sv).value_or(0);
}

void say(std::string_view what, std::string_view name) {
  guest::print(what);
  guest::print(name);
  guest::print("\n"sv);
  guest::console().flush();
}

Verdict attack(guest::Boot& boot) {
  const auto argument = guest::find_argument(boot.command_line(), "attack"sv);
  const std::string_view name = argument ? argument->value.value_or(""sv) : ""sv;
  const Attack* const chosen = find(name);
  if (chosen == nullptr) {
    for (const auto attacks : kAll) {
      for (const Attack& attack : attacks()) {
        say("there is: "sv, attack.name);
      }
    }
    return Verdict::kBad;
  }
  const auto arena =
      boot.allocate({.size = base::ByteSize(kArena), .alignment = base::ByteSize(kArena)});
  if (!arena) {
    say("no memory for "sv, name);
    return Verdict::kBad;
  }
  Attacker attacker{.boot = boot,
                    .machine = boot.machine(),
                    .random = Random(value_of(boot, "seed"sv)),
                    .devices = find_devices(boot),
                    .arena = arena->first().value(),
                    .number = static_cast<std::uint32_t>(value_of(boot, "number"sv))};
  catch_exceptions();
  say("attack: "sv, name);
  say(attempt([&] { chosen->run(attacker); }) ? "done: "sv : "faulted: "sv, name);
  for (const Device& device : attacker.devices) {
    if (!serves(boot.machine(), device)) {
      say("a device serves no more after "sv, name);
      return Verdict::kBad;
    }
  }
  say("survived: "sv, name);
  return Verdict::kGood;
}

}  // namespace

std::uint64_t Attacker::bad_address() {
  constexpr std::uint64_t kPlaces[] = {0,
                                       0xa0000,
                                       0xc0000000,
                                       0xe0000000,
                                       0xfec00000,
                                       0xfee00000,
                                       0xfffbc000,
                                       0xfffff000,
                                       std::uint64_t{1} << 32,
                                       std::uint64_t{1} << 40,
                                       std::uint64_t{1} << 52,
                                       0xffffffff00000000,
                                       0xfffffffffffff000,
                                       UINT64_MAX};
  const std::uint64_t step = random.one_in(4) ? random.next() % 0x2000 : (random.next() % 512) * 16;
  switch (random.below(6)) {
    case 0:
      return random.of(kPlaces) - (random.one_in(2) ? step : 0);
    case 1:
      return devices.empty()
                 ? 0xfec00000
                 : devices[random.below(static_cast<std::uint32_t>(devices.size()))].registers() +
                       random.below(0x1100);
    case 2:
      // Where memory ends: what is beyond is a hole, or devices.
      return boot.memory_map().empty()
                 ? step
                 : boot.memory_map().back().range.last().value() + random.below(0x1000);
    case 3:
      return random.next();
    default:
      return arena + random.below(kArena);
  }
}

}  // namespace pvh::kernels::hostile

void pvh_main(pvh::guest::Boot& boot) {
  pvh::kernels::finish(boot, pvh::kernels::hostile::attack(boot));
}
