// SPDX-License-Identifier: BSD-2-Clause
// A console for kernels that have come up (virtio 1.2, 5.3): what the guest prints goes to a
// descriptor of the host's, what arrives at another one is typed. Whole buffers go at once, where
// a serial line stops the guest for every byte.
//
// Nothing here waits. What the host does not take stays in the guest's queue, and what the guest
// does not take stays with the host, but for 4 KiB, or 64 KiB of a terminal with escape keys.
//
//   what happens                  what comes of it
//   nobody reads for a while      the guest waits; nothing is lost
//   a pseudo terminal is open     what is printed is lost, as on a line without a terminal; who
//   nowhere                       opens it reads and types from then on
//   writing fails                 output_lost() hears the errno, once; what is printed is lost
//   reading ends or fails         nothing is typed any more; the guest goes on
//
// There is one port and no VIRTIO_CONSOLE_F_MULTIPORT: the ports beside the first are for agents,
// which have vsock here, and the control queues would bring a protocol with states for nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <pvh/base/event_fd.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/virtio/backend.hpp>

namespace pvh::devices::virtio {

class Console final : public Backend {
 public:
  struct Size {
    std::uint16_t columns = 0;
    std::uint16_t rows = 0;
  };
  struct Parts {
    EventLoop& loop;
    // Two descriptors, even of one file: an EventLoop knows each once. Either may be none. Without
    // O_NONBLOCK they are asked before each small piece, which suffices as long as nobody else
    // reads or writes there at the same moment. Sockets and files need no O_NONBLOCK.
    base::Fd input{};
    base::Fd output{};
    // It is the end of a pseudo terminal whose other end comes and goes: EIO says that it is open
    // nowhere. With O_NONBLOCK.
    bool pseudo_terminal = false;
    // What of the bytes that arrived is for the guest; nothing for all. With it input is read even
    // when the guest takes none, for the keys that are for the monitor. On the loop's thread.
    std::function<std::vector<std::byte>(base::Bytes)> filter{};
    // Of the terminal that the input comes from, when there is one. [VIRTIO_CONSOLE_F_SIZE]
    std::optional<Size> size{};
    // On the loop's thread.
    std::function<void(int sys_errno)> output_lost{};
  };

  // The loop does not run yet, or this is its thread. Nothing when the host has no descriptor left:
  // errno says why.
  [[nodiscard]] static std::unique_ptr<Console> create(Parts parts);

  // The terminal has another size now; without effect when it never had one. On the loop's thread,
  // or while it does not run.
  void set_size(Size size);

  [[nodiscard]] std::uint32_t id() const override;
  [[nodiscard]] std::uint64_t features() const override;
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void read_config(std::uint64_t offset, base::MutableBytes data) const override;

  void activate(Activation activation) override;
  void notify(std::size_t queue) override;
  void reset() override;

 private:
  static constexpr std::array<std::uint16_t, 2> kQueueSizes{128, 128};

  // A descriptor, and how it wants to be treated.
  struct End {
    base::Fd fd;
    bool socket = false;
    bool may_block = false;
    bool always_ready = false;  // epoll does not know it: a regular file, /dev/null
    EventLoop::Watch watch;
  };

  Console(Parts parts, base::EventFd again);
  [[nodiscard]] bool watch_ends();

  // Towards the host.
  void print();
  [[nodiscard]] bool print_chain(const Chain& chain, std::size_t& budget);
  [[nodiscard]] ssize_t write_some(std::vector<iovec>& buffers) const;
  // Towards the guest.
  void type();
  [[nodiscard]] bool give_typed();
  [[nodiscard]] bool read_some();
  [[nodiscard]] bool wants_input() const;
  void update_input_watch();

  EventLoop& loop_;
  bool pseudo_terminal_;
  bool has_size_;
  std::function<std::vector<std::byte>(base::Bytes)> filter_;
  std::function<void(int)> output_lost_;
  End input_;
  End output_;
  base::EventFd again_;  // rung by ourselves, to let other devices have a turn
  EventLoop::Watch again_watch_;

  std::optional<Activation> active_;
  Chain chain_;
  std::vector<iovec> part_;          // of a chain; kept for its room
  std::uint64_t printed_ = 0;        // bytes of the chain that is next in the queue
  std::vector<std::byte> typed_;     // read, not taken by the guest yet
  std::atomic<std::uint32_t> size_;  // columns, and rows above them
};

}  // namespace pvh::devices::virtio
