// SPDX-License-Identifier: BSD-2-Clause
#include "packet.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>

#include "hex.hpp"

namespace pvh::vmm::gdb {
namespace {

using std::string_view_literals::operator""sv;

std::vector<Event> feed(PacketReader& reader, std::string_view text) {
  std::vector<Event> events;
  reader.feed(std::as_bytes(std::span(text)), [&](Event event) { events.push_back(event); });
  return events;
}

std::vector<Event> read(std::string_view text) {
  PacketReader reader;
  return feed(reader, text);
}

std::string payload_of(const std::vector<Event>& events) {
  const bool one = events.size() == 1 && std::holds_alternative<Packet>(events[0]);
  return one ? std::get<Packet>(events[0]).payload : "not one packet";
}

template <typename T>
bool is_one(const std::vector<Event>& events) {
  return events.size() == 1 && std::holds_alternative<T>(events[0]);
}

TEST(PacketReader, TakesAFrameApart) {
  EXPECT_EQ(payload_of(read("$g#67")), "g");
  EXPECT_EQ(payload_of(read("$#00")), "");
  EXPECT_EQ(payload_of(read("$m1000,4#8E")), "m1000,4");
}

TEST(PacketReader, TakesAFrameByteByByte) {
  PacketReader reader;
  std::vector<Event> events;
  for (const char c : "$qC#b4"sv) {
    const auto more = feed(reader, std::string(1, c));
    events.insert(events.end(), more.begin(), more.end());
  }
  EXPECT_EQ(payload_of(events), "qC");
}

TEST(PacketReader, UndoesEscapes) {
  EXPECT_EQ(payload_of(read("$}\x03}\x04}]}\n#62")), "#$}*");
  EXPECT_EQ(payload_of(read("$a}#de")), "a") << "an escape of nothing";
}

TEST(PacketReader, TellsAcknowledgementsAndInterrupts) {
  EXPECT_TRUE(is_one<Acknowledged>(read("+")));
  EXPECT_TRUE(is_one<Refused>(read("-")));
  EXPECT_TRUE(is_one<Interrupt>(read("\x03")));
  EXPECT_EQ(payload_of(read("$X1,1:\x03#23")), "X1,1:\x03") << "within a packet it is data";
  EXPECT_TRUE(read("noise\n\xff"sv).empty());
}

TEST(PacketReader, RefusesAWrongChecksum) {
  EXPECT_TRUE(is_one<BadChecksum>(read("$g#68")));
  EXPECT_TRUE(is_one<BadChecksum>(read("$g#6x")));
  EXPECT_TRUE(is_one<BadChecksum>(read("$g###")));
}

TEST(PacketReader, StartsAnewAtADollar) {
  EXPECT_EQ(payload_of(read("$lost$g#67")), "g");
}

TEST(PacketReader, KeepsNoMoreThanAPacket) {
  const std::string longest(kPacketSize, 'a');
  EXPECT_EQ(payload_of(read(frame(longest))), longest);
  PacketReader reader;
  EXPECT_TRUE(is_one<TooLong>(feed(reader, frame(longest + "a"))));
  EXPECT_TRUE(is_one<TooLong>(feed(reader, frame(std::string(kPacketSize * 64, 'b')))));
  EXPECT_EQ(payload_of(feed(reader, "$g#67")), "g") << "and goes on";
}

TEST(Frame, EscapesWhatItMust) {
  EXPECT_EQ(frame("OK"), "$OK#9a");
  EXPECT_EQ(frame(""), "$#00");
  EXPECT_EQ(frame("#$}*"), "$}\x03}\x04}]}\n#62");
  std::string all;
  for (int c = 0; c < 256; ++c) {
    all.push_back(static_cast<char>(c));
  }
  EXPECT_EQ(payload_of(read(frame(all))), all);
}

TEST(Hex, IsStrict) {
  EXPECT_EQ(to_hex("\x01\xfe"sv), "01fe");
  EXPECT_THAT(from_hex("01Fe"),
              testing::Optional(testing::ElementsAre(std::byte{1}, std::byte{0xfe})));
  EXPECT_EQ(from_hex("0"), std::nullopt);
  EXPECT_EQ(from_hex("0g"), std::nullopt);
  EXPECT_EQ(from_hex("-1"), std::nullopt);
}

TEST(Cursor, TakesNumbersThatFit) {
  Cursor cursor("ffffffffffffffff,10000000000000000");
  EXPECT_EQ(cursor.number(), UINT64_MAX);
  EXPECT_TRUE(cursor.take(','));
  EXPECT_EQ(cursor.number(), std::nullopt) << "65 bits";
  EXPECT_EQ(cursor.rest(), "10000000000000000");
  EXPECT_EQ(Cursor("-1").number(), std::nullopt);
  EXPECT_EQ(Cursor("").number(), std::nullopt);
  EXPECT_EQ(Cursor(" 1").number(), std::nullopt);
}

}  // namespace
}  // namespace pvh::vmm::gdb
