// SPDX-License-Identifier: BSD-2-Clause
// The machine's fixed addresses that are not RAM. Where boot data and tables lie in RAM is the
// plan's matter (loader::table_placement); a device's ports stand in its own header.
#pragma once

#include <array>
#include <cstdint>

#include <pvh/base/address.hpp>

namespace pvh::vmm {

// Where the in-kernel interrupt controllers of KVM listen.
inline constexpr base::PhysAddr kIoApicBase{0xfec00000};
inline constexpr base::PhysAddr kLocalApicBase{0xfee00000};

// Three pages for the task-state segment and one for the identity map that KVM needs on Intel CPUs
// without unrestricted guest mode. Any page below 4 GiB that is not RAM will do. [api.rst,
// KVM_SET_TSS_ADDR]
inline constexpr base::PhysAddr kIdentityMapBase{0xfffbc000};
inline constexpr base::PhysAddr kTssBase{0xfffbd000};

// One page for each virtio device.
inline constexpr base::PhysAddr kVirtioBase{0xd0000000};
inline constexpr base::ByteSize kVirtioSize{0x1000};

// Kept free for devices of the embedding program's (custom_device.hpp), whatever else the machine
// has.
inline constexpr base::Range kCustomMmio =
    *base::Range::from_size(base::PhysAddr(0xe0000000), base::ByteSize(0x10000000));

// The interrupt inputs that the virtio devices get, in this order: those that the PICs reach, too,
// first. Left out is what has a meaning by tradition: 0 timer, 1 keyboard, 2 cascade, 3 and 4
// serial, 8 clock, 9 ACPI, 13 FPU.
inline constexpr std::array<std::uint32_t, 16> kVirtioInterrupts{5,  6,  7,  10, 11, 12, 14, 15,
                                                                 16, 17, 18, 19, 20, 21, 22, 23};

// The power button's, an edge. That of ACPI's events by tradition; hardware-reduced machines have
// none.
inline constexpr std::uint32_t kPowerButtonInterrupt = 9;

// Everything above the RAM below 4 GiB lies in the hole that loader::ram_ranges leaves.
inline constexpr base::PhysAddr kHoleStart{0xc0000000};
static_assert(kHoleStart <= kVirtioBase &&
              kVirtioBase.value() + kVirtioInterrupts.size() * kVirtioSize.value() <=
                  kCustomMmio.first().value() &&
              kCustomMmio.last() < kIoApicBase);
static_assert(kHoleStart < kIoApicBase && kIoApicBase < kLocalApicBase &&
              kLocalApicBase < kIdentityMapBase && kIdentityMapBase < kTssBase);

}  // namespace pvh::vmm
