// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/try.hpp>
#include <pvh/kvm/kvm.hpp>

namespace pvh::kvm {
namespace {

// The kernel's header computes these two from sizeof(kvm_cpuid2), which C++ gets wrong: the
// header's stand-in for a flexible array member has size 1 there. The kernel's own value is 8.
struct CpuidHeader {
  std::uint32_t nent;
  std::uint32_t padding;
};
constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);
static_assert(kGetSupportedCpuid == 0xc008ae05 && kSetCpuid2 == 0x4008ae90);

// Likewise for kvm_msrs.
struct MsrsHeader {
  std::uint32_t nmsrs;
  std::uint32_t pad;
};
constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, MsrsHeader);

std::unexpected<Fault> refused(const char* what, int sys_errno) {
  return std::unexpected(Fault{KvmError::kRefused, what, std::nullopt, sys_errno});
}

template <typename Argument>
Result<int> call(const base::Fd& fd, unsigned long request, Argument argument, const char* name) {
  int result = -1;
  do {
    result = ::ioctl(fd.get(), request, argument);
  } while (result < 0 && errno == EINTR);
  if (result < 0) {
    return refused(name, errno);
  }
  return result;
}

template <typename T, typename Argument>
Result<T> fetch(const base::Fd& fd, unsigned long request, Argument initial, const char* name) {
  T value = initial;
  TRY(call(fd, request, &value, name));
  return value;
}

Result<void> drop(Result<int> result) {
  if (!result) {
    return std::unexpected(std::move(result).error());
  }
  return {};
}

// A header followed by its entries, as KVM's variable-length ioctls take them.
template <typename Header, typename Entry>
std::vector<std::byte> with_header(const Header& header, std::span<const Entry> entries) {
  std::vector<std::byte> bytes(sizeof(Header) + entries.size_bytes());
  std::memcpy(bytes.data(), &header, sizeof(Header));
  if (!entries.empty()) {
    std::memcpy(bytes.data() + sizeof(Header), entries.data(), entries.size_bytes());
  }
  return bytes;
}

Exit port_exit(kvm_run* run) {
  auto* const base = reinterpret_cast<std::byte*>(run);
  return PortExit{.port = run->io.port,
                  .size = run->io.size,
                  .is_write = run->io.direction == KVM_EXIT_IO_OUT,
                  .data = {base + run->io.data_offset, std::size_t{run->io.size} * run->io.count}};
}

Exit mmio_exit(kvm_run* run) {
  const std::size_t size = std::min<std::size_t>(run->mmio.len, sizeof(run->mmio.data));
  return MmioExit{.address = base::PhysAddr(run->mmio.phys_addr),
                  .is_write = run->mmio.is_write != 0,
                  .data = std::as_writable_bytes(std::span(run->mmio.data, size))};
}

Exit internal_error(const kvm_run* run) {
  InternalErrorExit exit{.suberror = run->internal.suberror, .data = {}, .instruction = {}};
  if (exit.suberror == KVM_INTERNAL_ERROR_EMULATION) {
    const auto& failure = run->emulation_failure;
    const bool has_bytes =
        failure.ndata >= 1 &&
        (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0;
    if (has_bytes) {
      const std::size_t size = std::min<std::size_t>(failure.insn_size, sizeof(failure.insn_bytes));
      const auto bytes = std::as_bytes(std::span(failure.insn_bytes, size));
      exit.instruction.assign(bytes.begin(), bytes.end());
    }
  }
  const std::size_t count =
      std::min<std::size_t>(run->internal.ndata, std::size(run->internal.data));
  exit.data.assign(run->internal.data, run->internal.data + count);
  return exit;
}

}  // namespace

base::Explanation explain(KvmError code) {
  switch (code) {
    case KvmError::kNoDevice:
      return {"cannot open KVM",
              "load kvm-intel or kvm-amd, and be root or in the kvm group; `pvh lab -- pvh run "
              "...` needs neither"};
    case KvmError::kWrongApi:
      return {"this KVM does not speak API version 12", ""};
    case KvmError::kRefused:
      return {"KVM refused", ""};
    case KvmError::kRunFailed:
      return {"KVM cannot run the guest", ""};
  }
  return {"unknown error", ""};
}

void Vcpu::set_immediate_exit(bool value) {
  std::atomic_ref<std::uint8_t>(state()->immediate_exit)
      .store(value ? 1 : 0, std::memory_order_relaxed);
}

kvm_run* Vcpu::state() const {
  // The kernel laid this page out; mmap's alignment is more than the structure asks for.
  return static_cast<kvm_run*>(static_cast<void*>(const_cast<std::byte*>(run_.bytes().data())));
}

Result<Exit> Vcpu::run() {
  kvm_run* const run = state();
  if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
    if (errno == EINTR || errno == EAGAIN) {
      return InterruptedExit{};
    }
    return std::unexpected(
        Fault{KvmError::kRunFailed, fmt::format("vCPU {}", id_), std::nullopt, errno});
  }
  switch (run->exit_reason) {
    case KVM_EXIT_IO:
      return port_exit(run);
    case KVM_EXIT_MMIO:
      return mmio_exit(run);
    case KVM_EXIT_HLT:
      return HaltExit{};
    case KVM_EXIT_SHUTDOWN:
      return ShutdownExit{};
    case KVM_EXIT_SYSTEM_EVENT:
      return SystemEventExit{run->system_event.type};
    case KVM_EXIT_INTERNAL_ERROR:
      return internal_error(run);
    case KVM_EXIT_FAIL_ENTRY:
      return EntryFailedExit{run->fail_entry.hardware_entry_failure_reason};
    case KVM_EXIT_INTR:
      return InterruptedExit{};
    default:
      return UnknownExit{run->exit_reason};
  }
}

Result<void> Vcpu::set_cpuid2(std::span<const kvm_cpuid_entry2> entries) {
  const CpuidHeader header{static_cast<std::uint32_t>(entries.size()), 0};
  auto bytes = with_header(header, entries);
  return drop(call(fd_, kSetCpuid2, bytes.data(), "KVM_SET_CPUID2"));
}

Result<kvm_regs> Vcpu::get_regs() const {
  return fetch<kvm_regs>(fd_, KVM_GET_REGS, kvm_regs{}, "KVM_GET_REGS");
}

Result<void> Vcpu::set_regs(const kvm_regs& regs) {
  return drop(call(fd_, KVM_SET_REGS, &regs, "KVM_SET_REGS"));
}

Result<kvm_sregs> Vcpu::get_sregs() const {
  return fetch<kvm_sregs>(fd_, KVM_GET_SREGS, kvm_sregs{}, "KVM_GET_SREGS");
}

Result<void> Vcpu::set_sregs(const kvm_sregs& sregs) {
  return drop(call(fd_, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS"));
}

Result<kvm_lapic_state> Vcpu::get_lapic() const {
  return fetch<kvm_lapic_state>(fd_, KVM_GET_LAPIC, kvm_lapic_state{}, "KVM_GET_LAPIC");
}

Result<void> Vcpu::set_lapic(const kvm_lapic_state& lapic) {
  return drop(call(fd_, KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC"));
}

Result<void> Vcpu::set_msrs(std::span<const kvm_msr_entry> entries) {
  const MsrsHeader header{static_cast<std::uint32_t>(entries.size()), 0};
  auto bytes = with_header(header, entries);
  const int done = TRY(call(fd_, kSetMsrs, bytes.data(), "KVM_SET_MSRS"));
  // KVM stops at the first register that it does not know or whose value it does not like, and says
  // how far it came.
  const auto count = static_cast<std::size_t>(done);
  if (count < entries.size()) {
    return std::unexpected(Fault{KvmError::kRefused,
                                 fmt::format("KVM_SET_MSRS, MSR {:#x}", entries[count].index),
                                 std::nullopt, EINVAL});
  }
  return {};
}

Result<std::uint32_t> Vcpu::get_tsc_khz() const {
  const int khz = TRY(call(fd_, KVM_GET_TSC_KHZ, 0, "KVM_GET_TSC_KHZ"));
  return static_cast<std::uint32_t>(khz);
}

Result<kvm_translation> Vcpu::translate(std::uint64_t linear_address) const {
  kvm_translation initial{};
  initial.linear_address = linear_address;
  return fetch<kvm_translation>(fd_, KVM_TRANSLATE, initial, "KVM_TRANSLATE");
}

Result<int> Vm::check_extension(int capability) const {
  return call(fd_, KVM_CHECK_EXTENSION, capability, "KVM_CHECK_EXTENSION");
}

Result<void> Vm::set_tss_addr(base::PhysAddr address) {
  return drop(call(fd_, KVM_SET_TSS_ADDR, address.value(), "KVM_SET_TSS_ADDR"));
}

Result<void> Vm::set_identity_map_addr(base::PhysAddr address) {
  const std::uint64_t value = address.value();
  return drop(call(fd_, KVM_SET_IDENTITY_MAP_ADDR, &value, "KVM_SET_IDENTITY_MAP_ADDR"));
}

Result<void> Vm::set_user_memory_region(std::uint32_t slot, base::PhysAddr address,
                                        std::span<std::byte> memory) {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.guest_phys_addr = address.value();
  region.memory_size = memory.size();
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(memory.data());
  return drop(call(fd_, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION"));
}

Result<void> Vm::create_irqchip() {
  return drop(call(fd_, KVM_CREATE_IRQCHIP, 0, "KVM_CREATE_IRQCHIP"));
}

Result<void> Vm::create_pit2(const kvm_pit_config& config) {
  return drop(call(fd_, KVM_CREATE_PIT2, &config, "KVM_CREATE_PIT2"));
}

Result<kvm_irqchip> Vm::get_irqchip(std::uint32_t chip) const {
  kvm_irqchip initial{};
  initial.chip_id = chip;
  return fetch<kvm_irqchip>(fd_, KVM_GET_IRQCHIP, initial, "KVM_GET_IRQCHIP");
}

Result<void> Vm::irq_line(std::uint32_t gsi, bool level) const {
  kvm_irq_level line{};
  line.irq = gsi;
  line.level = level ? 1 : 0;
  return drop(call(fd_, KVM_IRQ_LINE, &line, "KVM_IRQ_LINE"));
}

Result<void> Vm::ioeventfd(int eventfd, base::PhysAddr address, std::uint32_t size,
                           std::uint64_t value) {
  kvm_ioeventfd request{};
  request.datamatch = value;
  request.addr = address.value();
  request.len = size;
  request.fd = eventfd;
  request.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
  return drop(call(fd_, KVM_IOEVENTFD, &request, "KVM_IOEVENTFD"));
}

Result<void> Vm::irqfd(int eventfd, std::uint32_t gsi) {
  kvm_irqfd request{};
  request.fd = static_cast<std::uint32_t>(eventfd);
  request.gsi = gsi;
  return drop(call(fd_, KVM_IRQFD, &request, "KVM_IRQFD"));
}

Result<Vcpu> Vm::create_vcpu(unsigned id) {
  base::Fd fd(TRY(call(fd_, KVM_CREATE_VCPU, static_cast<unsigned long>(id), "KVM_CREATE_VCPU")));
  void* const run = ::mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (run == MAP_FAILED) {
    return refused("mapping struct kvm_run", errno);
  }
  return Vcpu(std::move(fd), base::Mapping(static_cast<std::byte*>(run), run_size_), id);
}

Result<System> System::open(const char* path) {
  base::Fd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (!fd) {
    return std::unexpected(Fault{KvmError::kNoDevice, path, std::nullopt, errno});
  }
  const auto version = call(fd, KVM_GET_API_VERSION, 0, "KVM_GET_API_VERSION");
  if (!version) {
    // Something else lies at that path: /dev/null answers ENOTTY.
    return std::unexpected(
        Fault{KvmError::kNoDevice, path, std::nullopt, version.error().sys_errno});
  }
  if (*version != KVM_API_VERSION) {
    return std::unexpected(
        Fault{KvmError::kWrongApi, fmt::format("version {}", *version), std::nullopt, 0});
  }
  const int run_size = TRY(call(fd, KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE"));
  return System(std::move(fd), static_cast<std::size_t>(run_size));
}

Result<int> System::check_extension(int capability) const {
  return call(fd_, KVM_CHECK_EXTENSION, capability, "KVM_CHECK_EXTENSION");
}

Result<std::vector<kvm_cpuid_entry2>> System::get_supported_cpuid() const {
  // KVM answers E2BIG while the room is too small, and knows about a hundred entries.
  for (std::uint32_t room = 128; room <= 4096; room *= 2) {
    const std::vector<kvm_cpuid_entry2> blank(room);
    auto bytes = with_header(CpuidHeader{room, 0}, std::span(blank));
    const auto done = call(fd_, kGetSupportedCpuid, bytes.data(), "KVM_GET_SUPPORTED_CPUID");
    if (!done && done.error().sys_errno != E2BIG) {
      return std::unexpected(done.error());
    }
    if (done) {
      CpuidHeader header{};
      std::memcpy(&header, bytes.data(), sizeof(header));
      std::vector<kvm_cpuid_entry2> entries(std::min(header.nent, room));
      std::memcpy(entries.data(), bytes.data() + sizeof(header),
                  entries.size() * sizeof(entries[0]));
      return entries;
    }
  }
  return refused("KVM_GET_SUPPORTED_CPUID", E2BIG);
}

Result<Vm> System::create_vm() {
  base::Fd fd(TRY(call(fd_, KVM_CREATE_VM, 0, "KVM_CREATE_VM")));
  return Vm(std::move(fd), run_size_);
}

}  // namespace pvh::kvm
