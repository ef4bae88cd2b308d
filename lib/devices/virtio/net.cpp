// SPDX-License-Identifier: BSD-2-Clause
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <pvh/abi/virtio.hpp>
#include <pvh/abi/virtio_net.hpp>
#include <pvh/devices/virtio/net.hpp>

namespace pvh::devices::virtio {
namespace {

constexpr std::size_t kHeader = sizeof(abi::virtio_net_hdr);
constexpr int kFramesInOneTurn = 64;

QueueFault too_short(const char* what, std::uint64_t bytes) {
  return {QueueError::kTooShort, fmt::format("{}: {} bytes, at least {}", what, bytes, kHeader),
          std::nullopt};
}

// Takes the first bytes away.
void skip(std::vector<iovec>& buffers, std::size_t bytes) {
  auto first = buffers.begin();
  while (first != buffers.end() && first->iov_len <= bytes) {
    bytes -= first->iov_len;
    ++first;
  }
  buffers.erase(buffers.begin(), first);
  if (!buffers.empty()) {
    buffers[0].iov_base = static_cast<std::byte*>(buffers[0].iov_base) + bytes;
    buffers[0].iov_len -= bytes;
  }
}

}  // namespace

std::unique_ptr<Net> Net::create(Parts parts) {
  auto again = base::EventFd::create();
  if (!again) {
    return nullptr;
  }
  std::unique_ptr<Net> net(new Net(std::move(parts), std::move(*again)));
  Net* const self = net.get();
  EventLoop& loop = net->parts_.loop;
  net->again_watch_ = loop.watch(net->again_.get(), EPOLLIN, [self](std::uint32_t) {
    self->again_.clear();
    self->receive();
    self->transmit();
  });
  // Until the driver is ready only to hear of the end's death.
  net->end_watch_ = loop.watch(net->parts_.end->descriptor(), 0,
                               [self](std::uint32_t events) { self->on_end(events); });
  return net->again_watch_ && net->end_watch_ && net->limit() ? std::move(net) : nullptr;
}

bool Net::limit() {
  if (parts_.limits == RateLimits{}) {
    return true;
  }
  receive_toll_.limiter = RateLimiter::create({.loop = parts_.loop,
                                               .limits = parts_.limits,
                                               .ready =
                                                   [this] {
                                                     may_receive_ = true;
                                                     receive();
                                                   },
                                               .clock = {}});
  transmit_toll_.limiter = RateLimiter::create(
      {.loop = parts_.loop, .limits = parts_.limits, .ready = [this] { transmit(); }, .clock = {}});
  return receive_toll_.limiter && transmit_toll_.limiter;
}

void Net::Toll::forget() {
  paid = false;
  if (limiter) {
    limiter->cancel();
  }
}

Net::Net(Parts parts, base::EventFd again) : parts_(std::move(parts)), again_(std::move(again)) {}

std::uint32_t Net::id() const {
  return abi::VIRTIO_ID_NET;
}

std::uint64_t Net::features() const {
  return abi::VIRTIO_NET_F_MAC | abi::VIRTIO_NET_F_STATUS | abi::VIRTIO_NET_F_MRG_RXBUF |
         (parts_.mtu != 0 ? abi::VIRTIO_NET_F_MTU : 0);
}

void Net::read_config(std::uint64_t offset, base::MutableBytes data) const {
  abi::virtio_net_config config{};
  config.mac = parts_.mac.bytes;
  config.status = base::Le16(link_up_.load() ? abi::VIRTIO_NET_S_LINK_UP : 0);
  config.mtu = base::Le16(parts_.mtu);
  read_config_bytes(base::to_bytes(config), offset, data);
}

void Net::activate(Activation activation) {
  active_ = std::move(activation);
  guest_has_room_ = true;
  end_has_room_ = true;
  may_receive_ = true;
  if (receive_queue().size() != 0) {
    receive_queue().mute_driver();
  }
  choose_events();
}

void Net::reset() {
  active_.reset();
  guest_has_room_ = false;
  receive_toll_.forget();
  transmit_toll_.forget();
  choose_events();
}

void Net::notify(std::size_t queue) {
  if (queue == abi::VIRTIO_NET_RECEIVEQ) {
    guest_has_room_ = true;
    receive();
  } else {
    transmit();
  }
}

void Net::on_end(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0 && parts_.end->flush()) {
    end_has_room_ = true;
    transmit();
  }
  if ((events & EPOLLIN) != 0) {
    receive();
  }
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    // What still waits there would wait for a guest that may never take it.
    parts_.end->cut();
    look_at_link();
  }
}

void Net::receive() {
  if (!active_ || receive_queue().size() == 0 || !guest_has_room_ || !may_receive_ ||
      !link_up_.load()) {
    return;
  }
  for (int frames = 0; guest_has_room_; ++frames) {
    if (frames == kFramesInOneTurn) {
      again_.signal();
      break;
    }
    const base::Bytes frame = parts_.end->peek();
    if (frame.empty()) {
      break;
    }
    may_receive_ = receive_toll_.pay(frame.size());
    if (!may_receive_) {
      break;
    }
    switch (deliver(frame)) {
      case Delivery::kDone:
        parts_.end->pop();
        receive_toll_.paid = false;
        break;
      case Delivery::kNoBuffers:
        guest_has_room_ = false;
        break;
      case Delivery::kBroken:
        return;
    }
  }
  if (receive_queue().wants_interrupt()) {
    active_->driver->used_buffers();
  }
  look_at_link();
  choose_events();
}

Net::Delivery Net::deliver(base::Bytes frame) {
  Queue& queue = receive_queue();
  const bool mergeable = (active_->features & abi::VIRTIO_NET_F_MRG_RXBUF) != 0;
  const std::uint64_t wanted = kHeader + frame.size();
  std::uint64_t room = 0;
  std::uint16_t count = 0;
  bool told_to_look_again = false;
  while (room < wanted) {
    if (count == queue.size() || (count == 1 && !mergeable)) {
      queue.unpop(count);
      return Delivery::kDone;  // the frame is lost: this guest can never take it
    }
    if (chains_.size() == count) {
      chains_.emplace_back();
    }
    Chain& chain = chains_[count];
    const auto popped = queue.pop(chain);
    if (!popped) {
      broken(popped.error());
      return Delivery::kBroken;
    }
    if (!*popped) {
      // The driver shall ring for what comes behind those that we saw.
      if (!told_to_look_again && queue.unmute_driver()) {
        told_to_look_again = true;
        continue;
      }
      queue.unpop(count);
      return Delivery::kNoBuffers;
    }
    told_to_look_again = false;
    if (chain.writable_bytes < kHeader) {
      broken(too_short("to receive", chain.writable_bytes));
      return Delivery::kBroken;
    }
    ++count;
    room += chain.writable_bytes;
  }
  queue.mute_driver();

  abi::virtio_net_hdr header{};
  header.num_buffers = base::Le16(count);
  std::size_t at = copy_to(chains_[0].writable, 0, base::to_bytes(header));
  std::size_t done = 0;
  used_.clear();
  for (std::uint16_t i = 0; i < count; ++i) {
    const std::size_t copied = copy_to(chains_[i].writable, at, frame.subspan(done));
    done += copied;
    used_.push_back({chains_[i].head, static_cast<std::uint32_t>(at + copied)});  // below 2^17
    at = 0;
  }
  queue.push(used_);
  return Delivery::kDone;
}

void Net::transmit() {
  if (!active_ || transmit_queue().size() == 0 || !end_has_room_) {
    return;
  }
  int frames = 0;
  bool is_broken = false;
  const auto take = [&](Chain& chain) -> std::optional<std::uint32_t> {
    if (chain.readable_bytes < kHeader) {
      is_broken = true;
      return std::nullopt;
    }
    if (frames++ == kFramesInOneTurn) {
      again_.signal();
      return std::nullopt;
    }
    if (!transmit_toll_.pay(chain.readable_bytes - kHeader)) {
      return std::nullopt;
    }
    if (!send(chain)) {
      end_has_room_ = false;
      return std::nullopt;
    }
    transmit_toll_.paid = false;
    return 0;
  };
  const bool served = serve_at_once(*active_, abi::VIRTIO_NET_TRANSMITQ, sent_, take);
  if (is_broken) {
    broken(too_short("to send", sent_.readable_bytes));
  } else if (!served) {
    reset();
  }
  end_has_room_ = end_has_room_ && parts_.end->flush();
  look_at_link();
  choose_events();
}

bool Net::send(Chain& chain) {
  const std::uint64_t size = chain.readable_bytes - kHeader;
  if (size < net::kLeastFrame || size > net::kMostFrame || !link_up_.load()) {
    return true;  // lost
  }
  skip(chain.readable, kHeader);
  return parts_.end->send(chain.readable);
}

void Net::broken(const QueueFault& fault) {
  active_->driver->broken(fault);
  reset();
}

void Net::look_at_link() {
  if (!link_up_.load() || !parts_.end->down()) {
    return;
  }
  link_up_.store(false);
  end_watch_.reset();
  parts_.complain(parts_.end->last_words());
  if (active_) {
    active_->driver->config_changed();
    end_has_room_ = true;  // what is sent is lost now
    again_.signal();
  }
}

void Net::choose_events() {
  const bool listens = active_ && guest_has_room_ && may_receive_ && receive_queue().size() != 0;
  std::uint32_t events = 0;
  if (listens) {
    events |= EPOLLIN;
  }
  if (!end_has_room_) {
    events |= EPOLLOUT;
  }
  if (events != events_) {
    end_watch_.want(events);
    events_ = events;
  }
}

}  // namespace pvh::devices::virtio
