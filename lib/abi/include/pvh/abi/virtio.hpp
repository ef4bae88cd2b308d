// SPDX-License-Identifier: BSD-2-Clause
// What a virtio device and its driver share, whatever the device: status, features, the split
// virtqueue, and the registers of the MMIO transport. Source: Virtual I/O Device (VIRTIO) Version
// 1.2, https://docs.oasis-open.org/virtio/virtio/v1.2/virtio-v1.2.html
//
//   descriptor table   virtq_desc[size]                          16-aligned, read by the device
//   driver area        flags, idx, ring[size], used_event        2-aligned, read by the device
//   device area        flags, idx, virtq_used_elem[size], avail_event   4-aligned, written by it
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

// 2.1, Device Status Field.
inline constexpr std::uint32_t VIRTIO_CONFIG_S_ACKNOWLEDGE = 1;
inline constexpr std::uint32_t VIRTIO_CONFIG_S_DRIVER = 2;
inline constexpr std::uint32_t VIRTIO_CONFIG_S_DRIVER_OK = 4;
inline constexpr std::uint32_t VIRTIO_CONFIG_S_FEATURES_OK = 8;
inline constexpr std::uint32_t VIRTIO_CONFIG_S_NEEDS_RESET = 64;
inline constexpr std::uint32_t VIRTIO_CONFIG_S_FAILED = 128;

// 6, Reserved Feature Bits: those that belong to the transport and the queues, as masks.
inline constexpr std::uint64_t VIRTIO_F_INDIRECT_DESC = std::uint64_t{1} << 28;
inline constexpr std::uint64_t VIRTIO_F_EVENT_IDX = std::uint64_t{1} << 29;
inline constexpr std::uint64_t VIRTIO_F_VERSION_1 = std::uint64_t{1} << 32;

// 5, Device Types.
inline constexpr std::uint32_t VIRTIO_ID_NET = 1;
inline constexpr std::uint32_t VIRTIO_ID_BLOCK = 2;
inline constexpr std::uint32_t VIRTIO_ID_CONSOLE = 3;
inline constexpr std::uint32_t VIRTIO_ID_RNG = 4;
inline constexpr std::uint32_t VIRTIO_ID_BALLOON = 5;
inline constexpr std::uint32_t VIRTIO_ID_VSOCK = 19;

// 2.7.5, The Virtqueue Descriptor Table.
struct virtq_desc {
  base::Le64 addr;
  base::Le32 len;
  base::Le16 flags;  // VIRTQ_DESC_F_*
  base::Le16 next;   // if VIRTQ_DESC_F_NEXT
};

inline constexpr std::uint16_t VIRTQ_DESC_F_NEXT = 1;
inline constexpr std::uint16_t VIRTQ_DESC_F_WRITE = 2;     // the device writes, it does not read
inline constexpr std::uint16_t VIRTQ_DESC_F_INDIRECT = 4;  // a table of descriptors

// 2.7.6 and 2.7.8: the rings begin with two of these.
struct virtq_ring_header {
  base::Le16 flags;
  base::Le16 idx;  // where the next entry goes, modulo the size; grows for ever
};

inline constexpr std::uint16_t VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
inline constexpr std::uint16_t VIRTQ_USED_F_NO_NOTIFY = 1;

struct virtq_used_elem {
  base::Le32 id;   // of the chain's first descriptor
  base::Le32 len;  // bytes that the device wrote, from the first one on
};

inline constexpr std::uint64_t VIRTQ_DESC_ALIGN = 16;
inline constexpr std::uint64_t VIRTQ_AVAIL_ALIGN = 2;
inline constexpr std::uint64_t VIRTQ_USED_ALIGN = 4;

// 4.2.2, MMIO Device Register Layout: offsets of 32-bit registers. From VIRTIO_MMIO_CONFIG on there
// is the device's own configuration.
inline constexpr std::uint64_t VIRTIO_MMIO_MAGIC_VALUE = 0x000;
inline constexpr std::uint64_t VIRTIO_MMIO_VERSION = 0x004;
inline constexpr std::uint64_t VIRTIO_MMIO_DEVICE_ID = 0x008;
inline constexpr std::uint64_t VIRTIO_MMIO_VENDOR_ID = 0x00c;
inline constexpr std::uint64_t VIRTIO_MMIO_DEVICE_FEATURES = 0x010;
inline constexpr std::uint64_t VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014;
inline constexpr std::uint64_t VIRTIO_MMIO_DRIVER_FEATURES = 0x020;
inline constexpr std::uint64_t VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_SEL = 0x030;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_NUM_MAX = 0x034;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_NUM = 0x038;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_READY = 0x044;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_NOTIFY = 0x050;
inline constexpr std::uint64_t VIRTIO_MMIO_INTERRUPT_STATUS = 0x060;
inline constexpr std::uint64_t VIRTIO_MMIO_INTERRUPT_ACK = 0x064;
inline constexpr std::uint64_t VIRTIO_MMIO_STATUS = 0x070;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_DESC_LOW = 0x080;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_DESC_HIGH = 0x084;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_DRIVER_LOW = 0x090;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_DRIVER_HIGH = 0x094;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_DEVICE_LOW = 0x0a0;
inline constexpr std::uint64_t VIRTIO_MMIO_QUEUE_DEVICE_HIGH = 0x0a4;
inline constexpr std::uint64_t VIRTIO_MMIO_SHM_SEL = 0x0ac;
inline constexpr std::uint64_t VIRTIO_MMIO_SHM_LEN_LOW = 0x0b0;
inline constexpr std::uint64_t VIRTIO_MMIO_SHM_BASE_HIGH = 0x0bc;
inline constexpr std::uint64_t VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc;
inline constexpr std::uint64_t VIRTIO_MMIO_CONFIG = 0x100;

inline constexpr std::uint32_t kVirtioMmioMagic = 0x74726976;  // "virt"
inline constexpr std::uint32_t kVirtioMmioVersion = 2;         // 1 is the legacy interface

inline constexpr std::uint32_t VIRTIO_MMIO_INT_VRING = 1;
inline constexpr std::uint32_t VIRTIO_MMIO_INT_CONFIG = 2;

static_assert(sizeof(virtq_desc) == 16);
static_assert(offsetof(virtq_desc, addr) == 0);
static_assert(offsetof(virtq_desc, len) == 8);
static_assert(offsetof(virtq_desc, flags) == 12);
static_assert(offsetof(virtq_desc, next) == 14);
static_assert(sizeof(virtq_ring_header) == 4);
static_assert(offsetof(virtq_ring_header, flags) == 0);
static_assert(offsetof(virtq_ring_header, idx) == 2);
static_assert(sizeof(virtq_used_elem) == 8);
static_assert(offsetof(virtq_used_elem, id) == 0);
static_assert(offsetof(virtq_used_elem, len) == 4);
static_assert(std::has_unique_object_representations_v<virtq_desc>);
static_assert(std::is_trivially_copyable_v<virtq_desc>);

}  // namespace pvh::abi
