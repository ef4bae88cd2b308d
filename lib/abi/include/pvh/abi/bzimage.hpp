// SPDX-License-Identifier: BSD-2-Clause
// The setup header of a Linux bzImage, in the kernel's spelling; here for the payload inside it.
// Source: Documentation/arch/x86/boot.rst in linux.git ("The Real-Mode Kernel Header").
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

// Where struct setup_header lies in the file.
inline constexpr std::uint64_t kSetupHeaderOffset = 0x1f1;

inline constexpr std::uint16_t kBootFlag = 0xaa55;
inline constexpr std::uint32_t kHdrS = 0x53726448;  // "HdrS"

// payload_offset and payload_length exist from protocol 2.08 on.
inline constexpr std::uint16_t kPayloadProtocol = 0x0208;

inline constexpr std::uint32_t kSetupSectorSize = 512;
// What setup_sects means when it is 0.
inline constexpr std::uint8_t kDefaultSetupSectors = 4;

// The protected-mode part begins (setup_sects + 1) sectors into the file; payload_offset counts
// from there.
struct setup_header {
  std::uint8_t setup_sects;
  base::Le16 root_flags;
  base::Le32 syssize;
  base::Le16 ram_size;
  base::Le16 vid_mode;
  base::Le16 root_dev;
  base::Le16 boot_flag;
  base::Le16 jump;
  base::Le32 header;
  base::Le16 version;
  base::Le32 realmode_swtch;
  base::Le16 start_sys_seg;
  base::Le16 kernel_version;
  std::uint8_t type_of_loader;
  std::uint8_t loadflags;
  base::Le16 setup_move_size;
  base::Le32 code32_start;
  base::Le32 ramdisk_image;
  base::Le32 ramdisk_size;
  base::Le32 bootsect_kludge;
  base::Le16 heap_end_ptr;
  std::uint8_t ext_loader_ver;
  std::uint8_t ext_loader_type;
  base::Le32 cmd_line_ptr;
  base::Le32 initrd_addr_max;
  base::Le32 kernel_alignment;
  std::uint8_t relocatable_kernel;
  std::uint8_t min_alignment;
  base::Le16 xloadflags;
  base::Le32 cmdline_size;
  base::Le32 hardware_subarch;
  base::Le64 hardware_subarch_data;
  base::Le32 payload_offset;
  base::Le32 payload_length;
  base::Le64 setup_data;
  base::Le64 pref_address;
  base::Le32 init_size;
  base::Le32 handover_offset;
  base::Le32 kernel_info_offset;
};

// The source gives offsets into the file.
static_assert(kSetupHeaderOffset + sizeof(setup_header) == 0x26c);
static_assert(kSetupHeaderOffset + offsetof(setup_header, setup_sects) == 0x1f1);
static_assert(kSetupHeaderOffset + offsetof(setup_header, root_flags) == 0x1f2);
static_assert(kSetupHeaderOffset + offsetof(setup_header, syssize) == 0x1f4);
static_assert(kSetupHeaderOffset + offsetof(setup_header, ram_size) == 0x1f8);
static_assert(kSetupHeaderOffset + offsetof(setup_header, vid_mode) == 0x1fa);
static_assert(kSetupHeaderOffset + offsetof(setup_header, root_dev) == 0x1fc);
static_assert(kSetupHeaderOffset + offsetof(setup_header, boot_flag) == 0x1fe);
static_assert(kSetupHeaderOffset + offsetof(setup_header, jump) == 0x200);
static_assert(kSetupHeaderOffset + offsetof(setup_header, header) == 0x202);
static_assert(kSetupHeaderOffset + offsetof(setup_header, version) == 0x206);
static_assert(kSetupHeaderOffset + offsetof(setup_header, realmode_swtch) == 0x208);
static_assert(kSetupHeaderOffset + offsetof(setup_header, start_sys_seg) == 0x20c);
static_assert(kSetupHeaderOffset + offsetof(setup_header, kernel_version) == 0x20e);
static_assert(kSetupHeaderOffset + offsetof(setup_header, type_of_loader) == 0x210);
static_assert(kSetupHeaderOffset + offsetof(setup_header, loadflags) == 0x211);
static_assert(kSetupHeaderOffset + offsetof(setup_header, setup_move_size) == 0x212);
static_assert(kSetupHeaderOffset + offsetof(setup_header, code32_start) == 0x214);
static_assert(kSetupHeaderOffset + offsetof(setup_header, ramdisk_image) == 0x218);
static_assert(kSetupHeaderOffset + offsetof(setup_header, ramdisk_size) == 0x21c);
static_assert(kSetupHeaderOffset + offsetof(setup_header, bootsect_kludge) == 0x220);
static_assert(kSetupHeaderOffset + offsetof(setup_header, heap_end_ptr) == 0x224);
static_assert(kSetupHeaderOffset + offsetof(setup_header, ext_loader_ver) == 0x226);
static_assert(kSetupHeaderOffset + offsetof(setup_header, ext_loader_type) == 0x227);
static_assert(kSetupHeaderOffset + offsetof(setup_header, cmd_line_ptr) == 0x228);
static_assert(kSetupHeaderOffset + offsetof(setup_header, initrd_addr_max) == 0x22c);
static_assert(kSetupHeaderOffset + offsetof(setup_header, kernel_alignment) == 0x230);
static_assert(kSetupHeaderOffset + offsetof(setup_header, relocatable_kernel) == 0x234);
static_assert(kSetupHeaderOffset + offsetof(setup_header, min_alignment) == 0x235);
static_assert(kSetupHeaderOffset + offsetof(setup_header, xloadflags) == 0x236);
static_assert(kSetupHeaderOffset + offsetof(setup_header, cmdline_size) == 0x238);
static_assert(kSetupHeaderOffset + offsetof(setup_header, hardware_subarch) == 0x23c);
static_assert(kSetupHeaderOffset + offsetof(setup_header, hardware_subarch_data) == 0x240);
static_assert(kSetupHeaderOffset + offsetof(setup_header, payload_offset) == 0x248);
static_assert(kSetupHeaderOffset + offsetof(setup_header, payload_length) == 0x24c);
static_assert(kSetupHeaderOffset + offsetof(setup_header, setup_data) == 0x250);
static_assert(kSetupHeaderOffset + offsetof(setup_header, pref_address) == 0x258);
static_assert(kSetupHeaderOffset + offsetof(setup_header, init_size) == 0x260);
static_assert(kSetupHeaderOffset + offsetof(setup_header, handover_offset) == 0x264);
static_assert(kSetupHeaderOffset + offsetof(setup_header, kernel_info_offset) == 0x268);
static_assert(std::has_unique_object_representations_v<setup_header>);

}  // namespace pvh::abi
