// SPDX-License-Identifier: BSD-2-Clause
#include "output.hpp"

#include <gmock/gmock.h>

namespace pvh::cli {
namespace {

TEST(Printable, LetsNoControlCharacterThrough) {
  EXPECT_EQ(printable("plain text, \n two lines"), "plain text, \n two lines");
  EXPECT_EQ(printable("\x1b[2J\r\x7f"), "\\x1b[2J\\x0d\\x7f");
}

TEST(Complain, IsOneLineOnStderrWithItsSubject) {
  testing::internal::CaptureStderr();
  complain("k.elf", "is broken");
  complain("", "alone");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "pvh: k.elf: is broken\npvh: alone\n");
}

}  // namespace
}  // namespace pvh::cli
