// SPDX-License-Identifier: BSD-2-Clause
// The console ring of a domain that has a toolstack: one page, two buffers whose sizes are powers
// of two, and indices that only grow (position = index & (size - 1)). Who writes publishes the data
// before the index. Source: xen/include/public/io/console.h in xen.git.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

struct xencons_interface {
  std::array<char, 1024> in;   // to the domain
  std::array<char, 2048> out;  // from the domain
  base::Le32 in_cons;
  base::Le32 in_prod;
  base::Le32 out_cons;
  base::Le32 out_prod;
  // XENCONSOLE_*. Xen before 4.21 does not know it and leaves it 0.
  std::uint8_t connection;
  std::uint8_t pad[3];
};

inline constexpr std::uint32_t XENCONSOLE_CONNECTED = 0;
inline constexpr std::uint32_t XENCONSOLE_DISCONNECTED = 1;

static_assert(sizeof(xencons_interface) == 3092);
static_assert(offsetof(xencons_interface, in) == 0);
static_assert(offsetof(xencons_interface, out) == 1024);
static_assert(offsetof(xencons_interface, in_cons) == 3072);
static_assert(offsetof(xencons_interface, in_prod) == 3076);
static_assert(offsetof(xencons_interface, out_cons) == 3080);
static_assert(offsetof(xencons_interface, out_prod) == 3084);
static_assert(offsetof(xencons_interface, connection) == 3088);
static_assert(std::has_unique_object_representations_v<xencons_interface>);
static_assert(std::is_trivially_copyable_v<xencons_interface>);

}  // namespace pvh::abi
