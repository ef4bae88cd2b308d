// SPDX-License-Identifier: BSD-2-Clause
// What builder.hpp promises of a machine that runs, each by a guest of a few instructions that is
// written here. A line "CLAIM ok" or "CLAIM not: what was seen" for each; for embed_test.py.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <pvh/vmm/builder.hpp>
#include <pvh/vmm/layout.hpp>

#include "lib/loader/testing/elf_builder.hpp"

namespace pvh::embed {
namespace {

using devices::Action;
using devices::Request;
using vmm::EndingCause;
using vmm::MachineBuilder;

// ---- guests: 32-bit code without paging

class Code {
 public:
  Code& out(std::uint16_t port, std::uint8_t value) {
    return add({0xb0, value}).out_al(port);  // mov $value, %al
  }
  Code& in(std::uint16_t port) { return dx(port).add({0xec}); }      // in %dx, %al
  Code& out_al(std::uint16_t port) { return dx(port).add({0xee}); }  // out %al, %dx
  Code& store(std::uint32_t address, std::uint32_t value) {          // movl $value, address
    return add({0xc7, 0x05}).word(address).word(value);
  }
  Code& load(std::uint32_t address) { return add({0xa1}).word(address); }  // mov address, %eax
  Code& spin() { return add({0xeb, 0xfe}); }                               // jmp to itself
  [[nodiscard]] std::string file() const {
    std::string path = "embed-claims-XXXXXX";
    const int fd = ::mkstemp(path.data());
    ::close(fd);
    const auto kernel =
        loader::testkit::small_kernel(loader::ElfClass::k32, std::as_bytes(std::span(bytes_)));
    return loader::testkit::write_file(path, kernel) ? path : "";
  }

 private:
  Code& add(std::initializer_list<std::uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes);
    return *this;
  }
  Code& word(std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes_.push_back(static_cast<std::uint8_t>(value >> shift));
    }
    return *this;
  }
  Code& dx(std::uint16_t port) {  // mov $port, %dx
    return add({0x66, 0xba, static_cast<std::uint8_t>(port), static_cast<std::uint8_t>(port >> 8)});
  }

  std::vector<std::uint8_t> bytes_;
};

// A kernel's file for one scope.
class Kernel {
 public:
  explicit Kernel(const Code& code) : path_(code.file()) {}
  ~Kernel() { ::unlink(path_.c_str()); }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

constexpr std::uint16_t kPort = 0x510;
constexpr std::uint16_t kEnd = 0x511;  // a write to it ends the machine with what is written

Action stop(std::uint64_t /*offset*/, base::Bytes data) {
  return {Request::kStop, std::to_integer<std::uint32_t>(data[0])};
}

std::string run(vmm::VirtualMachine& machine) {
  const auto ended = machine.run();
  return ended ? fmt::format("{} {:#x}", to_string(ended->cause), ended->value)
               : to_text(ended.error());
}

std::string run(MachineBuilder& builder) {
  builder.options().timeout = std::chrono::seconds(20);
  auto machine = builder.build();
  return machine ? run(*machine) : to_text(machine.error());
}

// ---- claims: each gives what was seen, which is to be `expected`

std::string ports_are_handled() {
  const Kernel kernel(Code().in(kPort).out_al(kPort).out_al(kEnd).spin());
  std::string written;
  MachineBuilder builder(kernel.path());
  builder
      .port(kPort, 1,
            {.read = [](auto, base::MutableBytes data) { data[0] = std::byte{0x5a}; },
             .write =
                 [&](auto offset, base::Bytes data) {
                   written += fmt::format("{}:{:#x},", offset, std::to_integer<int>(data[0]));
                   return Action{};
                 }})
      .port(kEnd, 1, {.write = stop});
  const std::string end = run(builder);
  return written + end;
}

std::string addresses_are_handled() {
  const std::uint32_t base = 0xe0001000;
  const Kernel kernel(Code().store(base + 4, 0x11223344).load(base + 8).out_al(kEnd).spin());
  std::string written;
  MachineBuilder builder(kernel.path());
  builder
      .mmio(base::PhysAddr(base), base::ByteSize(0x1000),
            {.read = [](auto offset, base::MutableBytes data) { data[0] = std::byte(offset); },
             .write =
                 [&](auto offset, base::Bytes data) {
                   written = fmt::format("{} bytes at {}: {:x} ", data.size(), offset,
                                         std::to_integer<int>(data[0]));
                   return Action{};
                 }})
      .port(kEnd, 1, {.write = stop});
  const std::string end = run(builder);
  return written + end;
}

std::string stop_ends_it_from_another_thread() {
  const Kernel kernel(Code().out(kPort, 1).spin());
  std::atomic<bool> runs = false;
  MachineBuilder builder(kernel.path());
  builder.options().timeout = std::chrono::seconds(20);
  builder.port(kPort, 1, {.write = [&](auto, auto) {
                 runs = true;
                 runs.notify_all();
                 return Action{};
               }});
  auto machine = builder.build();
  if (!machine) {
    return to_text(machine.error());
  }
  const std::jthread stopper([&] {
    runs.wait(false);
    machine->stop();
  });
  return run(*machine);
}

std::string stop_before_run_ends_it_at_once() {
  const Kernel kernel(Code().spin());
  MachineBuilder builder(kernel.path());
  builder.options().timeout = std::chrono::seconds(20);
  auto machine = builder.build();
  if (!machine) {
    return to_text(machine.error());
  }
  machine->stop();
  return run(*machine);
}

std::string a_read_can_end_it() {
  const Kernel kernel(Code().in(kPort).spin());
  std::stop_source source;
  MachineBuilder builder(kernel.path());
  builder.options().stop = source.get_token();
  builder.port(kPort, 1, {.read = [source](auto, auto) mutable { source.request_stop(); }});
  return run(builder);
}

std::atomic<int> signals_seen = 0;
std::atomic<int> wrong_thread = 0;
std::atomic<pid_t> own_thread = 0;

// The embedder's handler has the signal, on the embedder's thread; the machine goes on.
std::string signals_stay_the_embedders() {
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) {
    ++signals_seen;
    wrong_thread += ::gettid() == own_thread ? 0 : 1;
  };
  own_thread = ::gettid();
  ::sigaction(SIGTERM, &action, &before);
  const Kernel kernel(Code().out(kPort, 1).out(kEnd, 9).spin());
  MachineBuilder builder(kernel.path());
  builder
      .port(kPort, 1,
            {.write =
                 [](auto, auto) {
                   ::kill(::getpid(), SIGTERM);
                   for (int i = 0; signals_seen == 0 && i < 1000; ++i) {
                     std::this_thread::sleep_for(std::chrono::milliseconds(10));
                   }
                   return Action{};
                 }})
      .port(kEnd, 1, {.write = stop});
  const std::string end = run(builder);
  ::sigaction(SIGTERM, &before, nullptr);
  return fmt::format("{} signal, {} elsewhere, {}", signals_seen.load(), wrong_thread.load(), end);
}

std::string a_function_gets_the_console() {
  const Kernel kernel(Code().out(0x3f8, 'h').out(0x3f8, 'i').out(kEnd, 2).spin());
  std::string printed;
  MachineBuilder builder(kernel.path());
  builder.port(kEnd, 1, {.write = stop})
      .console({.kind = vmm::ConsoleKind::kFunction, .write = [&](base::Bytes bytes) {
                  for (const std::byte byte : bytes) {
                    printed += std::to_integer<char>(byte);
                  }
                }});
  const std::string end = run(builder);
  return printed + " " + end;
}

std::string a_reset_restarts_it() {
  const Kernel kernel(Code().out(kPort, 1).out(0x64, 0xfe).spin());
  std::uint32_t boots = 0;
  MachineBuilder builder(kernel.path());
  builder.restart_on_reset().port(kPort, 1, {.write = [&](auto, auto) {
                                    ++boots;
                                    return boots < 3 ? Action{} : Action{Request::kStop, boots};
                                  }});
  return run(builder);
}

std::string it_runs_once() {
  const Kernel kernel(Code().out(kEnd, 1).spin());
  auto machine = MachineBuilder(kernel.path()).port(kEnd, 1, {.write = stop}).build();
  if (!machine) {
    return to_text(machine.error());
  }
  const std::string first = run(*machine);
  const std::string again = run(*machine);
  return first + ", " + (again.ends_with("build another one") ? "refused" : again);
}

// The first to end takes nothing from the other, and each ends by its own stop.
std::string machines_run_side_by_side() {
  const Kernel kernel(Code().out(kPort, 1).spin());
  std::atomic<int> running = 0;
  MachineBuilder builder(kernel.path());
  builder.cpus(2).options().timeout = std::chrono::seconds(20);
  builder.port(kPort, 1, {.write = [&](auto, auto) {
                 ++running;
                 running.notify_all();
                 return Action{};
               }});
  auto one = builder.build();
  auto two = builder.build();
  if (!one || !two) {
    return to_text(one ? two.error() : one.error());
  }
  std::string ends_one;
  std::string ends_two;
  std::thread thread_one([&] { ends_one = run(*one); });
  std::thread thread_two([&] { ends_two = run(*two); });
  for (int seen = running; seen < 2; seen = running) {
    running.wait(seen);
  }
  one->stop();
  thread_one.join();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const bool goes_on = ends_two.empty();
  two->stop();
  thread_two.join();
  return fmt::format("{}, {}, {}", ends_one, goes_on ? "goes on" : "ended too", ends_two);
}

std::string statistics_are_values() {
  const Kernel kernel(Code().out(kPort, 1).out(kPort, 2).in(kPort).out(kEnd, 1).spin());
  auto machine =
      MachineBuilder(kernel.path()).port(kPort, 1, {}).port(kEnd, 1, {.write = stop}).build();
  if (!machine) {
    return to_text(machine.error());
  }
  const std::string end = run(*machine);
  const vmm::Statistics& seen = machine->statistics();
  return fmt::format("{} written, {} read, {}, {}", seen.port_writes.at(kPort),
                     seen.port_reads.at(kPort),
                     seen.image_read <= seen.planned && seen.planned <= seen.first_instruction &&
                             seen.first_instruction <= seen.end
                         ? "in order"
                         : "out of order",
                     end);
}

std::string a_port_that_is_taken_is_refused() {
  const Kernel kernel(Code().spin());
  MachineBuilder builder(kernel.path());
  const std::string said = run(builder.port(0x3ff, 2, {}));
  return said.substr(0, said.find(';'));
}

struct Claim {
  const char* name;
  std::string (*seen)();
  const char* expected;
};

constexpr Claim kClaims[] = {
    {"ports-are-handled", ports_are_handled, "0:0x5a,stopped 0x5a"},
    {"addresses-are-handled", addresses_are_handled, "4 bytes at 4: 44 stopped 0x8"},
    {"stop-ends-it-from-another-thread", stop_ends_it_from_another_thread, "stopped 0x0"},
    {"stop-before-run-ends-it-at-once", stop_before_run_ends_it_at_once, "stopped 0x0"},
    {"a-read-can-end-it", a_read_can_end_it, "stopped 0x0"},
    {"signals-stay-the-embedders", signals_stay_the_embedders,
     "1 signal, 0 elsewhere, stopped 0x9"},
    {"a-function-gets-the-console", a_function_gets_the_console, "hi stopped 0x2"},
    {"a-reset-restarts-it", a_reset_restarts_it, "stopped 0x3"},
    {"it-runs-once", it_runs_once, "stopped 0x1, refused"},
    {"machines-run-side-by-side", machines_run_side_by_side, "stopped 0x0, goes on, stopped 0x0"},
    {"a-port-that-is-taken-is-refused", a_port_that_is_taken_is_refused,
     "port 0x3ff-0x400: a device claims what is the serial line's, port 0x3f8-0x3ff"},
    {"statistics-are-values", statistics_are_values, "2 written, 1 read, in order, stopped 0x1"},
};

int main() {
  for (const Claim& claim : kClaims) {
    const std::string seen = claim.seen();
    fmt::print("{} {}\n", claim.name, seen == claim.expected ? "ok" : "not: " + seen);
  }
  return 0;
}

}  // namespace
}  // namespace pvh::embed

int main() {
  return pvh::embed::main();
}
