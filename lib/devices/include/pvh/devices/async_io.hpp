// SPDX-License-Identifier: BSD-2-Clause
// Files read and written without waiting for them: an operation is started under a number (its
// slot), and what became of it is told on the EventLoop's thread, in any order. By io_uring, or by
// a few threads where the kernel refuses that.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <pvh/devices/event_loop.hpp>

namespace pvh::devices {

// One system call. The buffers and their list stay where they are until it is done.
struct FileOperation {
  enum class Kind : std::uint8_t {
    kRead,      // preadv2 with `flags` RWF_*
    kWrite,     // pwritev2 likewise
    kSync,      // fdatasync
    kFallocate  // of `size` bytes, with `flags` FALLOC_FL_*
  };
  Kind kind = Kind::kRead;
  int fd = -1;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::span<const iovec> buffers{};
  int flags = 0;
};

// Does it now, and waits for it: the number of bytes, or -errno. From any thread.
[[nodiscard]] std::int64_t perform(const FileOperation& operation);

// From the loop's thread, or while the loop does not run.
class AsyncIo {
 public:
  // What the system call returned: bytes (perhaps fewer than asked for), or -errno.
  struct Completion {
    std::size_t slot;
    std::int64_t result;
  };
  using Handler = std::function<void(std::span<const Completion>)>;

  AsyncIo() = default;
  AsyncIo(const AsyncIo&) = delete;
  AsyncIo& operator=(const AsyncIo&) = delete;
  // Waits as drain() does.
  virtual ~AsyncIo() = default;

  // Who is told; called from the loop only, never from a method here.
  void set_handler(Handler handler) { handler_ = std::move(handler); }

  // For a slot that has nothing under way. It is on its way with the next submit() at the latest.
  virtual void start(std::size_t slot, const FileOperation& operation) = 0;
  virtual void submit() = 0;
  // Returns when no operation is under way. Those that were are not reported any more.
  virtual void drain() = 0;

 protected:
  void tell(std::span<const Completion> completions) const {
    if (handler_ && !completions.empty()) {
      handler_(completions);
    }
  }

 private:
  Handler handler_;
};

// For the slots 0 to slots - 1. Nothing when the kernel refuses: errno says why.
[[nodiscard]] std::unique_ptr<AsyncIo> make_uring_io(EventLoop& loop, unsigned slots);
[[nodiscard]] std::unique_ptr<AsyncIo> make_thread_io(EventLoop& loop, unsigned slots);
// The first of them that the kernel grants.
[[nodiscard]] std::unique_ptr<AsyncIo> make_async_io(EventLoop& loop, unsigned slots);

}  // namespace pvh::devices
