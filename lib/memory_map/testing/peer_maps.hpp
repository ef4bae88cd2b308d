// SPDX-License-Identifier: BSD-2-Clause
// The maps that monitors and firmware in the field hand over, entry by entry in their own order,
// with the oddities that they are known for. (Hosted.)
#pragma once

#include <vector>

#include <pvh/memory_map/map.hpp>

namespace pvh::memory_map::testing {

// Firecracker, 5 GiB: RAM comes last, the MMCONFIG window in between; RSDP at 0xe0000 unlisted.
inline const std::vector<RawEntry> kFirecracker{
    {0, 0x9fc00, 1},           {0x9fc00, 0x40400, 2},        {0xeec00000, 0x10000000, 2},
    {0x100000, 0xbff00000, 1}, {0x100000000, 0x80000000, 1},
};

// Cloud Hypervisor, 512 MiB: RSDP at 0xa0000, in a gap.
inline const std::vector<RawEntry> kCloudHypervisor{
    {0, 0xa0000, 1},
    {0x100000, 0x1ff00000, 1},
    {0xe8000000, 0x10000000, 2},
};

// QEMU pc with SeaBIOS, 512 MiB, on a host with a HyperTransport hole.
inline const std::vector<RawEntry> kSeaBiosPc{
    {0, 0x9fc00, 1},          {0x9fc00, 0x400, 2},
    {0xf0000, 0x10000, 2},    {0x100000, 0x1fee0000, 1},
    {0x1ffe0000, 0x20000, 2}, {0xfeffc000, 0x4000, 2},
    {0xfffc0000, 0x40000, 2}, {0xfd00000000, 0x300000000, 2},
};

// QEMU q35 with SeaBIOS, 4 GiB: the same and an ECAM window.
inline const std::vector<RawEntry> kSeaBiosQ35{
    {0, 0x9fc00, 1},
    {0x9fc00, 0x400, 2},
    {0xf0000, 0x10000, 2},
    {0x100000, 0x7fee0000, 1},
    {0x7ffe0000, 0x20000, 2},
    {0xb0000000, 0x10000000, 2},
    {0xfed1c000, 0x4000, 2},
    {0xfeffc000, 0x4000, 2},
    {0xfffc0000, 0x40000, 2},
    {0x100000000, 0x80000000, 1},
    {0xfd00000000, 0x300000000, 2},
};

// QEMU microvm with qboot, 4 GiB: unsorted, and one entry at the end that nobody wrote.
inline const std::vector<RawEntry> kQboot{
    {0, 0x9fc00, 1},
    {0x9fc00, 0x400, 2},
    {0xd0000, 0x20000, 4},
    {0xf0000, 0x10000, 2},
    {0xfeffc000, 0x4000, 2},
    {0x100000, 0xbff00000, 1},
    {0x100000000, 0x40000000, 1},
    {0, 0, 0},
};

// Xen's toolstack, 4 GiB: no legacy hole, ACPI memory out of order and no whole pages.
inline const std::vector<RawEntry> kXen{
    {0, 0xf0000000, 1},
    {0xfeff8000, 0x8000, 2},
    {0xfc000000, 0x2a40, 4},
    {0x100000000, 0x10000000, 1},
};

// gokvm, 5 GiB: RAM straight through the 3-4 GiB hole.
inline const std::vector<RawEntry> kGokvm{
    {0, 0x9fc00, 1},
    {0x100000, 0x13ff00000, 1},
};

}  // namespace pvh::memory_map::testing
