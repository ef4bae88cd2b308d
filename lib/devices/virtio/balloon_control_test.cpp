// SPDX-License-Identifier: BSD-2-Clause
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/virtio_balloon.hpp>
#include <pvh/devices/virtio/balloon_control.hpp>

#include "lib/devices/testing/virtio_driver.hpp"

namespace pvh::devices::virtio {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr base::ByteSize kMemory{std::uint64_t{256} << 20};
constexpr std::string_view kNothing = "{\"target_bytes\":0,\"actual_bytes\":0}\n";

struct BalloonControlTest : ::testing::Test {
  void SetUp() override {
    std::string name = ::testing::TempDir() + "balloon-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
    path = name + "/b";
    control = *BalloonControl::create(*loop, balloon, kMemory, path);
  }
  void TearDown() override {
    control.reset();
    std::filesystem::remove_all(folder);
  }
  base::Fd connect() {
    base::Fd fd = unix_socket();
    EXPECT_EQ(connect_to(fd, *unix_address(path)), 0);
    settle();
    return fd;
  }
  void settle() {
    for (int i = 0; i < 32; ++i) {
      loop->run_once(0);
    }
  }
  static bool say(const base::Fd& fd, std::string_view text) {
    return ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }
  // What came, and "<end>" when that is all that will.
  std::string read(const base::Fd& fd) {
    settle();
    std::string text(4096, '\0');
    const ssize_t got = ::recv(fd.get(), text.data(), text.size(), MSG_DONTWAIT);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return got == 0 || (got < 0 && errno == ECONNRESET) ? "<end>" : text;
  }
  std::string ask(std::string_view text) {
    const base::Fd fd = connect();
    EXPECT_TRUE(say(fd, text));
    return read(fd);
  }

  std::string folder;
  std::string path;
  std::unique_ptr<EventLoop> loop = EventLoop::create();
  Balloon balloon;
  std::unique_ptr<BalloonControl> control;
};

TEST_F(BalloonControlTest, SetsWhatTheDriverIsAskedFor) {
  testing::Driver driver(balloon, *loop);
  ASSERT_TRUE(driver.negotiate(0));
  driver.add_queue(0);
  driver.add_queue(1);
  driver.start();
  EXPECT_EQ(ask("100M\n"), "{\"target_bytes\":104857600,\"actual_bytes\":0}\n");
  EXPECT_EQ(driver.interrupt(), abi::VIRTIO_MMIO_INT_CONFIG);
  EXPECT_EQ(driver.config<base::Le32>(0).get(), 25600u);
  driver.write(abi::VIRTIO_MMIO_CONFIG + 4, 7);
  EXPECT_EQ(ask("?\n"), "{\"target_bytes\":104857600,\"actual_bytes\":28672}\n");
  EXPECT_EQ(ask("0\n"), "{\"target_bytes\":0,\"actual_bytes\":28672}\n");
  EXPECT_EQ(driver.config<base::Le32>(0).get(), 0u);
}

TEST_F(BalloonControlTest, AnswersEachLineHoweverItComes) {
  const base::Fd fd = connect();
  EXPECT_TRUE(say(fd, "25"));
  EXPECT_EQ(read(fd), "");
  EXPECT_TRUE(say(fd, "6 \r\n\n 1K\n"));  // all of it, in MiB as --memory has it
  EXPECT_EQ(read(fd),
            "{\"target_bytes\":268435456,\"actual_bytes\":0}\n"
            "{\"target_bytes\":268435456,\"actual_bytes\":0}\n" +
                std::string(kNothing));
  EXPECT_TRUE(say(fd, "8K"));
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(read(fd), "{\"target_bytes\":8192,\"actual_bytes\":0}\n");
  EXPECT_EQ(read(fd), "<end>");
}

TEST_F(BalloonControlTest, RefusesWhatIsNoSizeOrTooMuchAndGoesOn) {
  const base::Fd fd = connect();
  for (const std::string_view text : {"much\n", "-1\n", "1X\n", "\"\n", "0x10\n"}) {
    EXPECT_TRUE(say(fd, text));
    EXPECT_THAT(read(fd), StartsWith("{\"error\":\"this is not a size")) << text;
  }
  for (const std::string_view text : {"257M\n", "99999999T\n", "18446744073709551616K\n"}) {
    EXPECT_TRUE(say(fd, text));
    EXPECT_THAT(read(fd), HasSubstr("the guest has 268435456 bytes")) << text;
  }
  EXPECT_TRUE(say(fd, "?\n"));
  EXPECT_EQ(read(fd), kNothing) << "none of it was asked for";
}

TEST_F(BalloonControlTest, HangsUpOnALineWithoutEnd) {
  const base::Fd fd = connect();
  EXPECT_TRUE(say(fd, std::string(BalloonControl::kLongestLine + 1, '1')));
  EXPECT_EQ(read(fd), "{\"error\":\"the line is too long\"}\n");
  EXPECT_EQ(read(fd), "<end>");
  EXPECT_EQ(ask(std::string(BalloonControl::kLongestLine - 1, ' ') + "?\n"), kNothing);
}

TEST_F(BalloonControlTest, HasSoManyClientsAndNoMore) {
  std::vector<base::Fd> clients;
  for (std::size_t i = 0; i < BalloonControl::kMostClients; ++i) {
    clients.push_back(connect());
  }
  const base::Fd one_more = connect();
  EXPECT_EQ(read(one_more), "<end>");
  for (const base::Fd& client : clients) {
    EXPECT_TRUE(say(client, "\n"));
    EXPECT_EQ(read(client), kNothing);
  }
  clients.clear();
  settle();
  EXPECT_EQ(ask("\n"), kNothing) << "those that went made room";
}

TEST_F(BalloonControlTest, AClientThatReadsNoAnswersGoes) {
  const base::Fd fd = connect();
  const int small = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
  const std::string many(512, '\n');
  bool gone = false;
  for (int i = 0; i < 10000 && !gone; ++i) {
    gone = ::send(fd.get(), many.data(), many.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
           errno == EPIPE;
    settle();
  }
  EXPECT_TRUE(gone);
  EXPECT_EQ(ask("\n"), kNothing);
}

TEST_F(BalloonControlTest, TakesAStaleNameAndLeavesAFile) {
  EXPECT_EQ(BalloonControl::create(*loop, balloon, kMemory, path).error().code,
            UnixSocketError::kInUse);
  const std::string file = folder + "/file";
  std::ofstream(file) << "somebody's";
  EXPECT_EQ(BalloonControl::create(*loop, balloon, kMemory, file).error().code,
            UnixSocketError::kNotASocket);
  EXPECT_EQ(std::filesystem::file_size(file), 10u);
  control.reset();
  EXPECT_FALSE(std::filesystem::exists(path)) << "taken away at the end";
  {
    const base::Fd dead = unix_socket();
    const auto address = unix_address(path);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)),
              0);
  }
  EXPECT_TRUE(BalloonControl::create(*loop, balloon, kMemory, path));
}

}  // namespace
}  // namespace pvh::devices::virtio
