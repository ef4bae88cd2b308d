// SPDX-License-Identifier: BSD-2-Clause
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pvh/guest/command_line.hpp>

namespace pvh::guest {
namespace {

using Words = std::vector<std::pair<std::string, std::optional<std::string>>>;

Words words_of(std::string_view text) {
  Words words;
  CommandLine line(text);
  while (const auto argument = line.next()) {
    words.emplace_back(argument->name, argument->value);
  }
  EXPECT_FALSE(line.next());
  return words;
}

TEST(CommandLine, SplitsAtBlanks) {
  EXPECT_EQ(words_of(""), Words{});
  EXPECT_EQ(words_of(" \t\r\n "), Words{});
  EXPECT_EQ(words_of("a"), (Words{{"a", {}}}));
  EXPECT_EQ(words_of("  a\tb=c \n d=\r=e"), (Words{{"a", {}}, {"b", "c"}, {"d", ""}, {"", "e"}}));
  EXPECT_EQ(words_of("a=b=c"), (Words{{"a", "b=c"}}));
  EXPECT_EQ(words_of("\xff=\x80\xfe"), (Words{{"\xff", "\x80\xfe"}}));
}

TEST(CommandLine, TakesQuotesOff) {
  EXPECT_EQ(words_of("\"a b\" c"), (Words{{"a b", {}}, {"c", {}}}));
  EXPECT_EQ(words_of("k=\"a b\" c"), (Words{{"k", "a b"}, {"c", {}}}));
  EXPECT_EQ(words_of("\"k=a b\" c"), (Words{{"k", "a b"}, {"c", {}}}));
  EXPECT_EQ(words_of("k=\"\""), (Words{{"k", ""}}));
  EXPECT_EQ(words_of("\"\""), (Words{{"", {}}}));
}

TEST(CommandLine, EndsAnOpenQuoteWithTheText) {
  EXPECT_EQ(words_of("k=\"a b"), (Words{{"k", "a b"}}));
  EXPECT_EQ(words_of("\"a b "), (Words{{"a b ", {}}}));
  EXPECT_EQ(words_of("\""), (Words{{"", {}}}));
  EXPECT_EQ(words_of("k=\""), (Words{{"k", ""}}));
}

TEST(CommandLine, LeavesToOthersWhatFollowsTwoDashes) {
  CommandLine line("a --  init -x b=1 ");
  EXPECT_EQ(line.next()->name, "a");
  EXPECT_FALSE(line.next());
  EXPECT_EQ(line.rest(), "init -x b=1 ");
  EXPECT_FALSE(line.next());
  EXPECT_EQ(line.rest(), "init -x b=1 ");
  EXPECT_EQ(words_of("--a a-- \"--\" ---"),
            (Words{{"--a", {}}, {"a--", {}}, {"--", {}}, {"---", {}}}));
  EXPECT_EQ(words_of("--"), Words{});
}

TEST(FindArgument, GivesTheLastOfThatName) {
  constexpr std::string_view kLine = "a=1 A=2 a=3 ab=4 quiet -- a=5";
  EXPECT_EQ(find_argument(kLine, "a")->value, "3");
  EXPECT_EQ(find_argument(kLine, "A")->value, "2");
  EXPECT_TRUE(find_argument(kLine, "quiet"));
  EXPECT_FALSE(find_argument(kLine, "quiet")->value);
  EXPECT_FALSE(find_argument(kLine, "b"));
  EXPECT_FALSE(find_argument("", ""));
}

TEST(ParseNumber, KnowsBasesAndUnits) {
  const std::vector<std::pair<std::string_view, std::optional<std::uint64_t>>> kRows{
      {"0", 0},
      {"1", 1},
      {"010", 8},
      {"0x10", 16},
      {"0XfF", 255},
      {"4K", 4096},
      {"4k", 4096},
      {"0x4M", 4ul << 20},
      {"01G", 1ul << 30},
      {"2t", 2ul << 40},
      {"0K", 0},
      {"18446744073709551615", UINT64_MAX},
      {"0xffffffffffffffff", UINT64_MAX},
      {"18014398509481983K", UINT64_MAX - 1023},
      {"18446744073709551616", {}},
      {"0x10000000000000000", {}},
      {"18014398509481984K", {}},
      {"", {}},
      {"K", {}},
      {"0x", {}},
      {"0xK", {}},
      {"08", {}},
      {"0b1", {}},
      {"a", {}},
      {"0xg", {}},
      {"-1", {}},
      {"+1", {}},
      {" 1", {}},
      {"1 ", {}},
      {"1KK", {}},
      {"1E", {}},
      {"1\x0b", {}},
  };
  for (const auto& [text, expected] : kRows) {
    EXPECT_EQ(parse_number(text), expected) << text;
  }
}

TEST(ParseVirtioMmio, KnowsFirecrackersAndMicrovmsForm) {
  EXPECT_EQ(parse_virtio_mmio("4K@0xd0000000:5"),
            (VirtioMmioDevice{.base = 0xd0000000, .size = 4096, .irq = 5, .id = {}}));
  EXPECT_EQ(parse_virtio_mmio("512@0xfeb00e00:12"),
            (VirtioMmioDevice{.base = 0xfeb00e00, .size = 512, .irq = 12, .id = {}}));
  EXPECT_EQ(parse_virtio_mmio("0x200@4096:4294967295:7"),
            (VirtioMmioDevice{.base = 4096, .size = 512, .irq = UINT32_MAX, .id = 7}));
  EXPECT_EQ(parse_virtio_mmio("1@0xffffffffffffffff:1:-1"),
            (VirtioMmioDevice{.base = UINT64_MAX, .size = 1, .irq = 1, .id = -1}));
  EXPECT_EQ(parse_virtio_mmio("1@0:1:2147483647")->id, INT32_MAX);
  EXPECT_EQ(parse_virtio_mmio("1@0:1:-2147483648")->id, INT32_MIN);
  for (const std::string_view wrong :
       {"", "4K", "4K@", "4K@0xd0000000", "4K@0xd0000000:", "@0xd0000000:5", "4K@:5",
        "4K@0xd:5:", "4K@0xd:5:1:", "4K@0xd:5x", "4K@0xd:4294967296", "4K@0xd:-1",
        "4K@0xd:5:2147483648", "4K@0xd:5:-2147483649", "0@0xd0000000:5", "2@0xffffffffffffffff:5",
        "4K:0xd0000000@5", "4K@0xd:5:-", "4K@0xd:1K"}) {
    EXPECT_FALSE(parse_virtio_mmio(wrong)) << wrong;
  }
}

// Any text of the characters that matter, exactly as long as its storage.
TEST(CommandLineProperty, StaysInsideTheTextAndEnds) {
  constexpr std::string_view kCharacters = "\"\"= -a0xK@:1\t\xff";
  std::mt19937 random(1);
  for (int turn = 0; turn < 20000; ++turn) {
    const std::size_t length = random() % 24;
    const auto storage = std::make_unique<char[]>(length);
    for (std::size_t i = 0; i < length; ++i) {
      storage[i] = kCharacters[random() % kCharacters.size()];
    }
    const std::string_view text(storage.get(), length);
    const auto inside = [&](std::string_view part) {
      return part.empty() ||
             (part.data() >= text.data() && part.data() + part.size() <= text.data() + length);
    };
    CommandLine line(text);
    std::size_t words = 0;
    while (const auto argument = line.next()) {
      ASSERT_LE(++words, length);
      ASSERT_TRUE(inside(argument->name) && inside(argument->value.value_or("")));
      // It is found, under its name.
      ASSERT_EQ(find_argument(text, argument->name)->name, argument->name);
    }
    ASSERT_TRUE(inside(line.rest()));
    static_cast<void>(parse_number(text));
    static_cast<void>(parse_virtio_mmio(text));
  }
}

}  // namespace
}  // namespace pvh::guest
