// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <pvh/devices/net/tap.hpp>

namespace pvh::devices::net {
namespace {

std::unexpected<NetFault> fault(NetError code, const std::string& name, int error) {
  return std::unexpected(NetFault{code, name, std::nullopt, error});
}

NetError meaning(int error) {
  return error == EPERM || error == EACCES ? NetError::kTapNotOurs
         : error == EBUSY                  ? NetError::kTapBusy
                                           : NetError::kTapRefused;
}

}  // namespace

std::expected<std::unique_ptr<TapEnd>, NetFault> TapEnd::open(const std::string& name) {
  ifreq request{};
  // The kernel would make an interface of a name that it does not know.
  if (name.size() >= sizeof(request.ifr_name) || ::if_nametoindex(name.c_str()) == 0) {
    return fault(NetError::kNoTap, name, 0);
  }
  base::Fd queue(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!queue) {
    return fault(NetError::kNoTun, "/dev/net/tun", errno);
  }
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (::ioctl(queue.get(), TUNSETIFF, &request) != 0) {
    return fault(meaning(errno), name, errno);
  }
  // Its last user may have left it with offloads: our frames are whole.
  if (::ioctl(queue.get(), TUNSETOFFLOAD, 0) != 0) {
    return fault(NetError::kTapRefused, name, errno);
  }
  return std::make_unique<TapEnd>(std::move(queue), name);
}

TapEnd::TapEnd(base::Fd queue, std::string name)
    : queue_(std::move(queue)), name_(std::move(name)), frame_(kMostFrame) {}

base::Bytes TapEnd::peek() {
  while (waiting_ == 0 && !down_) {
    const ssize_t got = ::read(queue_.get(), frame_.data(), frame_.size());
    if (got < 0) {
      // The interface was taken away: EBADFD. One that is merely down gives nothing.
      down_ = errno != EAGAIN && errno != EINTR && errno != EIO;
      return {};
    }
    if (static_cast<std::size_t>(got) >= kLeastFrame) {
      waiting_ = static_cast<std::size_t>(got);
    } else if (got == 0) {
      down_ = true;
    }
  }
  return base::Bytes(frame_).first(waiting_);
}

bool TapEnd::send(std::span<const iovec> frame) {
  // EIO: the interface is down, which its owner may change; a frame is lost.
  return ::writev(queue_.get(), frame.data(), static_cast<int>(frame.size())) >= 0 ||
         errno != EAGAIN;
}

std::string TapEnd::last_words() {
  return fmt::format("the TAP interface {} is gone", name_);
}

}  // namespace pvh::devices::net
