// SPDX-License-Identifier: BSD-2-Clause
// Linux's KVM interface: one ioctl is one method, each answers with the kernel's errno, and nothing
// here decides anything. System, Vm and Vcpu own their file descriptors; a Vcpu also owns its
// mapping of struct kvm_run. Source: Documentation/virt/kvm/api.rst in linux.git.
#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/base/mapping.hpp>

namespace pvh::kvm {

enum class KvmError {
  kNoDevice,  // /dev/kvm is missing or may not be opened
  kWrongApi,  // KVM_GET_API_VERSION is not 12
  kRefused,   // an ioctl failed; detail names it
  kRunFailed  // KVM_RUN failed
};

[[nodiscard]] base::Explanation explain(KvmError code);
using Fault = base::Fault<KvmError>;
template <typename T>
using Result = std::expected<T, Fault>;

// Why KVM_RUN returned, with what is needed to go on. Data of reads is filled in by the caller
// before the next run().
struct PortExit {
  std::uint16_t port;
  std::uint8_t size;  // of one access: 1, 2 or 4
  bool is_write;
  std::span<std::byte> data;  // size * count bytes, in struct kvm_run
};
struct MmioExit {
  base::PhysAddr address;
  bool is_write;
  std::span<std::byte> data;  // 1 to 8 bytes, in struct kvm_run
};
struct HaltExit {};
struct ShutdownExit {};  // a triple fault
struct SystemEventExit {
  std::uint32_t type;  // KVM_SYSTEM_EVENT_*
};
struct InternalErrorExit {
  std::uint32_t suberror;  // KVM_INTERNAL_ERROR_*
  std::vector<std::uint64_t> data;
  std::vector<std::byte> instruction;  // as far as KVM fetched it; may be empty
};
struct EntryFailedExit {
  std::uint64_t hardware_reason;
};
struct InterruptedExit {};  // a signal, or immediate_exit
struct UnknownExit {
  std::uint32_t reason;  // KVM_EXIT_*
};
using Exit = std::variant<PortExit, MmioExit, HaltExit, ShutdownExit, SystemEventExit,
                          InternalErrorExit, EntryFailedExit, InterruptedExit, UnknownExit>;

class Vcpu {
 public:
  Vcpu(base::Fd fd, base::Mapping run, unsigned id)
      : fd_(std::move(fd)), run_(std::move(run)), id_(id) {}

  [[nodiscard]] unsigned id() const { return id_; }
  // May be called from another thread, and from a signal handler: the next or present run() returns
  // InterruptedExit.
  void set_immediate_exit(bool value);

  [[nodiscard]] Result<Exit> run();

  [[nodiscard]] Result<void> set_cpuid2(std::span<const kvm_cpuid_entry2> entries);
  [[nodiscard]] Result<kvm_regs> get_regs() const;
  [[nodiscard]] Result<void> set_regs(const kvm_regs& regs);
  [[nodiscard]] Result<kvm_sregs> get_sregs() const;
  [[nodiscard]] Result<void> set_sregs(const kvm_sregs& sregs);
  [[nodiscard]] Result<kvm_lapic_state> get_lapic() const;
  [[nodiscard]] Result<void> set_lapic(const kvm_lapic_state& lapic);
  [[nodiscard]] Result<void> set_msrs(std::span<const kvm_msr_entry> entries);
  [[nodiscard]] Result<std::uint32_t> get_tsc_khz() const;
  // The guest physical address of a linear one, as the vCPU would translate it now.
  [[nodiscard]] Result<kvm_translation> translate(std::uint64_t linear_address) const;

 private:
  [[nodiscard]] kvm_run* state() const;

  base::Fd fd_;
  base::Mapping run_;
  unsigned id_;
};

class Vm {
 public:
  Vm(base::Fd fd, std::size_t run_size) : fd_(std::move(fd)), run_size_(run_size) {}

  [[nodiscard]] Result<int> check_extension(int capability) const;
  [[nodiscard]] Result<void> set_tss_addr(base::PhysAddr address);
  [[nodiscard]] Result<void> set_identity_map_addr(base::PhysAddr address);
  // `memory` must stay mapped as long as the Vm lives.
  [[nodiscard]] Result<void> set_user_memory_region(std::uint32_t slot, base::PhysAddr address,
                                                    std::span<std::byte> memory);
  [[nodiscard]] Result<void> create_irqchip();
  [[nodiscard]] Result<void> create_pit2(const kvm_pit_config& config);
  // KVM_IRQCHIP_*
  [[nodiscard]] Result<kvm_irqchip> get_irqchip(std::uint32_t chip) const;
  // Thread-safe.
  [[nodiscard]] Result<void> irq_line(std::uint32_t gsi, bool level) const;
  // From now on a write of `size` bytes of this value to `address` signals the eventfd and does not
  // end KVM_RUN.
  [[nodiscard]] Result<void> ioeventfd(int eventfd, base::PhysAddr address, std::uint32_t size,
                                       std::uint64_t value);
  // From now on each signal of the eventfd is an edge on that interrupt input.
  [[nodiscard]] Result<void> irqfd(int eventfd, std::uint32_t gsi);
  [[nodiscard]] Result<Vcpu> create_vcpu(unsigned id);

 private:
  base::Fd fd_;
  std::size_t run_size_;
};

class System {
 public:
  [[nodiscard]] static Result<System> open(const char* path = "/dev/kvm");

  [[nodiscard]] Result<int> check_extension(int capability) const;
  [[nodiscard]] Result<std::vector<kvm_cpuid_entry2>> get_supported_cpuid() const;
  [[nodiscard]] Result<Vm> create_vm();

 private:
  System(base::Fd fd, std::size_t run_size) : fd_(std::move(fd)), run_size_(run_size) {}

  base::Fd fd_;
  std::size_t run_size_;
};

}  // namespace pvh::kvm
