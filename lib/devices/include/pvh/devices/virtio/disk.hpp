// SPDX-License-Identifier: BSD-2-Clause
// What is in a virtual disk: a file or a block device of the host, perhaps with an overlay that
// takes what is written, so that the file stays as it is (a snapshot). Says where each byte is;
// reading and writing it is the caller's matter.
//
// A disk that is written to is locked, against other machines and against other programs that heed
// the kernel's file locks, as QEMU does.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include <pvh/base/bytes.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/base/mapping.hpp>

namespace pvh::devices::virtio {

enum class DiskError {
  kCannotOpen,   // errno says why
  kNotWritable,  // it exists, but the host does not let us write to it
  kNotADisk,     // a directory, a terminal, ...
  kEmpty,        // not one sector
  kInUse,        // somebody else writes to it, or reads it while we want to write
  kCannotLock,   // the file system has no locks
  kNoOverlay     // there is no room for what a snapshot takes
};

[[nodiscard]] base::Explanation explain(DiskError code);
using DiskFault = base::Fault<DiskError>;

struct DiskOptions {
  std::string path;
  bool read_only = false;
  bool snapshot = false;  // written to, but only until the machine ends
  std::string overlay_folder = "/var/tmp";
};

class Disk {
 public:
  // Never blocks. A snapshot's overlay has no name and no size to begin with; it and a bit for each
  // sector grow with what is written.
  [[nodiscard]] static std::expected<Disk, DiskFault> open(const DiskOptions& options);

  // In whole sectors of 512 bytes; `tail` is what is behind them.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint32_t tail() const { return tail_; }
  // The smallest piece that the host reads and writes at once.
  [[nodiscard]] std::uint32_t block_size() const { return block_size_; }
  [[nodiscard]] bool read_only() const { return read_only_; }
  // What is written does not outlive this object.
  [[nodiscard]] bool is_snapshot() const { return static_cast<bool>(overlay_); }

  // What is named below lies inside the disk.

  // The file that has the bytes from `offset` on, at this same offset: `size` of them, or fewer
  // when the others are elsewhere.
  struct Place {
    int fd;
    std::uint64_t size;
  };
  [[nodiscard]] Place find(std::uint64_t offset, std::uint64_t size) const;
  // Where they are to be written, at this same offset.
  [[nodiscard]] int writable_fd() const { return is_snapshot() ? overlay_.get() : base_.get(); }
  // These bytes were, from the beginning of a sector on. One of which only a part was is as it was
  // before.
  void written(std::uint64_t offset, std::uint64_t size);

 private:
  Disk() = default;
  [[nodiscard]] std::expected<void, DiskFault> measure();
  [[nodiscard]] std::expected<void, DiskFault> lock(bool exclusive) const;
  [[nodiscard]] std::expected<void, DiskFault> add_overlay(const std::string& folder);
  [[nodiscard]] bool is_in_overlay(std::uint64_t sector) const;

  base::Fd base_;
  base::Fd overlay_;          // as long as the disk, all holes at first
  base::Mapping in_overlay_;  // a bit for each sector; memory is used where one is set
  std::uint64_t size_ = 0;
  std::uint32_t tail_ = 0;
  std::uint32_t block_size_ = 0;
  bool read_only_ = false;
};

}  // namespace pvh::devices::virtio
