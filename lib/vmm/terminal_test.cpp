// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <pvh/base/fd.hpp>
#include <pvh/vmm/terminal.hpp>

namespace pvh::vmm {
namespace {

EscapeFilter::Result feed(EscapeFilter& filter, std::string_view typed) {
  return filter.feed(std::as_bytes(std::span(typed)));
}

std::string guest_text(const EscapeFilter::Result& result) {
  std::string text;
  for (const std::byte byte : result.for_guest) {
    text.push_back(std::to_integer<char>(byte));
  }
  return text;
}

TEST(EscapeFilter, PassesEverythingElseOn) {
  EscapeFilter filter;
  EXPECT_EQ(guest_text(feed(filter, "ls\r\x03\x1b[A\xff")), "ls\r\x03\x1b[A\xff");
}

TEST(EscapeFilter, CtrlAXQuitsAlsoWhenItComesInTwoPieces) {
  EscapeFilter filter;
  EXPECT_FALSE(feed(filter, "ab\x01").quit);
  EXPECT_TRUE(feed(filter, "x").quit);
  EscapeFilter other;
  const auto result = feed(other, "ab\x01xcd");
  EXPECT_TRUE(result.quit);
  EXPECT_EQ(guest_text(result), "ab");
}

TEST(EscapeFilter, CtrlATwiceSendsOne) {
  EscapeFilter filter;
  const auto result = feed(filter, "\x01\x01x");
  EXPECT_EQ(guest_text(result), "\x01x");
  EXPECT_FALSE(result.quit);
}

TEST(EscapeFilter, HelpIsAskedForAndOtherKeysAreSwallowed) {
  EscapeFilter filter;
  const auto result = feed(filter, "\x01h\x01qz");
  EXPECT_TRUE(result.help);
  EXPECT_EQ(guest_text(result), "z");
}

TEST(RawTerminal, LeavesWhatIsNoTerminalAlone) {
  const base::Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(RawTerminal(null.get()).is_active());
  EXPECT_FALSE(RawTerminal(-1).is_active());
}

TEST(RawTerminal, LeavesATerminalAloneThatIsNotOurs) {
  // A pseudo terminal that is not this process's controlling one: changing it could stop us with
  // SIGTTOU.
  const base::Fd pty(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(pty);
  EXPECT_FALSE(RawTerminal(pty.get()).is_active());
}

}  // namespace
}  // namespace pvh::vmm
