// SPDX-License-Identifier: BSD-2-Clause
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/quantity.hpp>
#include <pvh/devices/virtio/balloon_control.hpp>

namespace pvh::devices::virtio {
namespace {

constexpr unsigned kMebi = 20;  // of a number without a unit, as in --memory

std::string error(std::string_view words) {
  return fmt::format("{{\"error\":\"{}\"}}\n", words);
}

// A client that does not read its answers has no room for one: it is as good as gone.
bool send_all(const base::Fd& fd, std::string_view text) {
  return ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(text.size());
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const auto first = std::min(text.find_first_not_of(kBlanks), text.size());
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

}  // namespace

std::expected<std::unique_ptr<BalloonControl>, UnixSocketFault> BalloonControl::create(
    EventLoop& loop, Balloon& balloon, base::ByteSize memory, const std::string& path) {
  auto listener = UnixListener::open(path);
  if (!listener) {
    return std::unexpected(std::move(listener.error()));
  }
  std::unique_ptr<BalloonControl> control(
      new BalloonControl(loop, balloon, memory, std::move(*listener)));
  control->listener_watch_ =
      loop.watch(control->listener_.get(), EPOLLIN,
                 [made = control.get()](std::uint32_t) { made->accept_client(); });
  if (!control->listener_watch_) {
    return std::unexpected(UnixSocketFault{UnixSocketError::kNoSocket, path, std::nullopt, errno});
  }
  return control;
}

void BalloonControl::accept_client() {
  auto client = std::make_unique<Client>();
  client->fd = listener_.accept();
  if (!client->fd || clients_.size() >= kMostClients) {
    return;
  }
  const int number = client->fd.get();
  client->watch =
      loop_.watch(number, EPOLLIN, [this, number](std::uint32_t) { read_client(number); });
  if (client->watch) {
    clients_.insert_or_assign(number, std::move(client));
  }
}

void BalloonControl::read_client(int fd) {
  Client& client = *clients_.find(fd)->second;
  std::array<char, 512> bytes;
  const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  const bool stays = got > 0 && take(client, {bytes.data(), static_cast<std::size_t>(got)});
  if (got == 0 && !client.line.empty()) {
    [[maybe_unused]] const bool answered = take(client, "\n");  // a last line need not be ended
  }
  if (!stays) {
    client.watch.reset();  // before its descriptor
    clients_.erase(fd);
  }
}

// False when the client is to go.
bool BalloonControl::take(Client& client, std::string_view text) {
  for (const char next : text) {
    if (next != '\n') {
      client.line.push_back(next);
      if (client.line.size() > kLongestLine) {
        [[maybe_unused]] const bool sent = send_all(client.fd, error("the line is too long"));
        return false;
      }
    } else if (!send_all(client.fd, answer(std::exchange(client.line, {})))) {
      return false;
    }
  }
  return true;
}

std::string BalloonControl::answer(std::string_view line) {
  const std::string_view text = trim(line);
  if (!text.empty() && text != "?") {
    const auto size = base::parse_quantity(text, kMebi);
    if (!size && size.error() == base::QuantityError::kMalformed) {
      return error("this is not a size: write a number and K, M, G or T, such as 512M, or 0");
    }
    if (!size || *size > memory_.value()) {
      return error(fmt::format("the guest has {} bytes of memory: write less", memory_.value()));
    }
    balloon_.set_target(base::ByteSize(*size));
  }
  return fmt::format("{{\"target_bytes\":{},\"actual_bytes\":{}}}\n", balloon_.target().value(),
                     balloon_.actual().value());
}

}  // namespace pvh::devices::virtio
