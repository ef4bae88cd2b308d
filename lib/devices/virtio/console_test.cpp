// SPDX-License-Identifier: BSD-2-Clause
// The guest's driver by hand; the host's end are real pipes, sockets, files and pseudo terminals.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <pvh/abi/virtio_console.hpp>
#include <pvh/devices/virtio/console.hpp>

#include "lib/devices/testing/temp_file.hpp"
#include "lib/devices/testing/virtio_driver.hpp"

namespace pvh::devices::virtio {
namespace {

using testing::Driver;
using Used = std::vector<testing::DriverQueue::Used>;

struct Pair {
  base::Fd ours;    // the device's
  base::Fd theirs;  // the test's; does not block
};

base::Fd again(const base::Fd& fd) {
  return base::Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
}

// For what is printed. `flags` of the device's end.
Pair pipe_to_host(int flags) {
  std::array<int, 2> ends{-1, -1};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  EXPECT_EQ(::fcntl(ends[1], F_SETFL, flags), 0);
  return {base::Fd(ends[1]), base::Fd(ends[0])};
}

// For what is typed.
Pair pipe_from_host(int flags) {
  std::array<int, 2> ends{-1, -1};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  EXPECT_EQ(::fcntl(ends[0], F_SETFL, flags), 0);
  return {base::Fd(ends[0]), base::Fd(ends[1])};
}

Pair sockets() {
  std::array<int, 2> ends{-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
  return {base::Fd(ends[0]), base::Fd(ends[1])};
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>((i * 2654435761u) >> 13);
  }
  return text;
}

// What is there now; what ended gives nothing more.
std::string read_all(const base::Fd& fd) {
  std::string text;
  std::array<char, 65536> buffer;
  ssize_t got = 0;
  while ((got = ::read(fd.get(), buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

struct ConsoleTest : ::testing::Test {
  // A pipe's writer is told by EPIPE, as in the monitor, which blocks the signal.
  static void SetUpTestSuite() { ::signal(SIGPIPE, SIG_IGN); }

  void start(base::Fd input, base::Fd output, bool pseudo_terminal = false) {
    make({.loop = *loop,
          .input = std::move(input),
          .output = std::move(output),
          .pseudo_terminal = pseudo_terminal,
          .filter = {},
          .size = {},
          .output_lost = {}});
  }
  void make(Console::Parts parts) {
    parts.output_lost = [this](int sys_errno) { lost.push_back(sys_errno); };
    driver.reset();  // before the device that it drove
    console = Console::create(std::move(parts));
    ASSERT_TRUE(console);
    driver.emplace(*console, *loop);
    start_driver();
  }
  void start_driver() {
    ASSERT_TRUE(driver->negotiate(console->features()));
    rx = &driver->add_queue(0);
    tx = &driver->add_queue(1);
    driver->start();
  }
  std::uint16_t print(std::string_view text) {
    const auto head =
        tx->add({{driver->memory.put(text), static_cast<std::uint32_t>(text.size()), false}});
    driver->ring(1);
    return head;
  }
  // Gives the device a buffer for what is typed.
  std::uint64_t offer(std::uint32_t size) {
    const std::uint64_t at = driver->memory.take(size);
    rx->add({{at, size, true}});
    driver->ring(0);
    return at;
  }
  // What came into a buffer, one of those that come back.
  std::string typed(std::uint64_t at) {
    driver->settle();
    const Used used = rx->used();
    return used.size() == 1 ? driver->memory.get(at, used[0].length)
                            : "<" + std::to_string(used.size()) + " buffers>";
  }
  // Whether the loop has nothing to do: it sleeps as long as it may.
  bool is_idle() {
    driver->settle();
    const auto begin = std::chrono::steady_clock::now();
    loop->run_once(50);
    return std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(45);
  }
  static bool say(const base::Fd& fd, std::string_view text) {
    return ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }

  std::unique_ptr<EventLoop> loop = EventLoop::create();
  std::unique_ptr<Console> console;
  std::optional<Driver> driver;
  testing::DriverQueue* rx = nullptr;
  testing::DriverQueue* tx = nullptr;
  std::vector<int> lost;
};

TEST_F(ConsoleTest, PrintsAndTypes) {
  const Pair host = sockets();
  start(again(host.ours), again(host.ours));
  EXPECT_EQ(driver->read(abi::VIRTIO_MMIO_DEVICE_ID), abi::VIRTIO_ID_CONSOLE);
  const auto head = tx->add(
      {{driver->memory.put("hello, "), 7, false}, {driver->memory.put("world\n"), 6, false}});
  driver->ring(1);
  EXPECT_EQ(tx->used(), (Used{{head, 0}}));
  EXPECT_EQ(read_all(host.theirs), "hello, world\n");
  const auto small = offer(3);
  EXPECT_TRUE(say(host.theirs, "ls -l\n"));
  EXPECT_EQ(typed(small), "ls ");
  EXPECT_EQ(driver->interrupt(), abi::VIRTIO_MMIO_INT_VRING);
  EXPECT_TRUE(is_idle()) << "the rest waits for a buffer";
  EXPECT_EQ(typed(offer(100)), "-l\n");
}

TEST_F(ConsoleTest, WithoutAPlaceOutputIsLostAndNothingIsTyped) {
  start(base::Fd(), base::Fd());
  const auto head = print("nobody reads this");
  EXPECT_EQ(tx->used(), (Used{{head, 0}}));
  offer(10);
  EXPECT_TRUE(rx->used().empty());
  EXPECT_TRUE(is_idle());
  EXPECT_TRUE(lost.empty());
}

struct SlowReader : ConsoleTest, ::testing::WithParamInterface<const char*> {};

TEST_P(SlowReader, MakesTheGuestWaitAndLosesNothing) {
  const std::string_view kind = GetParam();
  Pair host = kind == "socket" ? sockets()
              : kind == "pipe" ? pipe_to_host(O_NONBLOCK)
                               : pipe_to_host(0);
  const int flags = ::fcntl(host.ours.get(), F_GETFL);
  start(base::Fd(), again(host.ours));
  const std::string text = pattern(1 << 20);
  const auto head = print(text);
  EXPECT_TRUE(is_idle()) << "and the others have their turns";
  EXPECT_TRUE(tx->used().empty()) << "it is not printed yet";
  std::string read;
  for (int i = 0; i < 10000 && read.size() < text.size(); ++i) {
    read += read_all(host.theirs);
    driver->settle();
  }
  EXPECT_TRUE(read == text);
  EXPECT_EQ(tx->used(), (Used{{head, 0}}));
  EXPECT_EQ(::fcntl(host.ours.get(), F_GETFL), flags) << "which others may share";
  EXPECT_TRUE(is_idle());
}

INSTANTIATE_TEST_SUITE_P(Of, SlowReader, ::testing::Values("socket", "pipe", "blocking-pipe"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_F(ConsoleTest, AFileTakesAllAndSoDoesItsReader) {
  const testing::TempFile file("");
  const testing::TempFile keys("some keys");
  start(base::Fd(::open(keys.path().c_str(), O_RDONLY | O_CLOEXEC)),
        base::Fd(::open(file.path().c_str(), O_WRONLY | O_CLOEXEC)));
  const std::string text = pattern(1 << 20);
  print(text);
  driver->settle();
  EXPECT_EQ(tx->used().size(), 1u);
  EXPECT_TRUE(file.get() == text);
  EXPECT_EQ(typed(offer(4)), "some");
  EXPECT_EQ(typed(offer(100)), " keys");
  offer(100);
  EXPECT_TRUE(rx->used().empty()) << "the end";
  EXPECT_TRUE(is_idle());
}

TEST_F(ConsoleTest, GivesOtherDevicesTheirTurn) {
  start(base::Fd(), base::Fd(::open("/dev/null", O_WRONLY | O_CLOEXEC)));
  const std::uint64_t at = driver->memory.take(1 << 20);
  for (int i = 0; i < 60; ++i) {
    tx->add({{at, 1 << 20, false}});
  }
  driver->write(abi::VIRTIO_MMIO_QUEUE_NOTIFY, 1);
  bool another = false;
  auto event = base::EventFd::create();
  const auto watch = loop->watch(event->get(), EPOLLIN, [&](std::uint32_t) {
    another = true;
    event->clear();
  });
  event->signal();
  loop->run_once(0);
  loop->run_once(0);
  EXPECT_TRUE(another);
  EXPECT_LT(tx->used().size(), 5u);
  for (int i = 0; i < 1000; ++i) {
    loop->run_once(0);
  }
  EXPECT_TRUE(is_idle());
}

TEST_F(ConsoleTest, TellsOnceThatOutputCannotBeWritten) {
  Pair host = pipe_to_host(O_NONBLOCK);
  start(base::Fd(), std::move(host.ours));
  host.theirs.reset();
  print("one");
  print("two");
  EXPECT_EQ(tx->used().size(), 2u) << "the guest need not wait";
  EXPECT_EQ(lost, std::vector<int>{EPIPE});
}

TEST_F(ConsoleTest, TellsThatADiskIsFull) {
  start(base::Fd(), base::Fd(::open("/dev/full", O_WRONLY | O_CLOEXEC)));
  print("one");
  EXPECT_EQ(lost, std::vector<int>{ENOSPC});
}

TEST_F(ConsoleTest, AReaderThatGoesWhileTheGuestWaitsIsNoticed) {
  Pair host = sockets();
  start(again(host.ours), std::move(host.ours));
  print(pattern(1 << 20));
  EXPECT_TRUE(tx->used().empty());
  host.theirs.reset();
  driver->settle();
  EXPECT_EQ(lost, std::vector<int>{EPIPE});
  EXPECT_EQ(tx->used().size(), 1u);
  EXPECT_TRUE(is_idle());
}

TEST_F(ConsoleTest, TheEndOfInputIsNoMoreThanThat) {
  for (const int flags : {0, O_NONBLOCK}) {
    Pair host = pipe_from_host(flags);
    const Pair reader = pipe_to_host(O_NONBLOCK);
    start(std::move(host.ours), again(reader.ours));
    EXPECT_TRUE(say(host.theirs, "last"));
    driver->settle();
    host.theirs.reset();
    EXPECT_TRUE(is_idle()) << "not before the guest took what came";
    EXPECT_EQ(typed(offer(10)), "last");
    EXPECT_TRUE(is_idle());
    print("still here");
    EXPECT_EQ(read_all(reader.theirs), "still here");
    EXPECT_TRUE(lost.empty());
  }
}

TEST_F(ConsoleTest, WhatWasTypedWaitsForADriver) {
  const Pair host = pipe_from_host(O_NONBLOCK);
  start(again(host.ours), base::Fd());
  driver->write(abi::VIRTIO_MMIO_STATUS, 0);
  EXPECT_TRUE(say(host.theirs, pattern(65536)));
  EXPECT_TRUE(is_idle());
  start_driver();
  std::string all;
  for (int i = 0; i < 40 && all.size() < 65536; ++i) {
    all += typed(offer(4096));
  }
  EXPECT_TRUE(all == pattern(65536));
}

TEST_F(ConsoleTest, AFilterSeesAllKeysAlsoWhenTheGuestTakesNone) {
  const Pair host = pipe_from_host(O_NONBLOCK);
  std::size_t seen = 0;
  make({.loop = *loop,
        .input = again(host.ours),
        .output = {},
        .pseudo_terminal = false,
        .filter =
            [&seen](base::Bytes keys) {
              seen += keys.size();
              std::vector<std::byte> passed(keys.begin(), keys.end());
              std::erase(passed, std::byte{'x'});
              return passed;
            },
        .size = {},
        .output_lost = {}});
  EXPECT_TRUE(say(host.theirs, "axb"));
  EXPECT_EQ(typed(offer(10)), "ab");
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(say(host.theirs, std::string(50000, 'y')));
    driver->settle();
  }
  EXPECT_EQ(seen, 200003u);
  EXPECT_TRUE(is_idle());
  EXPECT_EQ(typed(offer(100000)).size(), 65536u) << "no more is kept";
}

TEST_F(ConsoleTest, TellsTheTerminalsSize) {
  make({.loop = *loop,
        .input = {},
        .output = {},
        .pseudo_terminal = false,
        .filter = {},
        .size = Console::Size{.columns = 80, .rows = 25},
        .output_lost = {}});
  EXPECT_EQ(console->features(), abi::VIRTIO_CONSOLE_F_SIZE);
  auto config = driver->config<abi::virtio_console_config>();
  EXPECT_EQ(config.cols.get(), 80u);
  EXPECT_EQ(config.rows.get(), 25u);
  console->set_size({.columns = 80, .rows = 25});
  EXPECT_EQ(driver->interrupt(), 0u);
  console->set_size({.columns = 300, .rows = 100});
  EXPECT_EQ(driver->interrupt(), abi::VIRTIO_MMIO_INT_CONFIG);
  config = driver->config<abi::virtio_console_config>();
  EXPECT_EQ(config.cols.get(), 300u);
  EXPECT_EQ(config.rows.get(), 100u);
}

TEST_F(ConsoleTest, ABadChainStopsItUntilReset) {
  const Pair host = sockets();
  start(again(host.ours), again(host.ours));
  tx->add({{0xfffffffff000, 16, false}});
  driver->ring(1);
  EXPECT_NE(driver->status() & abi::VIRTIO_CONFIG_S_NEEDS_RESET, 0u);
  EXPECT_TRUE(say(host.theirs, "x"));
  EXPECT_TRUE(is_idle());
  start_driver();
  print("again");
  EXPECT_EQ(read_all(host.theirs), "again");
  EXPECT_EQ(typed(offer(5)), "x");
}

struct PtyTest : ConsoleTest {
  void SetUp() override {
    base::Fd pty(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    std::array<char, 128> buffer{};
    ASSERT_EQ(::grantpt(pty.get()), 0);
    ASSERT_EQ(::unlockpt(pty.get()), 0);
    ASSERT_EQ(::ptsname_r(pty.get(), buffer.data(), buffer.size()), 0);
    name = buffer.data();
    const base::Fd other = open();
    termios settings{};
    ::tcgetattr(other.get(), &settings);
    ::cfmakeraw(&settings);
    ::tcsetattr(other.get(), TCSANOW, &settings);
    start(again(pty), again(pty), true);
  }
  base::Fd open() const {
    return base::Fd(::open(name.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  }
  // Its bytes pass through the kernel's worker.
  std::string read(const base::Fd& fd, std::size_t size) {
    std::string text;
    for (int i = 0; i < 2000 && text.size() < size; ++i) {
      text += read_all(fd);
      driver->settle(1);
    }
    return text;
  }

  std::string name;
};

TEST_F(PtyTest, OneThatIsOpenNowhereLosesOutputAndOneThatIsOpenDoesNot) {
  EXPECT_TRUE(is_idle()) << "though it is hung up";
  print("lost");
  EXPECT_EQ(tx->used().size(), 1u);
  {
    const base::Fd user = open();
    print("seen");
    EXPECT_EQ(read(user, 4), "seen");
    const auto at = offer(10);
    EXPECT_TRUE(say(user, "typed"));
    driver->settle(100);
    EXPECT_EQ(typed(at), "typed");
  }
  EXPECT_TRUE(is_idle());
  print("lost, too");
  EXPECT_EQ(tx->used().size(), 2u);
  const base::Fd user = open();
  print("seen again");
  EXPECT_EQ(read(user, 10), "seen again");
  EXPECT_TRUE(lost.empty());
}

TEST_F(PtyTest, AUserWhoReadsLateLosesNothing) {
  const base::Fd user = open();
  const std::string text = pattern(1 << 20);
  const auto head = print(text);
  EXPECT_TRUE(tx->used().empty());
  EXPECT_TRUE(is_idle());
  EXPECT_TRUE(read(user, text.size()) == text);
  EXPECT_EQ(tx->used(), (Used{{head, 0}}));
}

TEST_F(PtyTest, TypesAsMuchAsTheGuestTakes) {
  const base::Fd user = open();
  const std::string text = pattern(1 << 18);
  std::size_t said = 0;
  std::string all;
  const std::uint64_t buffer = driver->memory.take(4096);
  for (int i = 0; i < 2000 && all.size() < text.size(); ++i) {
    const ssize_t done = ::write(user.get(), text.data() + said, text.size() - said);
    said += static_cast<std::size_t>(std::max<ssize_t>(done, 0));
    rx->add({{buffer, 4096, true}});
    driver->ring(0);
    for (int wait = 0; wait < 100; ++wait) {
      const Used used = rx->used();
      if (!used.empty()) {
        all += driver->memory.get(buffer, used[0].length);
        break;
      }
      driver->settle(10);
    }
  }
  EXPECT_TRUE(all == text);
}

TEST_F(PtyTest, AUserWhoGoesLetsTheGuestGoOn) {
  {
    const base::Fd user = open();
    print(pattern(1 << 20));
    EXPECT_TRUE(tx->used().empty());
  }
  driver->settle(100);
  EXPECT_EQ(tx->used().size(), 1u);
  EXPECT_TRUE(is_idle());
}

}  // namespace
}  // namespace pvh::devices::virtio
