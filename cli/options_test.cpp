// SPDX-License-Identifier: BSD-2-Clause
#include "options.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace pvh::cli {
namespace {

using testing::HasSubstr;

std::uint64_t bytes(std::string_view text) {
  return parse_size(text).value().value();
}

TEST(Size, HasUnitsOf1024AndABareNumberIsMiB) {
  EXPECT_EQ(bytes("512M"), 512u << 20);
  EXPECT_EQ(bytes("512"), 512u << 20);
  EXPECT_EQ(bytes("4g"), std::uint64_t{4} << 30);
  EXPECT_EQ(bytes("100K"), 100u << 10);
  EXPECT_EQ(bytes("1T"), std::uint64_t{1} << 40);
  EXPECT_EQ(bytes("2GiB"), std::uint64_t{2} << 30);
  EXPECT_EQ(bytes("2GB"), std::uint64_t{2} << 30);
}

TEST(Size, RefusesWhatIsNone) {
  for (const auto* const text :
       {"", "M", "-1", "12Q", "1Z", "1.5G", "0x10M", " 1M", "1M ", "1MM", "1iB", "B", "1B"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
  EXPECT_THAT(parse_size("0").error(), HasSubstr("none"));
  EXPECT_THAT(parse_size("0G").error(), HasSubstr("none"));
  EXPECT_THAT(parse_size("99999999T").error(), HasSubstr("more than"));
  EXPECT_THAT(parse_size("99999999999999999999999").error(), HasSubstr("more than"));
}

TEST(Seconds, MayHaveAFraction) {
  EXPECT_EQ(parse_seconds("1.5"), std::chrono::milliseconds(1500));
  EXPECT_EQ(parse_seconds("20"), std::chrono::seconds(20));
  EXPECT_EQ(parse_seconds("0.000000001"), std::chrono::nanoseconds(1));
  // The last is more than 0, but not by a nanosecond: it would be no time at all.
  for (const auto* const text :
       {"", "0", "-1", "1s", "nan", "inf", "1e99", "x", "1000000000000", "0.0000000001"}) {
    EXPECT_FALSE(parse_seconds(text)) << text;
  }
}

TEST(Module, HasACommandLineThatMayHoldCommas) {
  const auto plain = parse_module("a,b.img");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->path, "a,b.img");
  EXPECT_EQ(plain->command_line, "");
  const auto full = parse_module("x.img,cmdline=a,b cmdline=c");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->path, "x.img");
  EXPECT_EQ(full->command_line, "a,b cmdline=c");
  EXPECT_FALSE(parse_module(""));
  EXPECT_FALSE(parse_module(",cmdline=x"));
}

TEST(Disk, IsAFileAndWhatItMayDo) {
  const auto plain = parse_disk("a=b.img");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->file.path, "a=b.img");
  EXPECT_FALSE(plain->file.read_only);
  EXPECT_FALSE(plain->file.snapshot);
  EXPECT_EQ(plain->id, "");
  EXPECT_EQ(plain->limits, devices::RateLimits{});
  const auto full = parse_disk("x,,y.img,snapshot,id=a,,b=c,bw=10M,iops=500");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->file.path, "x,y.img");
  EXPECT_TRUE(full->file.snapshot);
  EXPECT_EQ(full->id, "a,b=c");
  EXPECT_EQ(full->limits, (devices::RateLimits{10u << 20, 500}));
  EXPECT_TRUE(parse_disk("x,ro")->file.read_only);
  EXPECT_EQ(parse_disk("x,bw=1")->limits.bytes_per_second, 1u);
}

TEST(Disk, RefusesWhatItDoesNotKnow) {
  for (const auto* const text :
       {"", ",ro", "x,", "x,rw", "x,ro=1", "x,id=", "x,id", "x,bw=", "x,bw=0", "x,bw=-1", "x,bw=1Z",
        "x,bw=99999999T", "x,iops=1.5", "x,iops", "x,ro,snapshot", "x,id=123456789012345678901"}) {
    EXPECT_FALSE(parse_disk(text)) << text;
  }
  EXPECT_THAT(parse_disk("x,rw").error(), HasSubstr("\"rw\" is none of"));
}

TEST(VsockOption, NamesAnAddressAndAPath) {
  const auto full = parse_vsock("cid=42,uds=/tmp/a,b");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->cid, 42u);
  EXPECT_EQ(full->path, "/tmp/a,b");
  EXPECT_TRUE(parse_vsock("cid=4294967294,uds=x"));
  for (const auto* const text :
       {"", "cid=3", "uds=/tmp/x", "cid=3,uds=", "cid=,uds=x", "cid=2,uds=x", "cid=x,uds=y",
        "cid=4294967295,uds=x", "cid=3x,uds=y", "3,uds=x", "cid=3,path=x"}) {
    EXPECT_FALSE(parse_vsock(text)) << text;
  }
}

TEST(BalloonOption, MayNameASocket) {
  EXPECT_EQ(parse_balloon("true")->control, "");
  EXPECT_EQ(parse_balloon("uds=/tmp/a=b,c")->control, "/tmp/a=b,c");
  for (const auto* const text : {"", "false", "uds", "uds=", "/tmp/a", "512M"}) {
    EXPECT_FALSE(parse_balloon(text)) << text;
  }
}

TEST(ConsoleOption, NamesAPlace) {
  EXPECT_EQ(parse_console("stdio")->kind, vmm::ConsoleKind::kStdio);
  EXPECT_EQ(parse_console("none")->kind, vmm::ConsoleKind::kNone);
  EXPECT_EQ(parse_console("pty")->kind, vmm::ConsoleKind::kPty);
  const auto file = parse_console("file=/tmp/x=y");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->kind, vmm::ConsoleKind::kFile);
  EXPECT_EQ(file->path, "/tmp/x=y");
  EXPECT_EQ(parse_console("uds=s")->kind, vmm::ConsoleKind::kUnixSocket);
  for (const auto* const text : {"", "file", "file=", "stdio=x", "vga", "uds="}) {
    EXPECT_FALSE(parse_console(text)) << text;
  }
}

TEST(ParseGdbAddress, TakesTcpAndUnix) {
  const auto place = [](std::string_view text) {
    const auto parsed = parse_gdb_address(text);
    return parsed ? fmt::format("{}|{}|{}", parsed->path, parsed->host, parsed->port) : "refused";
  };
  EXPECT_EQ(place("1234"), "|127.0.0.1|1234");
  EXPECT_EQ(place(":1234"), "|127.0.0.1|1234");
  EXPECT_EQ(place("localhost:0"), "|127.0.0.1|0");
  EXPECT_EQ(place("0.0.0.0:65535"), "|0.0.0.0|65535");
  EXPECT_EQ(place("tcp:10.0.0.1:99"), "|10.0.0.1|99");
  EXPECT_EQ(place("[::1]:1234"), "|::1|1234");
  EXPECT_EQ(place("unix:/run/gdb.sock"), "/run/gdb.sock|127.0.0.1|0");
  for (const char* const text : {"", ":", "tcp:", "unix:", "12a", "-1", "65536", "1234 ",
                                 "host:", "::1:1234", "tcp:1:2:3", "0x10"}) {
    EXPECT_EQ(place(text), "refused") << text;
  }
}

TEST(NetOption, IsAUserNetworkOrATap) {
  using devices::net::Forward;
  EXPECT_EQ(parse_net("user"), vmm::NetOption{});
  EXPECT_EQ(parse_net("tap=tap0")->tap, "tap0");
  EXPECT_EQ(parse_net("tap=tap0,bw=10M")->bytes_per_second, 10u << 20);
  EXPECT_EQ(parse_net("user,bw=1500")->bytes_per_second, 1500u);
  const auto full =
      parse_net("user,hostfwd=tcp:127.0.0.1:8080-80,mac=52:54:00:12:34:56,hostfwd=udp::53-:5353");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->forwards, (std::vector<Forward>{{Forward::Protocol::kTcp, "127.0.0.1", 8080, 80},
                                                  {Forward::Protocol::kUdp, "", 53, 5353}}));
  EXPECT_EQ(full->mac->text(), "52:54:00:12:34:56");
  EXPECT_EQ(parse_net("tap=a,mac=02:00:00:00:00:01")->mac->text(), "02:00:00:00:00:01");
}

TEST(NetOption, RefusesWhatIsNone) {
  for (const auto* const text : {"",
                                 "users",
                                 "tap",
                                 "tap=",
                                 "bridge",
                                 "user=x",
                                 "user,,mac=02:00:00:00:00:01",
                                 "user,mac",
                                 "user,mac=",
                                 "user,mac=01:00:00:00:00:01",
                                 "user,hostfwd",
                                 "user,hostfwd=8080-80",
                                 "user,hostfwd=tcp:8080-80",
                                 "user,hostfwd=sctp::1-2",
                                 "user,hostfwd=tcp:localhost:1-2",
                                 "user,hostfwd=tcp::0-2",
                                 "user,hostfwd=tcp::1-",
                                 "user,hostfwd=tcp::1",
                                 "user,hostfwd=tcp::65536-1",
                                 "user,hostfwd=tcp::1-10.0.2.15:2",
                                 "user,hostfwd=tcp::-1-2",
                                 "tap=tap0,hostfwd=tcp::1-2",
                                 "user,bw=0",
                                 "user,bw=fast",
                                 "user,what=1"}) {
    EXPECT_FALSE(parse_net(text)) << text;
  }
  EXPECT_THAT(parse_net("user,hostfwd=x").error(), HasSubstr("tcp:HOST:PORT-GUESTPORT"));
  EXPECT_THAT(parse_net("tap=t,hostfwd=tcp::1-2").error(), HasSubstr("network tap has"));
}

}  // namespace
}  // namespace pvh::cli
