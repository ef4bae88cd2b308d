// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/checked.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/base/try.hpp>
#include <pvh/loader/file.hpp>

#include "buffer.hpp"

namespace pvh::loader {
namespace {

std::unexpected<FileFault> fault(FileError code, int sys_errno = 0, std::string detail = {}) {
  return std::unexpected(FileFault{code, std::move(detail), std::nullopt, sys_errno});
}

std::unexpected<FileFault> too_large(base::ByteSize limit) {
  return fault(FileError::kTooLarge, 0, fmt::format("more than {} bytes", limit.value()));
}

std::expected<base::Mapping, FileFault> read_to_end(const base::Fd& fd, base::ByteSize limit) {
  Buffer out(limit.value(), 0);
  for (;;) {
    const auto room = out.room();
    if (!room) {
      return room.error() == EFBIG ? too_large(limit) : fault(FileError::kReadFailed, room.error());
    }
    const ssize_t count = ::read(fd.get(), room->data(), room->size());
    if (count == 0) {
      return out.take();
    }
    if (count > 0) {
      out.commit(static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      return fault(FileError::kReadFailed, errno);
    }
  }
}

}  // namespace

base::Explanation explain(FileError code) {
  switch (code) {
    case FileError::kMissing:
      return {"there is no such file", ""};
    case FileError::kUnreadable:
      return {"the file cannot be opened", ""};
    case FileError::kDirectory:
      return {"it is a directory", "name a file in it"};
    case FileError::kTooLarge:
      return {"the file is too large", ""};
    case FileError::kReadFailed:
      return {"the file cannot be read", ""};
  }
  return {"unknown error", ""};
}

std::expected<File, FileFault> File::open(const std::string& path, base::ByteSize limit) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) {
    const int error = errno;
    const bool is_missing = error == ENOENT || error == ENOTDIR;
    // "There is no such file" needs no second sentence from the kernel.
    return is_missing ? fault(FileError::kMissing) : fault(FileError::kUnreadable, error);
  }
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) {
    return fault(FileError::kReadFailed, errno);
  }
  if (S_ISDIR(status.st_mode)) {
    return fault(FileError::kDirectory);
  }
  const auto size = base::narrow<std::size_t>(status.st_size);
  // A file in /proc says that its size is 0, and has content.
  if (S_ISREG(status.st_mode) && size && *size != 0) {
    if (*size > limit.value()) {
      return too_large(limit);
    }
    void* const mapped = ::mmap(nullptr, *size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (mapped != MAP_FAILED) {
      return File(base::Mapping(static_cast<std::byte*>(mapped), *size));
    }
    // Some file systems cannot map; they can still be read.
  }
  return File(TRY(read_to_end(fd, std::min(limit, kStreamLimit))));
}

}  // namespace pvh::loader
