// SPDX-License-Identifier: BSD-2-Clause
#include <sys/random.h>

#include <algorithm>
#include <utility>

#include <pvh/abi/virtio.hpp>
#include <pvh/devices/virtio/rng.hpp>

namespace pvh::devices::virtio {
namespace {

// For one request, so that one guest cannot keep the devices' thread for long. The driver asks
// again for what it did not get.
constexpr std::size_t kMost = std::size_t{64} * 1024;

// How much of the buffers was filled. getrandom() fails at most while the host boots.
std::uint32_t fill(const std::vector<iovec>& buffers) {
  std::size_t done = 0;
  for (const iovec& buffer : buffers) {
    const std::size_t wanted = std::min(buffer.iov_len, kMost - done);
    const ssize_t got = wanted == 0 ? 0 : ::getrandom(buffer.iov_base, wanted, GRND_NONBLOCK);
    done += static_cast<std::size_t>(std::max<ssize_t>(got, 0));
    if (got != static_cast<ssize_t>(buffer.iov_len)) {
      break;
    }
  }
  return static_cast<std::uint32_t>(done);
}

}  // namespace

std::uint32_t Rng::id() const {
  return abi::VIRTIO_ID_RNG;
}

void Rng::read_config(std::uint64_t /*offset*/, base::MutableBytes data) const {
  std::ranges::fill(data, std::byte{0});
}

void Rng::activate(Activation activation) {
  active_ = std::move(activation);
}

void Rng::notify(std::size_t queue) {
  if (!active_) {
    return;
  }
  if (!serve_at_once(*active_, queue, chain_,
                     [](const Chain& chain) { return std::optional(fill(chain.writable)); })) {
    active_.reset();
  }
}

void Rng::reset() {
  active_.reset();
}

}  // namespace pvh::devices::virtio
