// SPDX-License-Identifier: BSD-2-Clause
// A machine for host tests: physical memory that exists only where a test put it, CPUID leaves,
// MSRs, ports and Xen's calls as tables and functions. Everything that is asked of it is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest::testing {

class FakeMachine final : public Machine::Backend {
 public:
  FakeMachine() = default;
  FakeMachine(const FakeMachine&) = delete;
  FakeMachine& operator=(const FakeMachine&) = delete;

  [[nodiscard]] Machine& machine() { return machine_; }

  // ---- memory. Regions have exactly their bytes on the heap, so that ASan sees one too many.
  // Adds zeroes at `address`. Regions must not overlap; touching ones stay two, and an access may
  // cross them.
  void add_memory(std::uint64_t address, std::uint64_t size);
  // Writes into memory that was added, or adds it when none of it was.
  void put(std::uint64_t address, base::Bytes bytes);
  void put(std::uint64_t address, std::string_view text);  // without a NUL
  template <base::Wire T>
  void put(std::uint64_t address, const T& value) {
    put(address, base::Bytes(base::to_bytes(value)));
  }
  template <base::Wire T>
  [[nodiscard]] std::optional<T> get(std::uint64_t address) {
    std::vector<std::byte> bytes(sizeof(T));
    return copy_out(address, bytes) ? base::read_at<T>(bytes, 0) : std::nullopt;
  }
  // From here on view() has no pointer: only read() and write() reach it. 4 GiB unless told.
  std::uint64_t view_limit = std::uint64_t{1} << 32;
  // Every read() and view() as it was asked for.
  [[nodiscard]] const std::vector<base::Range>& reads() const { return reads_; }
  [[nodiscard]] bool was_read(std::uint64_t address) const;

  // ---- processor
  using Leaf = std::pair<std::uint32_t, std::uint32_t>;
  std::map<Leaf, CpuidResult> leaves;  // others are all zeroes
  std::vector<Leaf> asked_leaves;
  std::map<std::uint32_t, std::uint64_t> msrs;  // reading another one fails the test
  std::vector<std::pair<std::uint32_t, std::uint64_t>> written_msrs;
  std::function<void(std::uint32_t index, std::uint64_t value)> on_write_msr;
  std::uint64_t tsc = 0;                       // as the next read gives it
  std::uint64_t tsc_step = 10'000;             // added by each read
  void set_vendor(std::string_view twelve);    // leaf 0; also says that there are 0x16 leaves
  void set_physical_bits(std::uint32_t bits);  // leaf 0x80000008
  // The hypervisor bit, and a block of leaves.
  void add_hypervisor(std::uint32_t base, std::uint32_t max_leaf, std::string_view twelve);

  // ---- ports. Without a function, reads give ones and writes are only kept.
  struct PortWrite {
    std::uint16_t port;
    std::uint32_t value;
    int width;
    friend bool operator==(const PortWrite&, const PortWrite&) = default;
  };
  std::function<std::uint32_t(std::uint16_t port, int width)> on_in;
  std::function<void(std::uint16_t port, std::uint32_t value, int width)> on_out;
  std::vector<PortWrite> port_writes;

  // ---- device registers in memory: before memory is looked at
  std::function<std::optional<std::uint32_t>(std::uint64_t address)> on_mmio_read;
  std::function<bool(std::uint64_t address, std::uint32_t value)> on_mmio_write;

  // ---- Xen. Without a function every call is -ENOSYS. Pointers among the arguments are the
  // host's.
  struct Hypercall {
    std::uint32_t number;
    Word a, b, c, d, e;
  };
  std::function<std::intptr_t(const Hypercall&)> on_hypercall;
  std::vector<Hypercall> hypercalls;

  std::function<void()> on_pause;
  std::uint64_t pauses = 0;

 private:
  bool read(base::PhysAddr address, base::MutableBytes out) override;
  bool write(base::PhysAddr address, base::Bytes bytes) override;
  std::optional<base::MutableBytes> view(base::Range range) override;
  std::optional<std::uint32_t> read_mmio32(base::PhysAddr address) override;
  bool write_mmio32(base::PhysAddr address, std::uint32_t value) override;
  CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf) override;
  std::uint64_t read_msr(std::uint32_t index) override;
  void write_msr(std::uint32_t index, std::uint64_t value) override;
  std::uint64_t read_tsc() override;
  std::uint32_t in(std::uint16_t port, int width) override;
  void out(std::uint16_t port, std::uint32_t value, int width) override;
  std::intptr_t hypercall(std::uint32_t number, Word a, Word b, Word c, Word d, Word e) override;
  void pause() override;

  // The bytes from `address` to the end of its region.
  [[nodiscard]] base::MutableBytes from(std::uint64_t address);
  [[nodiscard]] bool copy_out(std::uint64_t address, base::MutableBytes out);

  Machine machine_{*this};
  std::map<std::uint64_t, std::vector<std::byte>> regions_;
  std::vector<base::Range> reads_;
};

}  // namespace pvh::guest::testing
