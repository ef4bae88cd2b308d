// SPDX-License-Identifier: BSD-2-Clause
// The memory balloon's wire facts: virtio 1.2, 5.5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

inline constexpr std::uint64_t VIRTIO_BALLOON_F_DEFLATE_ON_OOM = std::uint64_t{1} << 2;
inline constexpr std::uint64_t VIRTIO_BALLOON_F_PAGE_REPORTING = std::uint64_t{1} << 5;

struct virtio_balloon_config {
  base::Le32 num_pages;  // how large the device wants the balloon
  base::Le32 actual;     // how large it is; written by the driver
};

// A page of the balloon, whatever the pages of the guest are.
inline constexpr std::uint64_t VIRTIO_BALLOON_PAGE_SIZE = 4096;

static_assert(sizeof(virtio_balloon_config) == 8);
static_assert(offsetof(virtio_balloon_config, num_pages) == 0);
static_assert(offsetof(virtio_balloon_config, actual) == 4);
static_assert(std::has_unique_object_representations_v<virtio_balloon_config>);
static_assert(std::is_trivially_copyable_v<virtio_balloon_config>);

}  // namespace pvh::abi
