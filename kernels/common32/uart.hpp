// SPDX-License-Identifier: BSD-2-Clause
// COM1 and its 16550 (National Semiconductor PC16550D data sheet).
#pragma once

#include <stdint.h>

namespace pvh::kernels::uart {

inline constexpr uint16_t kBase = 0x3f8;
inline constexpr uint16_t kData = kBase;                   // divisor, low byte, with kDivisorAccess
inline constexpr uint16_t kInterruptEnable = kBase + 1;    // divisor, high byte, likewise
inline constexpr uint16_t kInterruptIdentity = kBase + 2;  // read
inline constexpr uint16_t kFifoControl = kBase + 2;        // write
inline constexpr uint16_t kLineControl = kBase + 3;
inline constexpr uint16_t kModemControl = kBase + 4;
inline constexpr uint16_t kLineStatus = kBase + 5;

inline constexpr uint8_t kReceiveInterrupt = 0x01;
inline constexpr uint8_t kFifoEnableAndClear = 0x07;
inline constexpr uint8_t kIdentityFifosOn = 0xc0;
inline constexpr uint8_t kEightBitsNoParity = 0x03;
inline constexpr uint8_t kDivisorAccess = 0x80;
inline constexpr uint8_t kReadyWithInterrupt =
    0x0b;  // DTR, RTS and OUT2, which lets the interrupt through
inline constexpr uint8_t kDataReady = 0x01;
inline constexpr uint8_t kTransmitterEmpty = 0x20;
inline constexpr uint32_t kFifoSize = 16;

}  // namespace pvh::kernels::uart
