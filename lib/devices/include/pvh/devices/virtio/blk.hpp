// SPDX-License-Identifier: BSD-2-Clause
// A disk (virtio 1.2, 5.2): reads, writes, flush, discard, write zeroes, and its name. Requests are
// done side by side and come back in the order in which they are done.
//
// Whatever the host's file does, the guest sees at most I/O errors: the file may shrink, its file
// system may be full. A write that was answered is on the host's disk when the driver did not
// negotiate VIRTIO_BLK_F_FLUSH; else when a later flush was answered.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <pvh/abi/virtio_blk.hpp>
#include <pvh/devices/async_io.hpp>
#include <pvh/devices/rate_limiter.hpp>
#include <pvh/devices/virtio/backend.hpp>
#include <pvh/devices/virtio/disk.hpp>

namespace pvh::devices::virtio {

class Blk final : public Backend {
 public:
  // At once; more wait in the queue.
  static constexpr std::uint16_t kRequests = 256;

  struct Parts {
    EventLoop& loop;
    Disk disk;
    std::unique_ptr<AsyncIo> io;  // of kRequests slots
    std::string id;               // what the guest may ask for; 20 bytes are kept
    RateLimits limits;
    RateLimiter::Clock clock;  // for tests
    // Hears what the host did to the disk, once for each kind of error: on the loop's thread.
    std::function<void(const std::string&)> complain;
  };

  // Nothing when the host has no timer left for the limits: errno says why.
  [[nodiscard]] static std::unique_ptr<Blk> create(Parts parts);
  ~Blk() override;

  [[nodiscard]] std::uint32_t id() const override;
  [[nodiscard]] std::uint64_t features() const override;
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void read_config(std::uint64_t offset, base::MutableBytes data) const override;

  void activate(Activation activation) override;
  void notify(std::size_t queue) override;
  void reset() override;

 private:
  static constexpr std::array<std::uint16_t, 1> kQueueSizes{kRequests};

  enum class Kind : std::uint8_t { kRead, kWrite, kDiscard, kZero };

  // A run of bytes of the disk.
  struct Extent {
    std::uint64_t offset;
    std::uint64_t size;
  };

  // One request under way: its extents are done one after the other, each by as many operations as
  // it takes, and then what was written is synced if need be.
  struct Request {
    Chain chain;
    Kind kind = Kind::kRead;
    bool unmap = false;  // of kZero: the space may be given back
    bool sync = false;   // still to be done
    std::vector<Extent> extents;
    std::size_t extent = 0;  // the one that is being done
    std::uint64_t done = 0;  // bytes of it
    FileOperation operation;
    std::vector<iovec> buffers;  // of `operation`
  };
  using Status = std::uint8_t;  // VIRTIO_BLK_S_*

  explicit Blk(Parts parts);

  void serve_queue();
  [[nodiscard]] bool take(Chain& chain);
  // The status of a request that is over at once; nothing when `request` tells what to do.
  [[nodiscard]] std::optional<Status> parse(const Chain& chain, Request& request) const;
  [[nodiscard]] std::optional<Status> parse_transfer(Request& request, std::uint64_t sector,
                                                     std::uint64_t size) const;
  [[nodiscard]] std::optional<Status> parse_ranges(const Chain& chain, Request& request) const;
  [[nodiscard]] bool is_inside(std::uint64_t sector, std::uint64_t sectors) const;
  [[nodiscard]] Status give_id(const Chain& chain) const;

  void go_on(std::size_t slot);
  void prepare_transfer(Request& request, const Extent& left);
  void prepare_zeroing(Request& request, const Extent& left);
  void completed(std::span<const AsyncIo::Completion> completions);
  void advance(std::size_t slot, std::int64_t result);
  [[nodiscard]] bool try_another_way(const Request& request, int error);
  void finish(std::size_t slot, Status status);
  void push(const Chain& chain, Status status);
  void complain(const char* what, int error);

  Parts parts_;
  abi::virtio_blk_config config_;
  std::unique_ptr<RateLimiter> limiter_;  // none without limits

  std::optional<Activation> active_;
  bool write_through_ = false;
  bool starved_ = false;  // a request waits for a free slot
  Chain chain_;
  std::vector<Request> requests_;  // by slot
  std::vector<std::size_t> free_;  // slots
  bool can_punch_ = true;          // until the host says that it cannot
  bool can_zero_ = true;
  std::vector<std::byte> zeros_;  // to write where it cannot
  std::set<std::pair<const char*, int>> complaints_;
};

}  // namespace pvh::devices::virtio
