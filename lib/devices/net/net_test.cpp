// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pvh/devices/net/mac_address.hpp>
#include <pvh/devices/net/passt.hpp>
#include <pvh/devices/net/tap.hpp>

namespace pvh::devices::net {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using ::testing::Not;

TEST(MacAddressTest, ReadsWhatACardCanHave) {
  EXPECT_EQ(MacAddress::parse("52:54:00:12:34:aB"),
            (MacAddress{{0x52, 0x54, 0x00, 0x12, 0x34, 0xab}}));
  EXPECT_EQ(MacAddress::parse("52:54:00:12:34:ab")->text(), "52:54:00:12:34:ab");
  for (const char* const text :
       {"", "52:54:00:12:34", "52:54:00:12:34:5", "52:54:00:12:34:567", "52-54-00-12-34-56",
        "52:54:00:12:34:5g", "53:54:00:12:34:56", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00",
        "52:54:00:12:34: 6", "+2:54:00:12:34:56", "52:54:00:12:34:56:"}) {
    EXPECT_FALSE(MacAddress::parse(text)) << text;
  }
}

TEST(MacAddressTest, MakesAddressesThatAreOnesOwn) {
  const MacAddress tap0 = MacAddress::of_name("tap0");
  EXPECT_EQ(MacAddress::of_name("tap0"), tap0);
  EXPECT_NE(MacAddress::of_name("tap1"), tap0);
  EXPECT_NE(MacAddress::random(), MacAddress::random());
  for (const MacAddress& mac : {tap0, MacAddress::random()}) {
    EXPECT_EQ(mac.bytes[0] & 3, 2);
    EXPECT_EQ(MacAddress::parse(mac.text()), mac);
  }
}

TEST(PasstTest, TranslatesForwards) {
  const auto arguments = passt_arguments(
      {{Forward::Protocol::kTcp, "", 8080, 80}, {Forward::Protocol::kTcp, "127.0.0.1", 2222, 22}},
      {.ipv4 = true, .ipv6 = true});
  const std::vector<std::string> tail(arguments.end() - 6, arguments.end());
  EXPECT_THAT(tail, ElementsAre("--tcp-ports", "0.0.0.0/8080:80", "--tcp-ports",
                                "127.0.0.1/2222:22", "--udp-ports", "none"));
  EXPECT_THAT(arguments, Not(Contains("lo")));
  const auto udp = passt_arguments({{Forward::Protocol::kUdp, "10.1.2.3", 53, 5353}}, {});
  EXPECT_THAT(udp, AllOf(Contains("10.1.2.3/53:5353"), Contains("lo"), Not(Contains("none"))));
}

// Programs that play passt.
struct FakePasstTest : ::testing::Test {
  FakePasstTest() {
    std::string name = ::testing::TempDir() + "pvh-passt-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
  }
  ~FakePasstTest() override { std::filesystem::remove_all(folder); }

  PasstEnd::Options program(const std::string& text) {
    const std::string path = folder + "/passt";
    std::ofstream(path) << "#!/bin/sh\n" << text;
    ::chmod(path.c_str(), 0755);
    return {.forwards = {}, .program = path};
  }

  std::string folder;
};

std::string text_of(const std::expected<std::unique_ptr<PasstEnd>, NetFault>& result) {
  return result ? "none" : base::to_text(result.error());
}

TEST_F(FakePasstTest, SaysWhyItDidNotStart) {
  EXPECT_EQ(text_of(PasstEnd::start(program("echo No luck >&2; echo Failed to send 9 bytes to "
                                            "syslog >&2; exit 3"))),
            "passt could not start the network (it ended with status 3: No luck)");
  EXPECT_THAT(text_of(PasstEnd::start({.forwards = {}, .program = folder + "/none"})),
              HasSubstr("status 127"));
  auto slow = program("exec sleep 100");
  slow.patience = 50;
  EXPECT_THAT(text_of(PasstEnd::start(slow)), HasSubstr("killed by signal 9"));
}

TEST_F(FakePasstTest, IsGivenNothingOfOursAndSaysWhyItEnded) {
  // It ends when it has heard a frame.
  const auto end = PasstEnd::start(
      program("echo a warning >&2; echo $$; head -c 18 <&3 >/dev/null; ls -l /proc/self/fd >&2; "
              "env >&2; exit 5"));
  ASSERT_TRUE(end) << text_of(end);
  std::array<char, 14> bytes{};
  const iovec frame{bytes.data(), bytes.size()};
  ASSERT_TRUE((*end)->send({&frame, 1}));
  pollfd hangs_up{(*end)->descriptor(), 0, 0};
  ASSERT_EQ(::poll(&hangs_up, 1, 5000), 1);
  (*end)->cut();
  const std::string words = (*end)->last_words();
  EXPECT_THAT(words, HasSubstr("passt: it ended with status 5: "));
  EXPECT_THAT(words, HasSubstr(" 3 -> socket:"));
  EXPECT_THAT(words, Not(HasSubstr(" 5 -> ")));  // 4 is the folder that ls looks at
  EXPECT_THAT(words, Not(HasSubstr("HOME=")));
  EXPECT_THAT(words, Not(HasSubstr("warning")));
  EXPECT_EQ((*end)->pid(), -1);
}

TEST_F(FakePasstTest, EndsWithItsEnd) {
  pid_t pid = -1;
  {
    const auto end = PasstEnd::start(program("echo $$; exec sleep 100"));
    ASSERT_TRUE(end) << text_of(end);
    pid = (*end)->pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST_F(FakePasstTest, IsNotStoppedByNobodyReadingItsWords) {
  const auto end = PasstEnd::start(
      program("yes words of passt 2>&1 | head -c 1000000 >&2; echo $$; exec cat <&3 >&2"));
  ASSERT_TRUE(end) << text_of(end);
  (*end)->cut();
  EXPECT_LT((*end)->last_words().size(), 700u);
}

TEST_F(FakePasstTest, SaysThatAPortIsNotFree) {
  const base::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(socket.get(), generic, size), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  ASSERT_EQ(::getsockname(socket.get(), generic, &size), 0);
  const std::uint16_t port = ::ntohs(address.sin_port);
  auto options = program("echo $$; exec sleep 100");
  for (const char* const host : {"127.0.0.1", ""}) {
    options.forwards = {{Forward::Protocol::kTcp, host, port, 80}};
    const std::string text = text_of(PasstEnd::start(options));
    EXPECT_THAT(text, AllOf(HasSubstr(std::to_string(port)), HasSubstr("Address already in use")));
  }
  options.forwards = {{Forward::Protocol::kUdp, "192.0.2.77", port, 80}};
  EXPECT_THAT(text_of(PasstEnd::start(options)), HasSubstr("Cannot assign"));
  options.forwards = {{Forward::Protocol::kUdp, "127.0.0.1", port, 80}};
  EXPECT_TRUE(PasstEnd::start(options));
}

// passt itself: it answers to who asks for its address.
TEST(PasstTest, SpeaksWithTheRealOne) {
  const auto end = PasstEnd::start({});
  if (!end && end.error().code == NetError::kNoPasst) {
    GTEST_SKIP() << "no passt";
  }
  ASSERT_TRUE(end) << text_of(end);
  // ARP: who has 10.0.2.2?
  std::string arp(
      "\xff\xff\xff\xff\xff\xff\x52\x54\x00\x12\x34\x56\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01"
      "\x52\x54\x00\x12\x34\x56\x0a\x00\x02\x0f\x00\x00\x00\x00\x00\x00\x0a\x00\x02\x02",
      42);
  const iovec frame{arp.data(), arp.size()};
  ASSERT_TRUE((*end)->send({&frame, 1}));
  pollfd answer{(*end)->descriptor(), POLLIN, 0};
  base::Bytes got;
  while (got.empty()) {  // the length may come alone
    ASSERT_EQ(::poll(&answer, 1, 5000), 1);
    got = (*end)->peek();
  }
  ASSERT_GE(got.size(), 42u);
  EXPECT_EQ(std::to_integer<int>(got[21]), 2);  // a reply
  EXPECT_EQ(std::to_integer<int>(got[6]), 0x52);
  EXPECT_EQ(std::to_integer<int>(got[7]), 0x55);
  (*end)->pop();
  ::kill((*end)->pid(), SIGKILL);
  ASSERT_EQ(::poll(&answer, 1, 5000), 1);
  EXPECT_TRUE((*end)->peek().empty());
  EXPECT_TRUE((*end)->down());
  EXPECT_EQ((*end)->last_words(), "passt: it was killed by signal 9");
}

TEST(TapTest, SaysWhyThereIsNone) {
  const auto none = TapEnd::open("pvh-none0");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, NetError::kNoTap);
  EXPECT_EQ(TapEnd::open("a name that is too long").error().code, NetError::kNoTap);
  if (const auto lo = TapEnd::open("lo"); !lo) {
    EXPECT_THAT((std::vector{lo.error().code}),
                IsSubsetOf({NetError::kNoTun, NetError::kTapRefused, NetError::kTapNotOurs}));
  } else {
    ADD_FAILURE() << "lo is no TAP";
  }
}

TEST(TapTest, CarriesWholeFrames) {
  // A socket of whole messages stands for the queue of a TAP.
  std::array<int, 2> sockets{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets.data()),
            0);
  base::Fd network(sockets[1]);
  TapEnd tap(base::Fd(sockets[0]), "tap7");
  EXPECT_TRUE(tap.peek().empty());
  const std::string frame(2000, 'x');
  ASSERT_EQ(::write(network.get(), "short", 5), 5);
  ASSERT_EQ(::write(network.get(), frame.data(), frame.size()), 2000);
  EXPECT_EQ(tap.peek().size(), 2000u);
  EXPECT_EQ(tap.peek().size(), 2000u);
  tap.pop();
  EXPECT_TRUE(tap.peek().empty());
  std::string sent = frame;
  const std::array<iovec, 2> pieces{iovec{sent.data(), 1}, iovec{sent.data() + 1, 1999}};
  int frames = 0;
  while (tap.send(pieces)) {
    ASSERT_LT(++frames, 100'000);
  }
  EXPECT_GT(frames, 10);
  std::string got(3000, '\0');
  EXPECT_EQ(::read(network.get(), got.data(), got.size()), 2000);
  EXPECT_TRUE(tap.send(pieces));
  network.reset();
  EXPECT_TRUE(tap.peek().empty());
  EXPECT_TRUE(tap.down());
  EXPECT_EQ(tap.last_words(), "the TAP interface tap7 is gone");
}

}  // namespace
}  // namespace pvh::devices::net
