// SPDX-License-Identifier: BSD-2-Clause
// A file for a test, gone after it.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>
#include <pvh/base/fd.hpp>

namespace pvh::devices::testing {

class TempFile {
 public:
  explicit TempFile(const std::string& content) {
    path_ = ::testing::TempDir() + "/pvh-disk-XXXXXX";
    const base::Fd fd(::mkstemp(path_.data()));
    EXPECT_TRUE(static_cast<bool>(fd));
    put(content);
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  ~TempFile() { ::unlink(path_.c_str()); }

  [[nodiscard]] const std::string& path() const { return path_; }
  void put(const std::string& content) const {
    const base::Fd fd(::open(path_.c_str(), O_WRONLY | O_TRUNC));
    EXPECT_EQ(::pwrite(fd.get(), content.data(), content.size(), 0),
              static_cast<ssize_t>(content.size()));
  }
  [[nodiscard]] std::string get() const {
    const base::Fd fd(::open(path_.c_str(), O_RDONLY));
    std::string content(static_cast<std::size_t>(::lseek(fd.get(), 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd.get(), content.data(), content.size(), 0),
              static_cast<ssize_t>(content.size()));
    return content;
  }
  void truncate(std::uint64_t size) const {
    EXPECT_EQ(::truncate(path_.c_str(), static_cast<off_t>(size)), 0);
  }

 private:
  std::string path_;
};

}  // namespace pvh::devices::testing
