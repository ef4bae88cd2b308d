// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>

#include <gmock/gmock.h>
#include <pvh/vmm/console.hpp>

#include "lib/loader/testing/elf_builder.hpp"

namespace pvh::vmm {
namespace {

const std::atomic<bool> kGoOn = false;

loader::testkit::ByteVector text(std::string_view words) {
  return loader::testkit::to_vector(words);
}

TEST(Console, GivesAFunctionWhatIsPrinted) {
  std::string printed;
  const auto console = Console::open({.kind = ConsoleKind::kFunction,
                                      .write =
                                          [&printed](base::Bytes bytes) {
                                            for (const std::byte byte : bytes) {
                                              printed += std::to_integer<char>(byte);
                                            }
                                          }},
                                     {});
  ASSERT_TRUE(console);
  EXPECT_EQ(console->write(text("hello"), kGoOn), 0);
  EXPECT_EQ(printed, "hello");
  EXPECT_EQ(console->input(), -1);
}

TEST(Console, KeepsDescriptorsOfItsOwn) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  base::Fd read_end(pipe[0]);
  {
    const auto console =
        Console::open({.kind = ConsoleKind::kDescriptors, .input = pipe[0], .output = pipe[1]}, {});
    ASSERT_TRUE(console);
    ::close(pipe[1]);
    EXPECT_EQ(console->write(text("hello"), kGoOn), 0);
    EXPECT_NE(console->input(), pipe[0]);
    std::array<char, 16> read{};
    EXPECT_EQ(::read(console->input(), read.data(), read.size()), 5);
  }
  char byte = 0;
  EXPECT_EQ(::read(read_end.get(), &byte, 1), 0) << "what it had is closed, the caller's is not";
}

TEST(Console, MayHaveNeitherInputNorOutput) {
  const auto console = Console::open({.kind = ConsoleKind::kDescriptors}, {});
  ASSERT_TRUE(console);
  EXPECT_EQ(console->input(), -1);
  EXPECT_EQ(console->write(text("lost"), kGoOn), 0);
}

TEST(Console, RefusesADescriptorThatIsNone) {
  const auto console = Console::open({.kind = ConsoleKind::kDescriptors, .output = 9999}, {});
  ASSERT_FALSE(console);
  EXPECT_EQ(console.error().kind, FailureKind::kHostIo);
  EXPECT_THAT(console.error().text, ::testing::HasSubstr("descriptor 9999"));
}

TEST(Console, TellsWhereItIs) {
  std::string told;
  const auto console = Console::open(
      {.kind = ConsoleKind::kPty},
      [&told](const std::string& subject, const std::string& words) { told = subject + words; });
  ASSERT_TRUE(console);
  EXPECT_THAT(told, ::testing::StartsWith("the console is on /dev/pts/"));
}

}  // namespace
}  // namespace pvh::vmm
