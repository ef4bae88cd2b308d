// SPDX-License-Identifier: BSD-2-Clause
// The block device, as it and its driver see it. Source: Virtual I/O Device (VIRTIO) Version 1.2,
// 5.2, https://docs.oasis-open.org/virtio/virtio/v1.2/virtio-v1.2.html
//
//   request:  virtio_blk_req (read by the device)  data (read or written by it)  status (written)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

// 5.2.3, Feature bits, as masks.
inline constexpr std::uint64_t VIRTIO_BLK_F_SIZE_MAX = std::uint64_t{1} << 1;
inline constexpr std::uint64_t VIRTIO_BLK_F_SEG_MAX = std::uint64_t{1} << 2;
inline constexpr std::uint64_t VIRTIO_BLK_F_GEOMETRY = std::uint64_t{1} << 4;
inline constexpr std::uint64_t VIRTIO_BLK_F_RO = std::uint64_t{1} << 5;
inline constexpr std::uint64_t VIRTIO_BLK_F_BLK_SIZE = std::uint64_t{1} << 6;
inline constexpr std::uint64_t VIRTIO_BLK_F_FLUSH = std::uint64_t{1} << 9;
inline constexpr std::uint64_t VIRTIO_BLK_F_TOPOLOGY = std::uint64_t{1} << 10;
inline constexpr std::uint64_t VIRTIO_BLK_F_CONFIG_WCE = std::uint64_t{1} << 11;
inline constexpr std::uint64_t VIRTIO_BLK_F_MQ = std::uint64_t{1} << 12;
inline constexpr std::uint64_t VIRTIO_BLK_F_DISCARD = std::uint64_t{1} << 13;
inline constexpr std::uint64_t VIRTIO_BLK_F_WRITE_ZEROES = std::uint64_t{1} << 14;
inline constexpr std::uint64_t VIRTIO_BLK_F_LIFETIME = std::uint64_t{1} << 15;
inline constexpr std::uint64_t VIRTIO_BLK_F_SECURE_ERASE = std::uint64_t{1} << 16;

// Of `capacity` and `sector`, whatever blk_size says.
inline constexpr std::uint32_t kVirtioBlkSectorSize = 512;

// 5.2.4, Device configuration layout.
struct virtio_blk_geometry {
  base::Le16 cylinders;
  std::uint8_t heads = 0;
  std::uint8_t sectors = 0;
};

struct virtio_blk_topology {
  std::uint8_t physical_block_exp = 0;  // logical blocks in a physical one, as a power of two
  std::uint8_t alignment_offset = 0;
  base::Le16 min_io_size;
  base::Le32 opt_io_size;
};

struct virtio_blk_config {
  base::Le64 capacity;  // in sectors
  base::Le32 size_max;
  base::Le32 seg_max;
  virtio_blk_geometry geometry;
  base::Le32 blk_size;
  virtio_blk_topology topology;
  std::uint8_t writeback = 0;
  std::uint8_t unused0 = 0;
  base::Le16 num_queues;
  base::Le32 max_discard_sectors;
  base::Le32 max_discard_seg;
  base::Le32 discard_sector_alignment;
  base::Le32 max_write_zeroes_sectors;
  base::Le32 max_write_zeroes_seg;
  std::uint8_t write_zeroes_may_unmap = 0;
  std::array<std::uint8_t, 3> unused1{};
  base::Le32 max_secure_erase_sectors;
  base::Le32 max_secure_erase_seg;
  base::Le32 secure_erase_sector_alignment;
};

// 5.2.6, Device Operation: what a request begins with.
struct virtio_blk_req {
  base::Le32 type;  // VIRTIO_BLK_T_*
  base::Le32 reserved;
  base::Le64 sector;  // of IN and OUT
};

inline constexpr std::uint32_t VIRTIO_BLK_T_IN = 0;
inline constexpr std::uint32_t VIRTIO_BLK_T_OUT = 1;
inline constexpr std::uint32_t VIRTIO_BLK_T_FLUSH = 4;
inline constexpr std::uint32_t VIRTIO_BLK_T_GET_ID = 8;
inline constexpr std::uint32_t VIRTIO_BLK_T_GET_LIFETIME = 10;
inline constexpr std::uint32_t VIRTIO_BLK_T_DISCARD = 11;
inline constexpr std::uint32_t VIRTIO_BLK_T_WRITE_ZEROES = 13;
inline constexpr std::uint32_t VIRTIO_BLK_T_SECURE_ERASE = 14;

// The data of GET_ID: a string, with a NUL only when it is shorter.
inline constexpr std::size_t VIRTIO_BLK_ID_BYTES = 20;

// The data of DISCARD and WRITE_ZEROES: some of these.
struct virtio_blk_discard_write_zeroes {
  base::Le64 sector;
  base::Le32 num_sectors;
  base::Le32 flags;  // VIRTIO_BLK_WRITE_ZEROES_FLAG_*, the others are reserved
};

inline constexpr std::uint32_t VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1;

inline constexpr std::uint8_t VIRTIO_BLK_S_OK = 0;
inline constexpr std::uint8_t VIRTIO_BLK_S_IOERR = 1;
inline constexpr std::uint8_t VIRTIO_BLK_S_UNSUPP = 2;

static_assert(sizeof(virtio_blk_geometry) == 4);
static_assert(offsetof(virtio_blk_geometry, cylinders) == 0);
static_assert(offsetof(virtio_blk_geometry, heads) == 2);
static_assert(offsetof(virtio_blk_geometry, sectors) == 3);
static_assert(sizeof(virtio_blk_topology) == 8);
static_assert(offsetof(virtio_blk_topology, physical_block_exp) == 0);
static_assert(offsetof(virtio_blk_topology, alignment_offset) == 1);
static_assert(offsetof(virtio_blk_topology, min_io_size) == 2);
static_assert(offsetof(virtio_blk_topology, opt_io_size) == 4);
static_assert(sizeof(virtio_blk_config) == 72);
static_assert(offsetof(virtio_blk_config, capacity) == 0);
static_assert(offsetof(virtio_blk_config, size_max) == 8);
static_assert(offsetof(virtio_blk_config, seg_max) == 12);
static_assert(offsetof(virtio_blk_config, geometry) == 16);
static_assert(offsetof(virtio_blk_config, blk_size) == 20);
static_assert(offsetof(virtio_blk_config, topology) == 24);
static_assert(offsetof(virtio_blk_config, writeback) == 32);
static_assert(offsetof(virtio_blk_config, unused0) == 33);
static_assert(offsetof(virtio_blk_config, num_queues) == 34);
static_assert(offsetof(virtio_blk_config, max_discard_sectors) == 36);
static_assert(offsetof(virtio_blk_config, max_discard_seg) == 40);
static_assert(offsetof(virtio_blk_config, discard_sector_alignment) == 44);
static_assert(offsetof(virtio_blk_config, max_write_zeroes_sectors) == 48);
static_assert(offsetof(virtio_blk_config, max_write_zeroes_seg) == 52);
static_assert(offsetof(virtio_blk_config, write_zeroes_may_unmap) == 56);
static_assert(offsetof(virtio_blk_config, unused1) == 57);
static_assert(offsetof(virtio_blk_config, max_secure_erase_sectors) == 60);
static_assert(offsetof(virtio_blk_config, max_secure_erase_seg) == 64);
static_assert(offsetof(virtio_blk_config, secure_erase_sector_alignment) == 68);
static_assert(sizeof(virtio_blk_req) == 16);
static_assert(offsetof(virtio_blk_req, type) == 0);
static_assert(offsetof(virtio_blk_req, reserved) == 4);
static_assert(offsetof(virtio_blk_req, sector) == 8);
static_assert(sizeof(virtio_blk_discard_write_zeroes) == 16);
static_assert(offsetof(virtio_blk_discard_write_zeroes, sector) == 0);
static_assert(offsetof(virtio_blk_discard_write_zeroes, num_sectors) == 8);
static_assert(offsetof(virtio_blk_discard_write_zeroes, flags) == 12);
static_assert(std::has_unique_object_representations_v<virtio_blk_config>);
static_assert(std::is_trivially_copyable_v<virtio_blk_config>);
static_assert(std::has_unique_object_representations_v<virtio_blk_req>);
static_assert(std::has_unique_object_representations_v<virtio_blk_discard_write_zeroes>);

}  // namespace pvh::abi
