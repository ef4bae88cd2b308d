// SPDX-License-Identifier: BSD-2-Clause
// A vCPU's registers as KVM has them, and as gdb's packets have them (gdb/registers.hpp). Pure.
#pragma once

#include <linux/kvm.h>

#include <array>

#include <pvh/base/bytes.hpp>

#include "../gdb/registers.hpp"

namespace pvh::vmm::debug {

struct VcpuRegisters {
  kvm_regs regs;
  kvm_sregs sregs;
  kvm_fpu fpu;
};

[[nodiscard]] std::array<std::byte, gdb::kRegisterBytes> to_gdb(const VcpuRegisters& registers);

// `registers` with all that gdb's bytes name; what they do not name stays: a segment register keeps
// its base and its limit. kRegisterBytes bytes.
[[nodiscard]] VcpuRegisters from_gdb(const VcpuRegisters& registers, base::Bytes bytes);

}  // namespace pvh::vmm::debug
