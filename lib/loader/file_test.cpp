// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <pvh/loader/file.hpp>

#include "lib/loader/testing/elf_builder.hpp"

namespace pvh::loader {
namespace {

using base::ByteSize;

class FileTest : public testing::Test {
 public:
  ~FileTest() override { std::filesystem::remove_all(folder_); }

 protected:
  FileTest() {
    std::string name = testing::TempDir() + "pvh-file-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] std::string make(const std::string& name, std::string_view content) const {
    EXPECT_TRUE(testkit::write_file(path(name), testkit::to_vector(content)));
    return path(name);
  }

 private:
  std::filesystem::path folder_;
};

std::string text_of(const File& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST_F(FileTest, HasItsBytesAndMoves) {
  auto file = File::open(make("a", "hello"));
  ASSERT_TRUE(file) << base::to_text(file.error());
  const File moved = std::move(*file);
  EXPECT_EQ(text_of(moved), "hello");
}

TEST_F(FileTest, MayBeEmpty) {
  const auto file = File::open(make("empty", ""));
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->bytes().empty());
  EXPECT_TRUE(File::open("/dev/null"));
}

TEST_F(FileTest, MayBeOneOfProcsThatSayTheyAreEmpty) {
  const auto file = File::open("/proc/self/status");
  ASSERT_TRUE(file);
  EXPECT_THAT(text_of(*file), testing::StartsWith("Name:"));
}

TEST_F(FileTest, TheLimitIsInclusive) {
  EXPECT_TRUE(File::open(make("a", "12345"), ByteSize(5)));
  const auto file = File::open(make("b", "123456"), ByteSize(5));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, FileError::kTooLarge);
  const auto endless = File::open("/dev/zero", ByteSize(1 << 20));
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().code, FileError::kTooLarge);
}

TEST_F(FileTest, APipeIsReadToItsEnd) {
  const std::string fifo = path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const std::string content(3'000'000, 'x');
  std::thread writer([&] { EXPECT_TRUE(testkit::write_file(fifo, testkit::to_vector(content))); });
  const auto file = File::open(fifo);
  writer.join();
  ASSERT_TRUE(file) << base::to_text(file.error());
  EXPECT_EQ(text_of(*file), content);
}

TEST_F(FileTest, MissingOnesAreMissing) {
  const auto missing = File::open(path("nothing"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, FileError::kMissing);
  EXPECT_EQ(base::to_text(missing.error()), "there is no such file");
  EXPECT_EQ(File::open(make("a", "") + "/b").error().code, FileError::kMissing);
  EXPECT_EQ(File::open("").error().code, FileError::kMissing);
}

TEST_F(FileTest, UnreadableOnesSayWhy) {
  ASSERT_EQ(::symlink("loop", path("loop").c_str()), 0);
  const auto file = File::open(path("loop"));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, FileError::kUnreadable);
  EXPECT_EQ(file.error().sys_errno, ELOOP);
}

TEST_F(FileTest, ADirectoryIsRefused) {
  const auto file = File::open(path(""));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, FileError::kDirectory);
}

TEST_F(FileTest, ReadErrorsSayWhy) {
  // The memory of this process, of which nothing is mapped at 0.
  const auto file = File::open("/proc/self/mem");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, FileError::kReadFailed);
  EXPECT_EQ(file.error().sys_errno, EIO);
}

TEST_F(FileTest, EveryCodeHasWords) {
  for (int code = 0; code <= static_cast<int>(FileError::kReadFailed); ++code) {
    EXPECT_NE(explain(static_cast<FileError>(code)).what, "unknown error");
  }
}

}  // namespace
}  // namespace pvh::loader
