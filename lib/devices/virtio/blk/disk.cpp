// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <pvh/abi/virtio_blk.hpp>
#include <pvh/base/try.hpp>
#include <pvh/devices/virtio/disk.hpp>

namespace pvh::devices::virtio {
namespace {

constexpr std::uint32_t kSector = abi::kVirtioBlkSectorSize;

std::unexpected<DiskFault> fault(DiskError code, std::string detail, int sys_errno = 0) {
  return std::unexpected(DiskFault{code, std::move(detail), std::nullopt, sys_errno});
}

// A file without a name, so that nothing is left of it whatever becomes of us.
base::Fd nameless_file(const std::string& folder) {
  base::Fd file(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600));
  // Some file systems cannot, and the kernel's words for it differ.
  if (!file && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    std::string name = folder + "/pvh-XXXXXX";
    file = base::Fd(::mkostemp(name.data(), O_CLOEXEC));
    if (file) {
      ::unlink(name.c_str());
    }
  }
  return file;
}

}  // namespace

base::Explanation explain(DiskError code) {
  switch (code) {
    case DiskError::kCannotOpen:
      return {"the disk cannot be opened", ""};
    case DiskError::kNotWritable:
      return {"the disk cannot be opened for writing", "give it with ,ro or ,snapshot"};
    case DiskError::kNotADisk:
      return {"neither a file nor a block device", "give a raw disk image"};
    case DiskError::kEmpty:
      return {"the disk has not one sector", "make it as large as it is to be, with truncate -s"};
    case DiskError::kInUse:
      return {"the disk is in use by another machine",
              "end that one, or give the disk to both with ,ro or ,snapshot"};
    case DiskError::kCannotLock:
      return {"the disk cannot be locked against other machines",
              "copy it to a file system that has locks"};
    case DiskError::kNoOverlay:
      return {"there is no place for what the snapshot takes", "name a folder with room in TMPDIR"};
  }
  return {"unknown error", ""};
}

std::expected<Disk, DiskFault> Disk::open(const DiskOptions& options) {
  const bool writes_base = !options.read_only && !options.snapshot;
  Disk disk;
  disk.read_only_ = options.read_only;
  // Non-blocking for those that are no disks: a FIFO would wait for its other end.
  disk.base_ = base::Fd(::open(
      options.path.c_str(), (writes_base ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!disk.base_) {
    const int error = errno;
    if (error == EISDIR) {
      return fault(DiskError::kNotADisk, "a directory");
    }
    const bool readable = ::access(options.path.c_str(), R_OK) == 0;
    const bool refused = error == EACCES || error == EPERM || error == EROFS;
    return fault(
        writes_base && readable && refused ? DiskError::kNotWritable : DiskError::kCannotOpen, "",
        error);
  }
  TRY(disk.measure());
  // From now on it is to wait: some kernels give up at once where the flag is set.
  ::fcntl(disk.base_.get(), F_SETFL, 0);
  TRY(disk.lock(writes_base));
  if (options.snapshot && !options.read_only) {
    TRY(disk.add_overlay(options.overlay_folder));
  }
  return disk;
}

std::expected<void, DiskFault> Disk::measure() {
  struct stat status{};
  if (::fstat(base_.get(), &status) != 0) {
    return fault(DiskError::kCannotOpen, "", errno);
  }
  std::uint64_t bytes = 0;
  block_size_ = kSector;
  if (S_ISREG(status.st_mode)) {
    bytes = static_cast<std::uint64_t>(status.st_size);
  } else if (S_ISBLK(status.st_mode)) {
    int block_size = 0;
    if (::ioctl(base_.get(), BLKGETSIZE64, &bytes) != 0 ||
        ::ioctl(base_.get(), BLKSSZGET, &block_size) != 0) {
      return fault(DiskError::kCannotOpen, "", errno);
    }
    block_size_ = static_cast<std::uint32_t>(std::max(block_size, static_cast<int>(kSector)));
  } else {
    return fault(DiskError::kNotADisk, S_ISDIR(status.st_mode) ? "a directory" : "");
  }
  tail_ = static_cast<std::uint32_t>(bytes % kSector);
  size_ = bytes - tail_;
  if (size_ == 0) {
    return fault(DiskError::kEmpty, fmt::format("{} bytes", bytes));
  }
  return {};
}

std::expected<void, DiskFault> Disk::lock(bool exclusive) const {
  // Of the open file, not of the process: two disks of one machine are told apart too.
  struct flock whole{};
  whole.l_type = exclusive ? F_WRLCK : F_RDLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(base_.get(), F_OFD_SETLK, &whole) != 0) {
    const bool held = errno == EAGAIN || errno == EACCES;
    return held ? fault(DiskError::kInUse, "") : fault(DiskError::kCannotLock, "", errno);
  }
  return {};
}

std::expected<void, DiskFault> Disk::add_overlay(const std::string& folder) {
  overlay_ = nameless_file(folder);
  if (!overlay_ || ::ftruncate(overlay_.get(), static_cast<off_t>(size_)) != 0) {
    return fault(DiskError::kNoOverlay, folder, errno);
  }
  const auto bytes = static_cast<std::size_t>(size_ / kSector / 8 + 1);
  void* const bits = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (bits == MAP_FAILED) {
    return fault(DiskError::kNoOverlay, "memory", errno);
  }
  in_overlay_ = base::Mapping(static_cast<std::byte*>(bits), bytes);
  return {};
}

bool Disk::is_in_overlay(std::uint64_t sector) const {
  return (std::to_integer<unsigned>(in_overlay_.bytes()[sector / 8]) >> sector % 8 & 1) != 0;
}

Disk::Place Disk::find(std::uint64_t offset, std::uint64_t size) const {
  if (!is_snapshot() || size == 0) {
    return {base_.get(), size};
  }
  const std::uint64_t first = offset / kSector;
  const std::uint64_t last = (offset + size - 1) / kSector;
  const bool in_overlay = is_in_overlay(first);
  std::uint64_t next = first + 1;
  while (next <= last && is_in_overlay(next) == in_overlay) {
    ++next;
  }
  return {in_overlay ? overlay_.get() : base_.get(), std::min(size, next * kSector - offset)};
}

void Disk::written(std::uint64_t offset, std::uint64_t size) {
  if (!is_snapshot()) {
    return;
  }
  const std::uint64_t end = (offset + size) / kSector;
  for (std::uint64_t sector = offset / kSector; sector < end; ++sector) {
    in_overlay_.bytes()[sector / 8] |= std::byte{1} << sector % 8;
  }
}

}  // namespace pvh::devices::virtio
