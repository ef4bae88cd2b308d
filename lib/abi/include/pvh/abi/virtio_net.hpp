// SPDX-License-Identifier: BSD-2-Clause
// What a virtio network device and its driver share. Source: Virtual I/O Device (VIRTIO) Version
// 1.2, 5.1, https://docs.oasis-open.org/virtio/virtio/v1.2/virtio-v1.2.html
//
//   queue 0, receiveq1    virtio_net_hdr, frame   written by the device
//   queue 1, transmitq1   virtio_net_hdr, frame   written by the driver
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

// 5.1.2, Virtqueues, of a device with one pair.
inline constexpr std::size_t VIRTIO_NET_RECEIVEQ = 0;
inline constexpr std::size_t VIRTIO_NET_TRANSMITQ = 1;

// 5.1.3, Feature bits, as masks.
inline constexpr std::uint64_t VIRTIO_NET_F_CSUM = std::uint64_t{1} << 0;
inline constexpr std::uint64_t VIRTIO_NET_F_GUEST_CSUM = std::uint64_t{1} << 1;
inline constexpr std::uint64_t VIRTIO_NET_F_MTU = std::uint64_t{1} << 3;
inline constexpr std::uint64_t VIRTIO_NET_F_MAC = std::uint64_t{1} << 5;
inline constexpr std::uint64_t VIRTIO_NET_F_MRG_RXBUF = std::uint64_t{1} << 15;
inline constexpr std::uint64_t VIRTIO_NET_F_STATUS = std::uint64_t{1} << 16;

// 5.1.4, Device configuration layout. Each field but the first exists only with its feature.
struct virtio_net_config {
  std::array<std::uint8_t, 6> mac;
  base::Le16 status;  // VIRTIO_NET_S_*
  base::Le16 max_virtqueue_pairs;
  base::Le16 mtu;
  base::Le32 speed;
  std::uint8_t duplex;
  std::uint8_t rss_max_key_size;
  base::Le16 rss_max_indirection_table_length;
  base::Le32 supported_hash_types;
};

inline constexpr std::uint16_t VIRTIO_NET_S_LINK_UP = 1;

// 5.1.6, Device Operation: stands before each frame. All zeros but num_buffers, when no offload was
// negotiated.
struct virtio_net_hdr {
  std::uint8_t flags;
  std::uint8_t gso_type;
  base::Le16 hdr_len;
  base::Le16 gso_size;
  base::Le16 csum_start;
  base::Le16 csum_offset;
  base::Le16 num_buffers;  // received: how many chains the frame fills; 1 without MRG_RXBUF
};

static_assert(sizeof(virtio_net_config) == 24);
static_assert(offsetof(virtio_net_config, mac) == 0);
static_assert(offsetof(virtio_net_config, status) == 6);
static_assert(offsetof(virtio_net_config, max_virtqueue_pairs) == 8);
static_assert(offsetof(virtio_net_config, mtu) == 10);
static_assert(offsetof(virtio_net_config, speed) == 12);
static_assert(offsetof(virtio_net_config, duplex) == 16);
static_assert(offsetof(virtio_net_config, rss_max_key_size) == 17);
static_assert(offsetof(virtio_net_config, rss_max_indirection_table_length) == 18);
static_assert(offsetof(virtio_net_config, supported_hash_types) == 20);
static_assert(std::has_unique_object_representations_v<virtio_net_config>);
static_assert(std::is_trivially_copyable_v<virtio_net_config>);
static_assert(sizeof(virtio_net_hdr) == 12);
static_assert(offsetof(virtio_net_hdr, flags) == 0);
static_assert(offsetof(virtio_net_hdr, gso_type) == 1);
static_assert(offsetof(virtio_net_hdr, hdr_len) == 2);
static_assert(offsetof(virtio_net_hdr, gso_size) == 4);
static_assert(offsetof(virtio_net_hdr, csum_start) == 6);
static_assert(offsetof(virtio_net_hdr, csum_offset) == 8);
static_assert(offsetof(virtio_net_hdr, num_buffers) == 10);
static_assert(std::has_unique_object_representations_v<virtio_net_hdr>);
static_assert(std::is_trivially_copyable_v<virtio_net_hdr>);

}  // namespace pvh::abi
