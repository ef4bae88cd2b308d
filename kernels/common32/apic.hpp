// SPDX-License-Identifier: BSD-2-Clause
// The local APIC as memory (Intel SDM volume 3, chapter "Advanced Programmable Interrupt
// Controller").
#pragma once

#include <stdint.h>

namespace pvh::kernels::apic {

inline constexpr uint32_t kBase = 0xfee0'0000;
inline constexpr uint32_t kSpuriousVector = kBase + 0xf0;
inline constexpr uint32_t kCommandLow = kBase + 0x300;
inline constexpr uint32_t kCommandHigh = kBase + 0x310;
inline constexpr uint32_t kLocalInterrupt0 = kBase + 0x350;

inline constexpr uint32_t kEnable = 0x1ff;              // in kSpuriousVector, with vector 0xff
inline constexpr uint32_t kExternalInterrupt = 0x700;   // in kLocalInterrupt0: the 8259A pair's
inline constexpr uint32_t kDeliveryPending = 1u << 12;  // in kCommandLow, as all below
inline constexpr uint32_t kAllButSelf = 0xc'0000;
inline constexpr uint32_t kAssert = 0x4000;
inline constexpr uint32_t kInit = 0x500;
inline constexpr uint32_t kStartUp = 0x600;

}  // namespace pvh::kernels::apic
