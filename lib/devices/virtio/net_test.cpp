// SPDX-License-Identifier: BSD-2-Clause
#include <sys/socket.h>

#include <deque>

#include <gmock/gmock.h>
#include <pvh/abi/virtio_net.hpp>
#include <pvh/base/event_fd.hpp>
#include <pvh/devices/net/stream.hpp>
#include <pvh/devices/virtio/net.hpp>

#include "lib/devices/testing/virtio_driver.hpp"

namespace pvh::devices::virtio {
namespace {

using testing::Driver;
using testing::DriverQueue;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Uses = std::vector<DriverQueue::Used>;

constexpr std::uint32_t kHeader = sizeof(abi::virtio_net_hdr);
constexpr std::uint32_t kReceive = abi::VIRTIO_NET_RECEIVEQ;
constexpr std::uint32_t kTransmit = abi::VIRTIO_NET_TRANSMITQ;
constexpr net::MacAddress kMac{{0x52, 0x54, 0, 1, 2, 3}};

std::string frame_of(std::size_t size, char first = 'a') {
  std::string frame(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    frame[i] = static_cast<char>(first + static_cast<char>(i % 23));
  }
  return frame;
}

// A cable whose other end the test holds.
class FakeEnd final : public net::NetEnd {
 public:
  [[nodiscard]] int descriptor() const override { return bell->get(); }
  [[nodiscard]] base::Bytes peek() override {
    bell->clear();
    ++peeks;
    return incoming.empty() ? base::Bytes{} : std::as_bytes(std::span(incoming.front()));
  }
  void pop() override { incoming.pop_front(); }
  [[nodiscard]] bool send(std::span<const iovec> frame) override {
    if (room == 0) {
      return false;
    }
    --room;
    std::string text;
    for (const iovec& piece : frame) {
      text.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    sent.push_back(text);
    return true;
  }
  [[nodiscard]] bool flush() override { return room != 0; }
  [[nodiscard]] bool down() const override { return is_down; }
  void cut() override { is_down = true; }
  [[nodiscard]] std::string last_words() override { return "farewell"; }

  void arrives(std::string frame) {
    incoming.push_back(std::move(frame));
    bell->signal();
  }

  std::optional<base::EventFd> bell = base::EventFd::create();  // always writable
  std::deque<std::string> incoming;
  std::vector<std::string> sent;
  int room = 1 << 20;
  int peeks = 0;
  bool is_down = false;
};

struct Machine {
  explicit Machine(std::unique_ptr<net::NetEnd> end, std::uint16_t mtu = 0, RateLimits limits = {})
      : device(
            Net::create({.loop = *loop,
                         .end = std::move(end),
                         .mac = kMac,
                         .mtu = mtu,
                         .limits = limits,
                         .complain = [this](const std::string& text) { words.push_back(text); }})),
        driver(*device, *loop) {}

  void start(std::uint64_t features = 0) {
    ASSERT_TRUE(driver.negotiate(features));
    receive = &driver.add_queue(kReceive);
    transmit = &driver.add_queue(kTransmit);
    driver.start();
  }
  // A buffer to receive into, of several pieces.
  std::uint64_t add_room(const std::vector<std::uint32_t>& sizes) {
    std::uint32_t whole = 0;
    for (const std::uint32_t size : sizes) {
      whole += size;
    }
    const std::uint64_t at = driver.memory.take(whole);
    std::vector<testing::Buffer> buffers;
    std::uint64_t next = at;
    for (const std::uint32_t size : sizes) {
      buffers.push_back({next, size, true});
      next += size;
    }
    receive->add(buffers);
    return at;
  }
  // A frame with its header, in pieces of at most so many bytes.
  void send(const std::string& frame, std::uint32_t piece = 1 << 20) {
    const std::string whole = std::string(kHeader, '\0') + frame;
    const std::uint64_t at = driver.memory.put(whole);
    std::vector<testing::Buffer> buffers;
    for (std::uint32_t i = 0; i < whole.size(); i += piece) {
      buffers.push_back(
          {at + i, std::min(piece, static_cast<std::uint32_t>(whole.size()) - i), false});
    }
    transmit->add(buffers);
  }
  std::uint16_t num_buffers(std::uint64_t at) {
    return driver.memory.load<abi::virtio_net_hdr>(at).num_buffers.get();
  }
  bool is_broken() { return (driver.status() & abi::VIRTIO_CONFIG_S_NEEDS_RESET) != 0; }
  std::uint16_t link() { return driver.config<abi::virtio_net_config>().status.get(); }

  std::vector<std::string> words;
  std::unique_ptr<EventLoop> loop = EventLoop::create();
  std::unique_ptr<Net> device;
  Driver driver;
  DriverQueue* receive = nullptr;
  DriverQueue* transmit = nullptr;
};

struct NetTest : ::testing::Test {
  FakeEnd* const end = new FakeEnd;
  Machine m{std::unique_ptr<net::NetEnd>(end), 1400};
};

TEST_F(NetTest, TellsItsAddressLinkAndMtu) {
  EXPECT_EQ(m.driver.read(abi::VIRTIO_MMIO_DEVICE_ID), abi::VIRTIO_ID_NET);
  const auto config = m.driver.config<abi::virtio_net_config>();
  EXPECT_EQ(config.mac, kMac.bytes);
  EXPECT_EQ(config.status.get(), abi::VIRTIO_NET_S_LINK_UP);
  EXPECT_EQ(config.mtu.get(), 1400);
  EXPECT_EQ(m.driver.offered() & 0xffffff, abi::VIRTIO_NET_F_MAC | abi::VIRTIO_NET_F_STATUS |
                                               abi::VIRTIO_NET_F_MTU | abi::VIRTIO_NET_F_MRG_RXBUF);
}

TEST_F(NetTest, SendsWhatTheDriverSendsHoweverItIsCut) {
  m.start();
  const std::string frame = frame_of(60);
  std::vector<std::string> expected;
  for (const std::uint32_t piece : {1u, 2u, 3u, 5u, 11u, 12u, 13u, 14u, 36u, 71u, 72u, 1000u}) {
    // Descriptors are not reused by the test's driver as long as a chain is under way.
    m.send(frame, piece < 2 ? 2 : piece);
    expected.push_back(frame);
    m.driver.ring(kTransmit);
    ASSERT_EQ(m.transmit->used().size(), 1u);
  }
  EXPECT_EQ(end->sent, expected);
  EXPECT_EQ(m.driver.interrupt(), abi::VIRTIO_MMIO_INT_VRING);
  EXPECT_FALSE(m.is_broken());
}

TEST_F(NetTest, SendsFramesOfEverySizeThatIsOneAndDropsTheOthers) {
  m.start();
  for (const std::size_t size : {14u, 15u, 1514u, 9014u, 65535u, 65549u}) {
    m.send(frame_of(size), 8192);
    m.driver.ring(kTransmit);
    ASSERT_EQ(m.transmit->used().size(), 1u);
    ASSERT_EQ(end->sent.size(), 1u);
    EXPECT_TRUE(end->sent.front() == frame_of(size)) << size;
    end->sent.clear();
  }
  for (const std::size_t size : {0u, 1u, 13u, 65550u, 200000u}) {
    m.send(frame_of(size));
    m.driver.ring(kTransmit);
    EXPECT_EQ(m.transmit->used().size(), 1u);
    EXPECT_THAT(end->sent, IsEmpty());
  }
  EXPECT_FALSE(m.is_broken());
}

TEST_F(NetTest, LetsTheGuestsFramesWaitWhileTheEndHasNoRoom) {
  m.start();
  end->room = 1;
  for (int i = 0; i < 3; ++i) {
    m.send(frame_of(60 + static_cast<std::size_t>(i)));
  }
  m.driver.ring(kTransmit);
  EXPECT_EQ(end->sent.size(), 1u);
  EXPECT_EQ(m.transmit->used().size(), 1u);
  end->room = 5;
  m.driver.settle();
  EXPECT_THAT(end->sent, ElementsAre(frame_of(60), frame_of(61), frame_of(62)));
  EXPECT_EQ(m.transmit->used().size(), 2u);
}

TEST_F(NetTest, SendsMoreThanOneTurnsWorth) {
  m.start();
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 60; ++i) {
      m.send(frame_of(20));
    }
    m.driver.ring(kTransmit);
    EXPECT_EQ(m.transmit->used().size(), 60u);
  }
  EXPECT_EQ(end->sent.size(), 240u);
}

TEST_F(NetTest, BreaksOnAChainWithoutRoomForTheHeader) {
  m.start();
  m.transmit->add({{m.driver.memory.take(11), 11, false}});
  m.driver.ring(kTransmit);
  EXPECT_TRUE(m.is_broken());
  EXPECT_THAT(m.driver.complaints, ElementsAre(HasSubstr("to send: 11 bytes, at least 12")));
  m.start();
  EXPECT_FALSE(m.is_broken());
  m.send(frame_of(60));
  m.driver.ring(kTransmit);
  EXPECT_EQ(end->sent.size(), 1u);
  m.add_room({4, 7});
  end->arrives(frame_of(60));
  m.driver.ring(kReceive);
  EXPECT_TRUE(m.is_broken());
}

TEST_F(NetTest, BreaksOnMemoryThatIsNotThere) {
  m.start();
  m.transmit->add({{0x10, 100, false}});
  m.driver.ring(kTransmit);
  EXPECT_TRUE(m.is_broken());
  m.start();
  m.receive->add({{0xffff'ffff'ffff'f000, 0x2000, true}});
  end->arrives(frame_of(60));
  m.driver.ring(kReceive);
  EXPECT_TRUE(m.is_broken());
}

TEST_F(NetTest, ReceivesIntoBuffersHoweverTheyAreCut) {
  m.start();
  for (const std::vector<std::uint32_t>& cut : std::vector<std::vector<std::uint32_t>>{
           {100}, {72}, {12, 60}, {1, 11, 60}, {11, 61}, {13, 59}, {12, 14, 46, 8}, {71, 1}}) {
    const auto at = m.add_room(cut);
    m.driver.ring(kReceive);
    end->arrives(frame_of(60));
    m.driver.settle();
    const auto used = m.receive->used();
    ASSERT_EQ(used.size(), 1u);
    EXPECT_EQ(used[0].length, kHeader + 60);
    EXPECT_EQ(m.num_buffers(at), 1);
    EXPECT_EQ(m.driver.memory.get(at + kHeader, 60), frame_of(60));
    EXPECT_EQ(m.driver.interrupt(), abi::VIRTIO_MMIO_INT_VRING);
  }
}

TEST_F(NetTest, LosesAFrameThatDoesNotFitWhereBuffersAreNotMerged) {
  m.start();
  const auto at = m.add_room({71});
  end->arrives(frame_of(60));
  end->arrives(frame_of(59, 'A'));
  m.driver.ring(kReceive);
  EXPECT_EQ(m.receive->used(), (Uses{{0, 71}}));
  EXPECT_EQ(m.driver.memory.get(at + kHeader, 59), frame_of(59, 'A'));
  EXPECT_FALSE(m.is_broken());
}

TEST_F(NetTest, MergesBuffersForALongFrame) {
  m.start(abi::VIRTIO_NET_F_MRG_RXBUF);
  std::vector<std::uint64_t> at;
  for (int i = 0; i < 45; ++i) {
    at.push_back(m.add_room(i < 10 ? std::vector{1000u, 536u} : std::vector{1536u}));
  }
  m.driver.ring(kReceive);
  for (const std::size_t size : {14u, 1524u, 1525u, 3060u, 3061u, 60000u}) {
    const std::size_t chains = (size + kHeader + 1535) / 1536;
    end->arrives(frame_of(size));
    m.driver.settle();
    const auto used = m.receive->used();
    ASSERT_EQ(used.size(), chains) << size;
    EXPECT_EQ(m.num_buffers(at[0]), chains);
    std::string got;
    for (std::size_t i = 0; i < chains; ++i) {
      got += m.driver.memory.get(at[i], used[i].length);
      EXPECT_TRUE(i + 1 == chains || used[i].length == 1536);
    }
    EXPECT_TRUE(got.substr(kHeader) == frame_of(size)) << size;
    at.erase(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(chains));
    // What was used is made available anew, so that descriptors and memory suffice.
    for (std::size_t i = 0; i < chains && at.size() < 45; ++i) {
      at.push_back(m.add_room({1536}));
    }
    m.driver.ring(kReceive);
  }
}

TEST_F(NetTest, WaitsForAllTheBuffersOfALongFrameWithoutSpinning) {
  m.start(abi::VIRTIO_NET_F_MRG_RXBUF);
  end->arrives(frame_of(250));
  m.add_room({100});
  m.driver.ring(kReceive);
  m.add_room({100});
  m.driver.ring(kReceive);
  EXPECT_THAT(m.receive->used(), IsEmpty());
  const int before = end->peeks;
  m.driver.settle();
  m.driver.settle();
  EXPECT_EQ(end->peeks, before);
  m.add_room({100});
  m.driver.ring(kReceive);
  EXPECT_EQ(m.receive->used(), (Uses{{0, 100}, {1, 100}, {2, 62}}));
}

TEST_F(NetTest, LosesAFrameThatAllBuffersOfAFullQueueCannotHold) {
  m.start(abi::VIRTIO_NET_F_MRG_RXBUF);
  for (int i = 0; i < m.receive->size(); ++i) {
    m.add_room({20});
  }
  end->arrives(frame_of(20 * m.receive->size()));
  end->arrives(frame_of(20));
  m.driver.ring(kReceive);
  EXPECT_EQ(m.receive->used(), (Uses{{0, 20}, {1, 12}}));
}

TEST_F(NetTest, KeepsFramesInTheEndUntilThereAreBuffers) {
  m.start();
  for (int i = 0; i < 3; ++i) {
    end->arrives(frame_of(60));
  }
  m.driver.settle();
  EXPECT_EQ(end->incoming.size(), 3u);
  m.add_room({100});
  m.driver.ring(kReceive);
  EXPECT_EQ(m.receive->used().size(), 1u);
  EXPECT_EQ(end->incoming.size(), 2u);
  m.add_room({100});
  m.add_room({100});
  m.add_room({100});
  m.driver.ring(kReceive);
  EXPECT_EQ(m.receive->used().size(), 2u);
  EXPECT_THAT(end->incoming, IsEmpty());
}

TEST_F(NetTest, ListensToNobodyBeforeTheDriverIsReadyAndAfterAReset) {
  end->arrives(frame_of(60));
  m.driver.settle();
  EXPECT_EQ(end->peeks, 0);
  m.start();
  const auto at = m.add_room({100});
  m.driver.write(abi::VIRTIO_MMIO_STATUS, 0);
  end->arrives(frame_of(60));
  m.send(frame_of(60));
  m.driver.ring(kReceive);
  m.driver.ring(kTransmit);
  EXPECT_THAT(m.receive->used(), IsEmpty());
  EXPECT_THAT(end->sent, IsEmpty());
  EXPECT_EQ(m.driver.memory.get(at, 100), std::string(100, '\0'));
  EXPECT_EQ(end->incoming.size(), 2u);
}

TEST_F(NetTest, ForgetsAtAResetThatItWaited) {
  m.start();
  end->room = 0;
  m.send(frame_of(60));
  m.driver.ring(kTransmit);
  m.driver.write(abi::VIRTIO_MMIO_STATUS, 0);
  end->room = 9;
  m.driver.settle();
  EXPECT_THAT(end->sent, IsEmpty());
  m.start();
  m.send(frame_of(61));
  m.driver.ring(kTransmit);
  EXPECT_THAT(end->sent, ElementsAre(frame_of(61)));
}

TEST_F(NetTest, WorksWithOneQueueOnly) {
  ASSERT_TRUE(m.driver.negotiate(0));
  m.transmit = &m.driver.add_queue(kTransmit);
  m.driver.start();
  end->arrives(frame_of(60));
  m.driver.ring(kReceive);
  m.send(frame_of(60));
  m.driver.ring(kTransmit);
  EXPECT_EQ(end->sent.size(), 1u);
  EXPECT_EQ(end->incoming.size(), 1u);
}

TEST_F(NetTest, TakesTheLinkDownWhenTheEndIsGone) {
  m.start();
  m.driver.interrupt();
  end->is_down = true;
  m.send(frame_of(60));
  m.driver.ring(kTransmit);
  EXPECT_THAT(m.words, ElementsAre("farewell"));
  EXPECT_EQ(m.link(), 0);
  EXPECT_EQ(m.driver.interrupt() & abi::VIRTIO_MMIO_INT_CONFIG, abi::VIRTIO_MMIO_INT_CONFIG);
  m.transmit->used();
  end->sent.clear();
  m.send(frame_of(60));
  m.driver.ring(kTransmit);
  EXPECT_EQ(m.transmit->used().size(), 1u);  // lost, and the driver goes on
  EXPECT_THAT(end->sent, IsEmpty());
  EXPECT_EQ(m.words.size(), 1u);
}

// Frames of 100 bytes, a second's worth being two of them.
TEST(NetLimitTest, LetsOnlySoMuchPassAndWaitsWithoutSpinning) {
  auto* const end = new FakeEnd;
  Machine m{std::unique_ptr<net::NetEnd>(end), 0, {.bytes_per_second = 200}};
  m.start();
  for (int i = 0; i < 4; ++i) {
    m.send(frame_of(100));
    m.add_room({112});
    end->arrives(frame_of(100));
  }
  m.driver.ring(kReceive);
  m.driver.ring(kTransmit);
  EXPECT_EQ(end->sent.size(), 2u);
  EXPECT_EQ(m.receive->used().size(), 2u);
  const int before = end->peeks;
  end->bell->signal();
  m.driver.settle();
  EXPECT_EQ(end->peeks, before);
  for (int i = 0; i < 20 && (end->sent.size() < 3 || end->incoming.size() > 1); ++i) {
    m.driver.settle(100);  // 0.5 s for each frame
  }
  EXPECT_GE(end->sent.size(), 3u);
  EXPECT_LE(end->incoming.size(), 1u);
  m.driver.write(abi::VIRTIO_MMIO_STATUS, 0);
  const auto sent = end->sent.size();
  m.driver.settle(600);
  EXPECT_EQ(end->sent.size(), sent);
}

// The same over a real socket, on whose other side the test plays passt.
struct NetStreamTest : ::testing::Test {
  static std::array<int, 2> pair() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return ends;
  }
  static std::string packed(const std::string& frame) {
    const auto size = frame.size();
    return std::string{static_cast<char>(size >> 24), static_cast<char>(size >> 16),
                       static_cast<char>(size >> 8), static_cast<char>(size)} +
           frame;
  }
  void say(std::string_view bytes) {
    ASSERT_EQ(::send(passt.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  std::string hear() {
    std::string text(1 << 20, '\0');
    const ssize_t got = ::recv(passt.get(), text.data(), text.size(), MSG_DONTWAIT);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return text;
  }

  std::array<int, 2> sockets = pair();
  base::Fd passt{sockets[1]};
  Machine m{std::make_unique<net::StreamEnd>(base::Fd(sockets[0]))};
};

TEST_F(NetStreamTest, CarriesFramesBothWays) {
  m.start();
  m.send(frame_of(60), 7);
  m.send(frame_of(1514), 500);
  m.driver.ring(kTransmit);
  EXPECT_EQ(hear(), packed(frame_of(60)) + packed(frame_of(1514)));
  std::vector<std::uint64_t> at;
  for (int i = 0; i < 3; ++i) {
    at.push_back(m.add_room({12, 1514}));
  }
  m.driver.ring(kReceive);
  say(packed(frame_of(1514)) + packed("too short") + packed(frame_of(14)) + packed(frame_of(60)));
  m.driver.settle();
  EXPECT_EQ(m.receive->used().size(), 3u);
  EXPECT_EQ(m.driver.memory.get(at[0] + 12, 1514), frame_of(1514));
  EXPECT_EQ(m.driver.memory.get(at[1] + 12, 14), frame_of(14));
  EXPECT_EQ(m.driver.memory.get(at[2] + 12, 60), frame_of(60));
}

TEST_F(NetStreamTest, PutsAStreamTogetherThatIsSplitAnywhere) {
  m.start();
  const std::string stream = packed(frame_of(14)) + packed(frame_of(20, 'A'));
  for (std::size_t split = 0; split <= stream.size(); ++split) {
    if (split % 16 == 0) {
      m.start();  // a fresh queue: the test's driver does not reuse descriptors in use
    }
    const auto a = m.add_room({60});
    const auto b = m.add_room({60});
    m.driver.ring(kReceive);
    say(stream.substr(0, split));
    m.driver.settle();
    say(stream.substr(split));
    m.driver.settle();
    ASSERT_EQ(m.receive->used().size(), 2u) << split;
    EXPECT_EQ(m.driver.memory.get(a + kHeader, 14), frame_of(14)) << split;
    EXPECT_EQ(m.driver.memory.get(b + kHeader, 20), frame_of(20, 'A')) << split;
  }
}

TEST_F(NetStreamTest, TakesTheLongestFramesAndTheStreamByteByByte) {
  m.start(abi::VIRTIO_NET_F_MRG_RXBUF);
  const auto at = m.add_room({70000});
  m.driver.ring(kReceive);
  const std::string stream = packed(frame_of(net::kMostFrame));
  for (std::size_t i = 0; i < stream.size(); i += 777) {
    say(stream.substr(i, 777));
    m.driver.settle();
  }
  EXPECT_EQ(m.receive->used().size(), 1u);
  EXPECT_TRUE(m.driver.memory.get(at + kHeader, net::kMostFrame) == frame_of(net::kMostFrame));
}

TEST_F(NetStreamTest, CutsTheCableWhenTheOtherSideTalksNonsense) {
  m.start();
  m.add_room({100});
  m.driver.ring(kReceive);
  say(std::string("\x00\x01\x00\x0e", 4));  // one byte more than a frame can have
  m.driver.settle();
  EXPECT_THAT(m.words, ElementsAre("it sent a frame of 65550 bytes"));
  EXPECT_EQ(m.link(), 0);
}

TEST_F(NetStreamTest, LosesNothingWhenTheSocketIsFull) {
  m.start();
  std::string expected;
  std::string heard;
  for (int round = 0; round < 15; ++round) {
    for (int i = 0; i < 2; ++i) {
      const std::string frame = frame_of(60000 + static_cast<std::size_t>(round));
      m.send(frame, 20000);
      expected += packed(frame);
    }
    m.driver.ring(kTransmit);
    m.driver.ring(kTransmit);
    heard += hear();
    m.driver.settle();
  }
  for (std::string more; !(more = hear()).empty(); m.driver.settle()) {
    heard += more;
  }
  EXPECT_EQ(heard.size(), expected.size());
  EXPECT_TRUE(heard == expected);
}

TEST_F(NetStreamTest, NoticesTheDeathOfTheOtherSideInAnyState) {
  passt.reset();
  m.driver.settle();  // no driver yet
  EXPECT_EQ(m.words.size(), 1u);
  EXPECT_EQ(m.link(), 0);
  m.start();
  m.send(frame_of(60));
  m.driver.ring(kTransmit);
  EXPECT_EQ(m.transmit->used().size(), 1u);
  EXPECT_EQ(m.words.size(), 1u);
}

TEST_F(NetStreamTest, NoticesTheDeathOfTheOtherSideWithFramesWaiting) {
  m.start();
  say(packed(frame_of(60)));
  m.driver.settle();  // no buffers
  passt.reset();
  m.driver.settle();
  EXPECT_EQ(m.link(), 0);
  EXPECT_EQ(m.driver.interrupt(), abi::VIRTIO_MMIO_INT_CONFIG);
}

TEST_F(NetStreamTest, GivesTheLastFramesOfOneWhoHangsUp) {
  m.start();
  m.add_room({100});
  m.driver.ring(kReceive);
  say(packed(frame_of(60)));
  passt.reset();
  m.driver.settle();
  EXPECT_EQ(m.receive->used().size(), 1u);
  EXPECT_EQ(m.link(), 0);
}

}  // namespace
}  // namespace pvh::devices::virtio
