// SPDX-License-Identifier: BSD-2-Clause
// What a virtio console and its driver share. Source: Virtual I/O Device (VIRTIO) Version 1.2, 5.3,
// https://docs.oasis-open.org/virtio/virtio/v1.2/virtio-v1.2.html
//
//   queue 0, receiveq(port0)    what was typed       written by the device
//   queue 1, transmitq(port0)   what is printed      written by the driver
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

// 5.3.2, Virtqueues, of a device without VIRTIO_CONSOLE_F_MULTIPORT.
inline constexpr std::size_t VIRTIO_CONSOLE_RECEIVEQ = 0;
inline constexpr std::size_t VIRTIO_CONSOLE_TRANSMITQ = 1;

// 5.3.3, Feature bits, as masks.
inline constexpr std::uint64_t VIRTIO_CONSOLE_F_SIZE = std::uint64_t{1} << 0;
inline constexpr std::uint64_t VIRTIO_CONSOLE_F_MULTIPORT = std::uint64_t{1} << 1;
inline constexpr std::uint64_t VIRTIO_CONSOLE_F_EMERG_WRITE = std::uint64_t{1} << 2;

// 5.3.4, Device configuration layout. Each field exists only with its feature.
struct virtio_console_config {
  base::Le16 cols;
  base::Le16 rows;
  base::Le32 max_nr_ports;
  base::Le32 emerg_wr;
};

static_assert(sizeof(virtio_console_config) == 12);
static_assert(offsetof(virtio_console_config, cols) == 0);
static_assert(offsetof(virtio_console_config, rows) == 2);
static_assert(offsetof(virtio_console_config, max_nr_ports) == 4);
static_assert(offsetof(virtio_console_config, emerg_wr) == 8);
static_assert(std::has_unique_object_representations_v<virtio_console_config>);
static_assert(std::is_trivially_copyable_v<virtio_console_config>);

}  // namespace pvh::abi
