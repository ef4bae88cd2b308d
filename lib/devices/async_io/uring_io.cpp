// SPDX-License-Identifier: BSD-2-Clause
#include <liburing.h>
#include <sched.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <utility>

#include <pvh/devices/async_io.hpp>

namespace pvh::devices {
namespace {

class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (made_) {
      ::io_uring_queue_exit(&ring_);
    }
  }

  // 0 or an errno.
  [[nodiscard]] int create(unsigned entries) {
    const int made = ::io_uring_queue_init(entries, &ring_, 0);
    made_ = made == 0;
    return -made;
  }
  [[nodiscard]] io_uring& get() { return ring_; }

 private:
  io_uring ring_{};
  bool made_ = false;
};

bool knows_operations(io_uring& ring) {
  const std::unique_ptr<io_uring_probe, decltype(&::io_uring_free_probe)> probe(
      ::io_uring_get_probe_ring(&ring), &::io_uring_free_probe);
  if (!probe) {
    return false;
  }
  for (const int operation :
       {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE}) {
    if (::io_uring_opcode_supported(probe.get(), operation) == 0) {
      return false;
    }
  }
  return true;
}

// A slot has one operation under way, and both rings have room for all of them: neither overflows.
class UringIo final : public AsyncIo {
 public:
  explicit UringIo(std::unique_ptr<Ring> ring) : ring_(std::move(ring)) {}
  ~UringIo() override { UringIo::drain(); }

  // False when the loop cannot watch the ring, which polls as readable while it has completions.
  [[nodiscard]] bool attach(EventLoop& loop) {
    watch_ = loop.watch(ring().ring_fd, EPOLLIN, [this](std::uint32_t) { collect(); });
    return static_cast<bool>(watch_);
  }

  void start(std::size_t slot, const FileOperation& operation) override {
    io_uring_sqe* entry = ::io_uring_get_sqe(&ring());
    if (entry == nullptr) {
      submit();
      entry = ::io_uring_get_sqe(&ring());
    }
    const auto count = static_cast<unsigned>(operation.buffers.size());
    switch (operation.kind) {
      case FileOperation::Kind::kRead:
        ::io_uring_prep_readv2(entry, operation.fd, operation.buffers.data(), count,
                               operation.offset, operation.flags);
        break;
      case FileOperation::Kind::kWrite:
        ::io_uring_prep_writev2(entry, operation.fd, operation.buffers.data(), count,
                                operation.offset, operation.flags);
        break;
      case FileOperation::Kind::kSync:
        ::io_uring_prep_fsync(entry, operation.fd, IORING_FSYNC_DATASYNC);
        break;
      case FileOperation::Kind::kFallocate:
        ::io_uring_prep_fallocate(entry, operation.fd, operation.flags,
                                  static_cast<off_t>(operation.offset),
                                  static_cast<off_t>(operation.size));
        break;
    }
    ::io_uring_sqe_set_data64(entry, slot);
    ++under_way_;
  }

  void submit() override {
    while (::io_uring_sq_ready(&ring()) > 0) {
      // Fails only for want of memory, for the moment.
      if (::io_uring_submit(&ring()) < 0) {
        ::sched_yield();
      }
    }
  }

  void drain() override {
    submit();
    while (under_way_ > 0) {
      io_uring_cqe* entry = nullptr;
      if (::io_uring_wait_cqe(&ring(), &entry) == 0) {
        ::io_uring_cqe_seen(&ring(), entry);
        --under_way_;
      }
    }
  }

 private:
  [[nodiscard]] io_uring& ring() { return ring_->get(); }

  void collect() {
    std::array<io_uring_cqe*, 64> entries;
    std::array<Completion, 64> completions;
    const unsigned count =
        ::io_uring_peek_batch_cqe(&ring(), entries.data(), static_cast<unsigned>(entries.size()));
    for (unsigned i = 0; i < count; ++i) {
      completions[i] = {static_cast<std::size_t>(::io_uring_cqe_get_data64(entries[i])),
                        entries[i]->res};
    }
    ::io_uring_cq_advance(&ring(), count);
    under_way_ -= count;
    tell(std::span(completions).first(count));
  }

  std::unique_ptr<Ring> ring_;
  EventLoop::Watch watch_;  // gone before the ring is
  std::size_t under_way_ = 0;
};

}  // namespace

std::unique_ptr<AsyncIo> make_uring_io(EventLoop& loop, unsigned slots) {
  auto ring = std::make_unique<Ring>();
  if (const int error = ring->create(slots); error != 0) {
    errno = error;
    return nullptr;
  }
  if (!knows_operations(ring->get())) {
    errno = ENOSYS;
    return nullptr;
  }
  auto io = std::make_unique<UringIo>(std::move(ring));
  if (!io->attach(loop)) {
    return nullptr;
  }
  return io;
}

}  // namespace pvh::devices
