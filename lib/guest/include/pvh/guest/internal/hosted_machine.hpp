// SPDX-License-Identifier: BSD-2-Clause
// The Machine of a hosted build: it passes everything on to whoever stands behind it.
// testing/fake_machine.hpp is one.
#pragma once

namespace pvh::guest {

class Machine {
 public:
  // One method for each of Machine's, with the same meaning. (Virtual calls are for hosts only.)
  class Backend {
   public:
    virtual bool read(base::PhysAddr address, base::MutableBytes out) = 0;
    virtual bool write(base::PhysAddr address, base::Bytes bytes) = 0;
    virtual std::optional<base::MutableBytes> view(base::Range range) = 0;
    virtual std::optional<std::uint32_t> read_mmio32(base::PhysAddr address) = 0;
    virtual bool write_mmio32(base::PhysAddr address, std::uint32_t value) = 0;
    virtual CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf) = 0;
    virtual std::uint64_t read_msr(std::uint32_t index) = 0;
    virtual void write_msr(std::uint32_t index, std::uint64_t value) = 0;
    virtual std::uint64_t read_tsc() = 0;
    // `width` is 1, 2 or 4 bytes.
    virtual std::uint32_t in(std::uint16_t port, int width) = 0;
    virtual void out(std::uint16_t port, std::uint32_t value, int width) = 0;
    virtual std::intptr_t hypercall(std::uint32_t number, Word a, Word b, Word c, Word d,
                                    Word e) = 0;
    virtual void pause() = 0;

   protected:
    ~Backend() = default;
  };

  explicit Machine(Backend& backend) : backend_(&backend) {}

  bool read(base::PhysAddr address, base::MutableBytes out) { return backend_->read(address, out); }
  bool write(base::PhysAddr address, base::Bytes bytes) { return backend_->write(address, bytes); }
  std::optional<base::MutableBytes> view(base::Range range) { return backend_->view(range); }
  std::optional<std::uint32_t> read_mmio32(base::PhysAddr address) {
    return backend_->read_mmio32(address);
  }
  bool write_mmio32(base::PhysAddr address, std::uint32_t value) {
    return backend_->write_mmio32(address, value);
  }
  CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    return backend_->cpuid(leaf, subleaf);
  }
  std::uint64_t read_msr(std::uint32_t index) { return backend_->read_msr(index); }
  void write_msr(std::uint32_t index, std::uint64_t value) { backend_->write_msr(index, value); }
  std::uint64_t read_tsc() { return backend_->read_tsc(); }
  std::uint8_t in8(std::uint16_t port) { return static_cast<std::uint8_t>(backend_->in(port, 1)); }
  std::uint16_t in16(std::uint16_t port) {
    return static_cast<std::uint16_t>(backend_->in(port, 2));
  }
  std::uint32_t in32(std::uint16_t port) { return backend_->in(port, 4); }
  void out8(std::uint16_t port, std::uint8_t value) { backend_->out(port, value, 1); }
  void out16(std::uint16_t port, std::uint16_t value) { backend_->out(port, value, 2); }
  void out32(std::uint16_t port, std::uint32_t value) { backend_->out(port, value, 4); }
  std::intptr_t hypercall(const xen::Token& /*proof*/, std::uint32_t number, Word a = 0, Word b = 0,
                          Word c = 0, Word d = 0, Word e = 0) {
    return backend_->hypercall(number, a, b, c, d, e);
  }
  void pause() { backend_->pause(); }

 private:
  Backend* backend_;
};

}  // namespace pvh::guest
