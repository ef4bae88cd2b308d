// SPDX-License-Identifier: BSD-2-Clause
// Sockets between a machine and its host: virtio 1.2, 5.10.
//
//   guest, tx queue:  virtio_vsock_hdr, then `len` bytes      rx queue: the same towards the guest
//
// Both ends tell in every packet how large their buffer for a connection is and how much of what
// came they have passed on (buf_alloc, fwd_cnt): the other never has more under way than fits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

struct virtio_vsock_config {
  base::Le64 guest_cid;
};

struct virtio_vsock_hdr {
  base::Le64 src_cid;
  base::Le64 dst_cid;
  base::Le32 src_port;
  base::Le32 dst_port;
  base::Le32 len;    // of the data behind the header
  base::Le16 type;   // VIRTIO_VSOCK_TYPE_*
  base::Le16 op;     // VIRTIO_VSOCK_OP_*
  base::Le32 flags;  // of a SHUTDOWN
  base::Le32 buf_alloc;
  base::Le32 fwd_cnt;
};

inline constexpr std::uint64_t VMADDR_CID_HOST = 2;

inline constexpr std::uint16_t VIRTIO_VSOCK_TYPE_STREAM = 1;

inline constexpr std::uint16_t VIRTIO_VSOCK_OP_REQUEST = 1;
inline constexpr std::uint16_t VIRTIO_VSOCK_OP_RESPONSE = 2;
inline constexpr std::uint16_t VIRTIO_VSOCK_OP_RST = 3;
inline constexpr std::uint16_t VIRTIO_VSOCK_OP_SHUTDOWN = 4;
inline constexpr std::uint16_t VIRTIO_VSOCK_OP_RW = 5;
inline constexpr std::uint16_t VIRTIO_VSOCK_OP_CREDIT_UPDATE = 6;
inline constexpr std::uint16_t VIRTIO_VSOCK_OP_CREDIT_REQUEST = 7;

// The sender will receive, or send, no more.
inline constexpr std::uint32_t VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE = 1;
inline constexpr std::uint32_t VIRTIO_VSOCK_SHUTDOWN_F_SEND = 2;

static_assert(sizeof(virtio_vsock_config) == 8);
static_assert(sizeof(virtio_vsock_hdr) == 44);
static_assert(offsetof(virtio_vsock_hdr, src_cid) == 0);
static_assert(offsetof(virtio_vsock_hdr, dst_cid) == 8);
static_assert(offsetof(virtio_vsock_hdr, src_port) == 16);
static_assert(offsetof(virtio_vsock_hdr, dst_port) == 20);
static_assert(offsetof(virtio_vsock_hdr, len) == 24);
static_assert(offsetof(virtio_vsock_hdr, type) == 28);
static_assert(offsetof(virtio_vsock_hdr, op) == 30);
static_assert(offsetof(virtio_vsock_hdr, flags) == 32);
static_assert(offsetof(virtio_vsock_hdr, buf_alloc) == 36);
static_assert(offsetof(virtio_vsock_hdr, fwd_cnt) == 40);
static_assert(std::has_unique_object_representations_v<virtio_vsock_hdr>);
static_assert(std::is_trivially_copyable_v<virtio_vsock_hdr>);

}  // namespace pvh::abi
