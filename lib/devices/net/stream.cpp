// SPDX-License-Identifier: BSD-2-Clause
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>
#include <pvh/devices/net/stream.hpp>

namespace pvh::devices::net {
namespace {

constexpr std::size_t kLength = 4;  // bytes of a length

using Length = std::array<std::uint8_t, kLength>;

Length encode(std::uint32_t length) {
  return {static_cast<std::uint8_t>(length >> 24), static_cast<std::uint8_t>(length >> 16),
          static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length)};
}

std::uint32_t decode(Length bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | bytes[3];
}

bool is_for_another_time(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ENOBUFS;
}

}  // namespace

StreamEnd::StreamEnd(base::Fd socket)
    : socket_(std::move(socket)), received_(2 * (kLength + kMostFrame)) {}

base::Bytes StreamEnd::waiting() const {
  return base::Bytes(received_).subspan(first_, end_ - first_);
}

base::Bytes StreamEnd::peek() {
  for (;;) {
    if (const auto bytes = base::read_at<Length>(waiting(), 0)) {
      const std::uint32_t length = decode(*bytes);
      if (length > kMostFrame) {
        last_words_ = fmt::format("it sent a frame of {} bytes", length);
        down_ = true;
        return {};
      }
      if (const auto frame = base::slice(waiting(), kLength, length)) {
        if (length >= kLeastFrame) {
          return *frame;
        }
        first_ += kLength + length;  // no frame at all
        continue;
      }
    }
    if (down_ || !read_more()) {
      return {};
    }
  }
}

void StreamEnd::pop() {
  first_ += kLength + decode(*base::read_at<Length>(waiting(), 0));
}

bool StreamEnd::read_more() {
  // A frame that is here in part can be as long as half of the buffer.
  if (first_ == end_ || received_.size() - first_ < kLength + kMostFrame) {
    std::memmove(received_.data(), received_.data() + first_, end_ - first_);
    end_ -= first_;
    first_ = 0;
  }
  const ssize_t got =
      ::recv(socket_.get(), received_.data() + end_, received_.size() - end_, MSG_DONTWAIT);
  if (got > 0) {
    end_ += static_cast<std::size_t>(got);
    return true;
  }
  if (got == 0 || !is_for_another_time(errno)) {
    down_ = true;
  }
  return false;
}

bool StreamEnd::send(std::span<const iovec> frame) {
  if (down_) {
    return true;
  }
  if (!flush()) {
    return false;
  }
  std::size_t size = 0;
  for (const iovec& piece : frame) {
    size += piece.iov_len;
  }
  if (size > kMostSent) {
    return true;
  }
  Length length = encode(static_cast<std::uint32_t>(size));
  pieces_.assign(1, {length.data(), length.size()});
  pieces_.insert(pieces_.end(), frame.begin(), frame.end());
  msghdr message{};
  message.msg_iov = pieces_.data();
  message.msg_iovlen = pieces_.size();
  const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    if (is_for_another_time(errno)) {
      return false;
    }
    down_ = true;
    return true;
  }
  // Half a frame must not stay half: the rest is kept, as it is now.
  auto taken = static_cast<std::size_t>(sent);
  unsent_.clear();
  unsent_first_ = 0;
  for (const iovec& piece : pieces_) {
    const std::size_t skipped = std::min(taken, piece.iov_len);
    taken -= skipped;
    const auto* const bytes = static_cast<const std::byte*>(piece.iov_base);
    unsent_.insert(unsent_.end(), bytes + skipped, bytes + piece.iov_len);
  }
  return true;
}

bool StreamEnd::flush() {
  while (!down_ && unsent_first_ < unsent_.size()) {
    const ssize_t sent = ::send(socket_.get(), unsent_.data() + unsent_first_,
                                unsent_.size() - unsent_first_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (is_for_another_time(errno)) {
        return false;
      }
      down_ = true;
    } else {
      unsent_first_ += static_cast<std::size_t>(sent);
    }
  }
  return true;
}

}  // namespace pvh::devices::net
