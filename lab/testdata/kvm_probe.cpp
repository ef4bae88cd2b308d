// SPDX-License-Identifier: BSD-2-Clause
// Proves that /dev/kvm executes guest code: a real-mode guest counts down, writes one byte to a
// port and halts. Prints "KVM <the byte> <milliseconds of the guest>" and ends with status 0, or
// says which call failed.
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

constexpr std::uint16_t kPort = 0xe9;
constexpr std::size_t kMemorySize = 0x1000;

// mov ecx, 20000000; again: dec ecx; jnz again; mov al, 'K'; mov dx, kPort; out dx, al; hlt
constexpr std::array<std::uint8_t, 18> kCode{0x66, 0xb9, 0x00, 0x2d, 0x31,  0x01, 0x66, 0x49, 0x75,
                                             0xfc, 0xb0, 'K',  0xba, kPort, 0x00, 0xee, 0xf4, 0xf4};

template <typename T>
T checked(T result, const char* what) {
  if (result == T(-1)) {
    std::perror(what);
    std::exit(EXIT_FAILURE);
  }
  return result;
}

}  // namespace

int main() {
  const int kvm = checked(::open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
  const int vm = checked(::ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
  void* memory = checked(
      ::mmap(nullptr, kMemorySize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      "mmap");
  std::copy(kCode.begin(), kCode.end(), static_cast<std::uint8_t*>(memory));
  kvm_userspace_memory_region region{};
  region.memory_size = kMemorySize;
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(memory);
  checked(::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
  const int vcpu = checked(::ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  const int run_size = checked(::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  auto* run = static_cast<kvm_run*>(checked(::mmap(nullptr, static_cast<std::size_t>(run_size),
                                                   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0),
                                            "mmap kvm_run"));
  kvm_sregs special{};
  checked(::ioctl(vcpu, KVM_GET_SREGS, &special), "KVM_GET_SREGS");
  special.cs.base = 0;
  special.cs.selector = 0;
  checked(::ioctl(vcpu, KVM_SET_SREGS, &special), "KVM_SET_SREGS");
  kvm_regs registers{};
  registers.rflags = 2;
  checked(::ioctl(vcpu, KVM_SET_REGS, &registers), "KVM_SET_REGS");

  const auto start = std::chrono::steady_clock::now();
  char byte = '?';
  for (;;) {
    checked(::ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
    if (run->exit_reason == KVM_EXIT_IO && run->io.port == kPort) {
      byte = *(reinterpret_cast<const char*>(run) + run->io.data_offset);
    } else if (run->exit_reason == KVM_EXIT_HLT) {
      break;
    } else {
      std::fprintf(stderr, "kvm_probe: exit reason %u\n", run->exit_reason);
      return EXIT_FAILURE;
    }
  }
  const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
  std::printf("KVM %c %.0f\n", byte, spent.count());
  return byte == 'K' ? EXIT_SUCCESS : EXIT_FAILURE;
}
