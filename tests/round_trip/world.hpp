// SPDX-License-Identifier: BSD-2-Clause
// A guest's world as the loader leaves it: a random plan written into guest memory, and the machine
// that the guest side finds itself in. Everything about it follows from the random numbers, so a
// failure comes back with its seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <pvh/base/bytes.hpp>
#include <pvh/guest/boot.hpp>
#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/loader/plan.hpp>
#include <pvh/vmm/machine.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"
#include "tests/round_trip/reference.hpp"

namespace pvh::round_trip {

// Numbers of a generator, or what a fuzzer wants them to be: its bytes, then zeroes.
class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  explicit Random(base::Bytes bytes) : bytes_(bytes) {}

  // Not std::uniform_int_distribution, whose answers are each library's own.
  std::uint64_t upto(std::uint64_t most) {
    const std::uint64_t number = bytes_ ? take(most) : engine_();
    return most == UINT64_MAX ? number : number % (most + 1);
  }
  [[nodiscard]] bool spent() const { return bytes_ && bytes_->empty(); }
  // What is rare is not what zeroes ask for.
  bool one_in(std::uint64_t n) { return upto(n - 1) == (bytes_ ? n - 1 : 0); }
  template <typename T>
  const T& one_of(std::span<const T> choices) {
    return choices[upto(choices.size() - 1)];
  }

 private:
  // As many bytes as the number may have.
  std::uint64_t take(std::uint64_t most) {
    std::uint64_t number = 0;
    for (; most != 0 && !bytes_->empty(); most >>= 8) {
      number = number << 8 | std::to_integer<std::uint64_t>(bytes_->front());
      *bytes_ = bytes_->subspan(1);
    }
    return number;
  }

  std::mt19937_64 engine_;
  std::optional<base::Bytes> bytes_;
};

// The processor and Xen of a FakeMachine over the loader's guest memory. Writing fails the test.
class GuestMachine final : public guest::Machine::Backend {
 public:
  explicit GuestMachine(guest_memory::GuestMemory& memory) : memory_(memory) {}

  [[nodiscard]] guest::Machine& machine() { return machine_; }
  [[nodiscard]] guest::testing::FakeMachine& processor() { return processor_; }

  // Where there is no memory: an answer of ones, as from a bus, or none.
  bool holes_read_as_ones = false;

  bool read(base::PhysAddr address, base::MutableBytes out) override;
  bool write(base::PhysAddr address, base::Bytes bytes) override;
  std::optional<base::MutableBytes> view(base::Range range) override;
  std::optional<std::uint32_t> read_mmio32(base::PhysAddr address) override;
  bool write_mmio32(base::PhysAddr address, std::uint32_t value) override;
  guest::CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf) override;
  std::uint64_t read_msr(std::uint32_t index) override;
  void write_msr(std::uint32_t index, std::uint64_t value) override;
  std::uint64_t read_tsc() override;
  std::uint32_t in(std::uint16_t port, int width) override;
  void out(std::uint16_t port, std::uint32_t value, int width) override;
  std::intptr_t hypercall(std::uint32_t number, guest::Word a, guest::Word b, guest::Word c,
                          guest::Word d, guest::Word e) override;
  void pause() override;

 private:
  guest_memory::GuestMemory& memory_;
  guest::testing::FakeMachine processor_;
  guest::Machine machine_{*this};
};

class World {
 public:
  // Nothing where the loader refuses what was drawn or the host has not the memory.
  [[nodiscard]] static std::unique_ptr<World> draw(Random& random);
  // The same with this kernel, whose file must outlive the world.
  [[nodiscard]] static std::unique_ptr<World> draw(Random& random, loader::Image kernel);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] const loader::PlanRequest& request() const { return boot_->request; }
  [[nodiscard]] const loader::Plan& plan() const { return boot_->plan; }
  [[nodiscard]] bool on_xen() const { return on_xen_; }
  [[nodiscard]] base::Range image() const { return image_; }
  [[nodiscard]] guest_memory::GuestMemory& memory() { return *memory_; }
  // Present on Xen; a test may change what it answers.
  [[nodiscard]] std::optional<guest::testing::FakeXen>& xen() { return xen_; }
  [[nodiscard]] GuestMachine& guest() { return *guest_; }
  [[nodiscard]] std::string text() const;

  // By lib/guest; valid until the next capture.
  [[nodiscard]] std::expected<guest::Boot, guest::BootError> capture();
  // By the reference, of the bytes as they are now.
  [[nodiscard]] Expectation expectation();

 private:
  World() = default;
  void draw_options(Random& random);
  void draw_xen(Random& random);

  loader::Image kernel_;
  vmm::MachineOptions options_;
  std::unique_ptr<const vmm::BootPlan> boot_;
  base::Range image_ = *base::Range::from_last(base::PhysAddr(0), base::PhysAddr(0));
  std::optional<guest_memory::GuestMemory> memory_;
  std::optional<GuestMachine> guest_;
  bool on_xen_ = false;
  std::uint32_t physical_bits_ = 0;
  std::optional<guest::testing::FakeXen> xen_;
  std::vector<std::uint64_t> xen_pages_;
};

[[nodiscard]] ByteSet free_of(const guest::Boot& boot);

// Empty when the capture is what the reference says, else what is wrong.
[[nodiscard]] std::string judge(const Expectation& expected,
                                const std::expected<guest::Boot, guest::BootError>& captured,
                                World& world);

}  // namespace pvh::round_trip
