// SPDX-License-Identifier: BSD-2-Clause
// The registers that gdb sees, in its order: i386:x86-64's core, SSE, the bases of FS and GS, and
// the control registers. The list is the same in every mode of the processor, so a guest may go
// from 32 to 64 bits under the debugger.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pvh::vmm::gdb {

enum class Feature : std::uint8_t { kCore, kSse, kSegments, kControl };

struct Register {
  std::string_view name;
  std::size_t bytes;
  std::string_view type;  // gdb's
  Feature feature;
};

inline constexpr std::array kRegisters = std::to_array<Register>({
    {"rax", 8, "int64", Feature::kCore},         {"rbx", 8, "int64", Feature::kCore},
    {"rcx", 8, "int64", Feature::kCore},         {"rdx", 8, "int64", Feature::kCore},
    {"rsi", 8, "int64", Feature::kCore},         {"rdi", 8, "int64", Feature::kCore},
    {"rbp", 8, "data_ptr", Feature::kCore},      {"rsp", 8, "data_ptr", Feature::kCore},
    {"r8", 8, "int64", Feature::kCore},          {"r9", 8, "int64", Feature::kCore},
    {"r10", 8, "int64", Feature::kCore},         {"r11", 8, "int64", Feature::kCore},
    {"r12", 8, "int64", Feature::kCore},         {"r13", 8, "int64", Feature::kCore},
    {"r14", 8, "int64", Feature::kCore},         {"r15", 8, "int64", Feature::kCore},
    {"rip", 8, "code_ptr", Feature::kCore},      {"eflags", 4, "i386_eflags", Feature::kCore},
    {"cs", 4, "int32", Feature::kCore},          {"ss", 4, "int32", Feature::kCore},
    {"ds", 4, "int32", Feature::kCore},          {"es", 4, "int32", Feature::kCore},
    {"fs", 4, "int32", Feature::kCore},          {"gs", 4, "int32", Feature::kCore},
    {"st0", 10, "i387_ext", Feature::kCore},     {"st1", 10, "i387_ext", Feature::kCore},
    {"st2", 10, "i387_ext", Feature::kCore},     {"st3", 10, "i387_ext", Feature::kCore},
    {"st4", 10, "i387_ext", Feature::kCore},     {"st5", 10, "i387_ext", Feature::kCore},
    {"st6", 10, "i387_ext", Feature::kCore},     {"st7", 10, "i387_ext", Feature::kCore},
    {"fctrl", 4, "int", Feature::kCore},         {"fstat", 4, "int", Feature::kCore},
    {"ftag", 4, "int", Feature::kCore},          {"fiseg", 4, "int", Feature::kCore},
    {"fioff", 4, "int", Feature::kCore},         {"foseg", 4, "int", Feature::kCore},
    {"fooff", 4, "int", Feature::kCore},         {"fop", 4, "int", Feature::kCore},
    {"xmm0", 16, "vec128", Feature::kSse},       {"xmm1", 16, "vec128", Feature::kSse},
    {"xmm2", 16, "vec128", Feature::kSse},       {"xmm3", 16, "vec128", Feature::kSse},
    {"xmm4", 16, "vec128", Feature::kSse},       {"xmm5", 16, "vec128", Feature::kSse},
    {"xmm6", 16, "vec128", Feature::kSse},       {"xmm7", 16, "vec128", Feature::kSse},
    {"xmm8", 16, "vec128", Feature::kSse},       {"xmm9", 16, "vec128", Feature::kSse},
    {"xmm10", 16, "vec128", Feature::kSse},      {"xmm11", 16, "vec128", Feature::kSse},
    {"xmm12", 16, "vec128", Feature::kSse},      {"xmm13", 16, "vec128", Feature::kSse},
    {"xmm14", 16, "vec128", Feature::kSse},      {"xmm15", 16, "vec128", Feature::kSse},
    {"mxcsr", 4, "i386_mxcsr", Feature::kSse},   {"fs_base", 8, "int64", Feature::kSegments},
    {"gs_base", 8, "int64", Feature::kSegments}, {"cr0", 8, "int64", Feature::kControl},
    {"cr2", 8, "int64", Feature::kControl},      {"cr3", 8, "int64", Feature::kControl},
    {"cr4", 8, "int64", Feature::kControl},      {"efer", 8, "int64", Feature::kControl},
});

// Where register `index` lies among the bytes of all of them.
[[nodiscard]] constexpr std::size_t register_offset(std::size_t index) {
  std::size_t offset = 0;
  for (std::size_t i = 0; i < index; ++i) {
    offset += kRegisters[i].bytes;
  }
  return offset;
}

inline constexpr std::size_t kRegisterBytes = register_offset(kRegisters.size());
static_assert(kRegisterBytes == 17 * 8 + 7 * 4 + 8 * 10 + 8 * 4 + 16 * 16 + 4 + 2 * 8 + 5 * 8);

// The target description, an XML document. [gdb manual, "Target Descriptions"]
[[nodiscard]] std::string target_description();

}  // namespace pvh::vmm::gdb
