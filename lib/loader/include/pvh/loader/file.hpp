// SPDX-License-Identifier: BSD-2-Clause
// A kernel, initrd or module as a file: all of its bytes, for as long as the File lives.
//
// A regular file is mapped, not read: opening costs the same for any size, and pages that nobody
// looks at are never fetched. Do not shorten it meanwhile; the process would get SIGBUS, as with
// every mapped file. Anything else that can be read (a pipe, a FIFO, a device, a file in /proc) is
// read to its end into memory.
#pragma once

#include <expected>
#include <string>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/base/mapping.hpp>

namespace pvh::loader {

enum class FileError {
  kMissing,     // no such file
  kUnreadable,  // it is there, but cannot be opened
  kDirectory,   // there is nothing to read in it
  kTooLarge,    // more than the limit
  kReadFailed   // it was opened, then reading failed
};

[[nodiscard]] base::Explanation explain(FileError code);

using FileFault = base::Fault<FileError>;

class File {
 public:
  static constexpr base::ByteSize kDefaultLimit{std::uint64_t{4} << 30};
  // Of what has to be read into memory: a pipe need not have an end.
  static constexpr base::ByteSize kStreamLimit{std::uint64_t{1} << 30};

  // `path` is a path and nothing else ("-" is a file of that name). Waits for the writer of a pipe.
  [[nodiscard]] static std::expected<File, FileFault> open(const std::string& path,
                                                           base::ByteSize limit = kDefaultLimit);

  [[nodiscard]] base::Bytes bytes() const { return mapping_.bytes(); }

 private:
  explicit File(base::Mapping mapping) : mapping_(std::move(mapping)) {}

  base::Mapping mapping_;
};

}  // namespace pvh::loader
