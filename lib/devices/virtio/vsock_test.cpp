// SPDX-License-Identifier: BSD-2-Clause
// The guest's driver by hand, the host's programs by real Unix sockets.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <pvh/devices/virtio/vsock.hpp>

#include "lib/devices/testing/virtio_driver.hpp"

namespace pvh::devices::virtio {
namespace {

using base::Le16;
using base::Le32;
using base::Le64;
using testing::Driver;

constexpr std::uint64_t kCid = 3;
constexpr std::uint32_t kBufAlloc = 1 << 20;
constexpr std::uint32_t kGuestPort = 1234;
constexpr std::size_t kHeader = sizeof(abi::virtio_vsock_hdr);

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return address;
}

struct Packet {
  abi::virtio_vsock_hdr header;
  std::string data;
};

struct VsockTest : ::testing::Test {
  void SetUp() override {
    std::string name = ::testing::TempDir() + "vsock-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
    path = name + "/v";
    vsock = *Vsock::create(*loop, kCid, path);
    driver.emplace(*vsock, *loop);
    ASSERT_TRUE(driver->negotiate(0));
    rx = &driver->add_queue(0);
    tx = &driver->add_queue(1);
    driver->add_queue(2);
    driver->start();
  }
  void TearDown() override {
    driver.reset();
    vsock.reset();
    std::filesystem::remove_all(folder);
  }

  // A buffer for one packet from the device.
  void give(std::uint32_t size = 4096) {
    const std::uint64_t at = driver->memory.take(size);
    const std::uint16_t head = rx->add({{at, size, true}});
    buffers[head] = at;
    driver->ring(0);
  }
  // The next packet from the device.
  std::optional<Packet> receive(std::uint32_t size = 4096) {
    give(size);
    return received();
  }
  std::optional<Packet> received() {
    driver->settle();
    for (const auto& used : rx->used()) {
      waiting.push_back(used);
    }
    if (waiting.empty()) {
      return std::nullopt;
    }
    const auto used = waiting.front();
    waiting.erase(waiting.begin());
    const std::uint64_t at = buffers.at(static_cast<std::uint16_t>(used.id));
    Packet packet{driver->memory.load<abi::virtio_vsock_hdr>(at), ""};
    EXPECT_EQ(used.length, kHeader + packet.header.len.get());
    packet.data = driver->memory.get(at + kHeader, packet.header.len.get());
    EXPECT_EQ(packet.header.src_cid.get(), 2u);
    EXPECT_EQ(packet.header.dst_cid.get(), kCid);
    return packet;
  }
  void send(std::uint16_t op, std::uint32_t host_port, const std::string& data = "",
            std::uint32_t flags = 0) {
    abi::virtio_vsock_hdr header{Le64(kCid),
                                 Le64(2),
                                 Le32(kGuestPort),
                                 Le32(host_port),
                                 Le32(static_cast<std::uint32_t>(data.size())),
                                 Le16(abi::VIRTIO_VSOCK_TYPE_STREAM),
                                 Le16(op),
                                 Le32(flags),
                                 Le32(buf_alloc),
                                 Le32(fwd_cnt)};
    send_raw(header, data);
  }
  void send_raw(const abi::virtio_vsock_hdr& header, const std::string& data = "") {
    const std::uint64_t at = driver->memory.put_value(header);
    if (data.empty()) {
      tx->add({{at, kHeader, false}});
    } else {
      tx->add({{at, kHeader, false},
               {driver->memory.put(data), static_cast<std::uint32_t>(data.size()), false}});
    }
    driver->ring(1);
    EXPECT_EQ(tx->used().size(), 1u);
  }

  // The host's side.
  base::Fd connect() {
    base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = address_of(path);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    driver->settle();
    return fd;
  }
  base::Fd listen(std::uint32_t port) {
    base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = address_of(path + "_" + std::to_string(port));
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(fd.get(), 1), 0);
    return fd;
  }
  void write(const base::Fd& fd, const std::string& text) {
    EXPECT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    driver->settle();
  }
  // What is there at once; "<end>" at its end.
  static std::string read(const base::Fd& fd) {
    std::string text(200000, '\0');
    const ssize_t got = ::recv(fd.get(), text.data(), text.size(), MSG_DONTWAIT);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return got == 0 ? "<end>" : text;
  }
  // A connection that the guest asked for.
  base::Fd open_from_guest(std::uint32_t port) {
    const base::Fd listener = listen(port);
    send(abi::VIRTIO_VSOCK_OP_REQUEST, port);
    base::Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(fd);
    const auto response = receive();
    EXPECT_TRUE(response && response->header.op.get() == abi::VIRTIO_VSOCK_OP_RESPONSE);
    return fd;
  }

  std::string folder;
  std::string path;
  std::unique_ptr<EventLoop> loop = EventLoop::create();
  std::unique_ptr<Vsock> vsock;
  std::optional<Driver> driver;
  testing::DriverQueue* rx = nullptr;
  testing::DriverQueue* tx = nullptr;
  std::map<std::uint16_t, std::uint64_t> buffers;
  std::vector<testing::DriverQueue::Used> waiting;
  std::uint32_t buf_alloc = kBufAlloc;
  std::uint32_t fwd_cnt = 0;
};

TEST_F(VsockTest, KnowsItsAddress) {
  EXPECT_EQ(driver->config<Le64>().get(), kCid);
}

TEST_F(VsockTest, CarriesAConnectionFromTheHost) {
  const base::Fd client = connect();
  write(client, "CONNECT 1234\nearly");
  const auto request = receive();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->header.op.get(), abi::VIRTIO_VSOCK_OP_REQUEST);
  EXPECT_EQ(request->header.dst_port.get(), kGuestPort);
  EXPECT_EQ(request->header.buf_alloc.get(), 64u << 10);
  const std::uint32_t port = request->header.src_port.get();
  EXPECT_EQ(read(client), "") << "not before the guest accepted";
  send(abi::VIRTIO_VSOCK_OP_RESPONSE, port);
  EXPECT_EQ(read(client), "OK " + std::to_string(port) + "\n");
  const auto early = receive();
  ASSERT_TRUE(early);
  EXPECT_EQ(early->header.op.get(), abi::VIRTIO_VSOCK_OP_RW);
  EXPECT_EQ(early->data, "early");
  send(abi::VIRTIO_VSOCK_OP_RW, port, "answer");
  EXPECT_EQ(read(client), "answer");
}

TEST_F(VsockTest, AGreetingMayComeInPieces) {
  const base::Fd client = connect();
  write(client, "CONN");
  write(client, "ECT 1234");
  EXPECT_FALSE(receive());
  write(client, "\n");
  const auto request = received();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->header.dst_port.get(), kGuestPort);
}

TEST_F(VsockTest, ClosesWhoDoesNotGreet) {
  for (const char* const text :
       {"\n", "HELLO 1\n", "CONNECT\n", "CONNECT x\n", "CONNECT 4294967296\n", "CONNECT 1 \n",
        "CONNECT 00000000000000000000000000000000000000001\n"}) {
    const base::Fd client = connect();
    write(client, text);
    EXPECT_EQ(read(client).substr(0, 5), std::strlen(text) > 34 ? "" : "<end>") << text;
  }
  {
    const base::Fd silent = connect();
  }
  driver->settle();
  EXPECT_FALSE(receive());
}

TEST_F(VsockTest, ClosesTheClientWhenTheGuestRefuses) {
  const base::Fd client = connect();
  write(client, "CONNECT 1234\n");
  const auto request = receive();
  send(abi::VIRTIO_VSOCK_OP_RST, request->header.src_port.get());
  EXPECT_EQ(read(client), "<end>");
}

// A driver may put something else into a buffer as soon as it has it back. This one lies in wait.
TEST_F(VsockTest, GivesABufferBackWhenItHasReadIt) {
  constexpr std::uint32_t kSize = 32 << 10;
  const base::Fd server = open_from_guest(80);
  const std::uint64_t header = driver->memory.put_value(
      abi::virtio_vsock_hdr{Le64(kCid), Le64(2), Le32(kGuestPort), Le32(80), Le32(kSize),
                            Le16(abi::VIRTIO_VSOCK_TYPE_STREAM), Le16(abi::VIRTIO_VSOCK_OP_RW),
                            Le32(0), Le32(buf_alloc), Le32(0)});
  const std::uint64_t payload = driver->memory.take(kSize);
  const auto bytes = *driver->memory.memory().slice(base::PhysAddr(payload), base::ByteSize(kSize));
  auto* const used_index = reinterpret_cast<std::uint16_t*>(
      driver->memory.memory()
          .slice(base::PhysAddr(tx->setup().device_area.value() + 2), base::ByteSize(2))
          ->data());
  for (int round = 0; round < 200; ++round) {
    std::ranges::fill(bytes, std::byte{'a'});
    const std::uint16_t before = *used_index;
    std::atomic<bool> waits = false;
    std::jthread overwriter([&] {
      waits = true;
      while (std::atomic_ref(*used_index).load(std::memory_order_acquire) == before) {
      }
      std::ranges::fill(bytes, std::byte{'b'});
    });
    while (!waits) {
    }
    tx->add({{header, kHeader, false}, {payload, kSize, false}});
    driver->ring(1);
    overwriter.join();
    ASSERT_EQ(read(server), std::string(kSize, 'a')) << round;
    (void)receive();  // its credit
  }
}

TEST_F(VsockTest, CarriesAConnectionFromTheGuest) {
  const base::Fd server = open_from_guest(80);
  send(abi::VIRTIO_VSOCK_OP_RW, 80, "from the guest");
  EXPECT_EQ(read(server), "from the guest");
  write(server, "from the host");
  EXPECT_EQ(receive()->data, "from the host");
}

TEST_F(VsockTest, RefusesWhatNobodyServes) {
  send(abi::VIRTIO_VSOCK_OP_REQUEST, 81);
  const auto refused = receive();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->header.op.get(), abi::VIRTIO_VSOCK_OP_RST);
  EXPECT_EQ(refused->header.src_port.get(), 81u);
  EXPECT_EQ(refused->header.dst_port.get(), kGuestPort);
  send(abi::VIRTIO_VSOCK_OP_RW, 81, "lost");
  EXPECT_EQ(receive()->header.op.get(), abi::VIRTIO_VSOCK_OP_RST);
  send(abi::VIRTIO_VSOCK_OP_RST, 81);
  EXPECT_FALSE(receive()) << "a reset is not answered";
}

TEST_F(VsockTest, EachDirectionEndsByItself) {
  const base::Fd server = open_from_guest(80);
  ASSERT_EQ(::shutdown(server.get(), SHUT_WR), 0);
  const auto ended = receive();
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->header.op.get(), abi::VIRTIO_VSOCK_OP_SHUTDOWN);
  EXPECT_EQ(ended->header.flags.get(), abi::VIRTIO_VSOCK_SHUTDOWN_F_SEND);
  send(abi::VIRTIO_VSOCK_OP_RW, 80, "still here");
  EXPECT_EQ(read(server), "still here");
  send(abi::VIRTIO_VSOCK_OP_SHUTDOWN, 80, "", 3);
  EXPECT_EQ(read(server), "<end>");
  EXPECT_EQ(receive()->header.op.get(), abi::VIRTIO_VSOCK_OP_RST) << "the guest waits for it";
}

TEST_F(VsockTest, TheHostGetsEverythingBeforeTheEnd) {
  const base::Fd server = open_from_guest(80);
  send(abi::VIRTIO_VSOCK_OP_RW, 80, "last words");
  send(abi::VIRTIO_VSOCK_OP_SHUTDOWN, 80, "", 3);
  send(abi::VIRTIO_VSOCK_OP_RST, 80);
  EXPECT_EQ(read(server), "last words");
  EXPECT_EQ(read(server), "<end>");
}

TEST_F(VsockTest, AHostThatClosedIsToldToTheGuestOnce) {
  {
    const base::Fd server = open_from_guest(80);
    write(server, "bye");
  }
  EXPECT_EQ(receive()->data, "bye");
  const auto ended = receive();
  EXPECT_EQ(ended->header.op.get(), abi::VIRTIO_VSOCK_OP_SHUTDOWN);
  EXPECT_EQ(ended->header.flags.get(), 3u);
  give();
  EXPECT_FALSE(received());
  send(abi::VIRTIO_VSOCK_OP_RW, 80, "too late");
  EXPECT_EQ(received()->header.op.get(), abi::VIRTIO_VSOCK_OP_RST);
}

TEST_F(VsockTest, SendsNoMoreThanTheGuestHasRoomFor) {
  buf_alloc = 10;
  const base::Fd server = open_from_guest(80);
  write(server, "0123456789abcdef");
  EXPECT_EQ(receive()->data, "0123456789");
  give();
  EXPECT_FALSE(received());
  fwd_cnt = 4;
  send(abi::VIRTIO_VSOCK_OP_CREDIT_UPDATE, 80);
  EXPECT_EQ(received()->data, "abcd");
  fwd_cnt = 14;
  send(abi::VIRTIO_VSOCK_OP_CREDIT_UPDATE, 80);
  EXPECT_EQ(receive()->data, "ef");
}

TEST_F(VsockTest, SplitsWhatIsLargerThanABuffer) {
  const base::Fd server = open_from_guest(80);
  write(server, "0123456789");
  EXPECT_EQ(receive(kHeader + 4)->data, "0123");
  EXPECT_EQ(receive(kHeader + 4)->data, "4567");
  EXPECT_EQ(receive()->data, "89");
}

TEST_F(VsockTest, HoldsWhatASlowReaderLeavesAndNoMore) {
  const base::Fd server = open_from_guest(80);
  const std::string block(16 << 10, 'b');
  // The socket takes some; then ours fills up; then the guest has broken its word.
  std::size_t sent = 0;
  std::size_t told = 0;
  for (int i = 0; i < 100; ++i) {
    send(abi::VIRTIO_VSOCK_OP_RW, 80, block);
    sent += block.size();
    give(64);
    if (const auto packet = received()) {
      if (packet->header.op.get() == abi::VIRTIO_VSOCK_OP_RST) {
        break;
      }
      EXPECT_EQ(packet->header.op.get(), abi::VIRTIO_VSOCK_OP_CREDIT_UPDATE);
      told = packet->header.fwd_cnt.get();
    }
  }
  EXPECT_LT(sent, 100 * block.size()) << "it was cut off";
  EXPECT_GT(sent, told + (64 << 10)) << "and not while it kept to the rules";
}

TEST_F(VsockTest, TellsTheGuestWhatItsReaderTook) {
  const base::Fd server = open_from_guest(80);
  const std::string block(16 << 10, 'b');
  std::size_t sent = 0;
  while (sent < (300u << 10)) {
    send(abi::VIRTIO_VSOCK_OP_RW, 80, block);
    sent += block.size();
    read(server);
    driver->settle();
  }
  std::uint32_t forwarded = 0;
  give(64);
  while (const auto packet = received()) {
    EXPECT_EQ(packet->header.op.get(), abi::VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    forwarded = packet->header.fwd_cnt.get();
    give(64);
  }
  EXPECT_GE(forwarded + (32 << 10), sent);
}

TEST_F(VsockTest, SurvivesNonsense) {
  abi::virtio_vsock_hdr header{};
  header.dst_cid = Le64(2);
  header.op = Le16(abi::VIRTIO_VSOCK_OP_REQUEST);
  send_raw(header);  // from somebody else, of no type
  EXPECT_EQ(receive()->header.op.get(), abi::VIRTIO_VSOCK_OP_RST);
  const base::Fd server = open_from_guest(80);
  header = {Le64(kCid),
            Le64(2),
            Le32(kGuestPort),
            Le32(80),
            Le32(UINT32_MAX),
            Le16(1),
            Le16(abi::VIRTIO_VSOCK_OP_RW),
            Le32(0),
            Le32(0),
            Le32(0)};
  send_raw(header, "short");
  EXPECT_EQ(receive()->header.op.get(), abi::VIRTIO_VSOCK_OP_RST) << "more than there is";
  send(77, 80);
  EXPECT_EQ(receive()->header.op.get(), abi::VIRTIO_VSOCK_OP_RST) << "no such operation";
  EXPECT_EQ(read(server), "<end>");
  tx->add({{driver->memory.take(8), 8, false}});  // no header
  driver->ring(1);
  EXPECT_EQ(tx->used().size(), 1u);
}

TEST_F(VsockTest, StopsTakingWhatItCannotAnswer) {
  for (int i = 0; i < 40; ++i) {
    send(abi::VIRTIO_VSOCK_OP_REQUEST, 9000 + static_cast<std::uint32_t>(i));
  }
  // The rest of 200 without room for the answers.
  const auto at = driver->memory.put_value(
      abi::virtio_vsock_hdr{Le64(kCid), Le64(2), Le32(kGuestPort), Le32(1), Le32(0), Le16(1),
                            Le16(abi::VIRTIO_VSOCK_OP_REQUEST), Le32(0), Le32(0), Le32(0)});
  std::size_t taken = 40;
  for (int i = 0; i < 10; ++i) {
    for (int n = 0; n < 16; ++n) {
      tx->add({{at, kHeader, false}});
    }
    driver->ring(1);
    taken += tx->used().size();
    if (taken < 40 + 16 * (static_cast<std::size_t>(i) + 1)) {
      break;
    }
  }
  EXPECT_EQ(taken, 128u);
  for (int i = 0; i < 130; ++i) {
    ASSERT_TRUE(receive(64)) << i;
  }
  EXPECT_GT(tx->used().size(), 0u) << "and goes on when the guest has";
}

TEST_F(VsockTest, AResetClosesEverything) {
  const base::Fd server = open_from_guest(80);
  const base::Fd client = connect();
  driver->write(abi::VIRTIO_MMIO_STATUS, 0);
  EXPECT_EQ(read(server), "<end>");
  EXPECT_EQ(read(client), "<end>");
  const base::Fd late = connect();
  EXPECT_EQ(read(late), "<end>") << "nobody is there to answer";
}

TEST_F(VsockTest, ANameInUseIsRefusedAndAStaleOneTaken) {
  const auto second = Vsock::create(*loop, kCid, path);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, UnixSocketError::kInUse);
  const std::string other = folder + "/w";
  {
    const base::Fd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = address_of(other);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(other));
  EXPECT_TRUE(Vsock::create(*loop, kCid, other));
  EXPECT_FALSE(std::filesystem::exists(other)) << "taken away at the end";
  const std::string file = folder + "/file";
  std::ofstream(file) << "somebody's";
  EXPECT_EQ(Vsock::create(*loop, kCid, file).error().code, UnixSocketError::kNotASocket);
  EXPECT_EQ(std::filesystem::file_size(file), 10u) << "and it is still there";
  EXPECT_EQ(Vsock::create(*loop, kCid, folder).error().code, UnixSocketError::kNotASocket);
  EXPECT_EQ(Vsock::create(*loop, kCid, std::string(100, 'x')).error().code,
            UnixSocketError::kBadPath);
  EXPECT_EQ(Vsock::create(*loop, kCid, folder + "/no/such").error().code,
            UnixSocketError::kNoSocket);
}

}  // namespace
}  // namespace pvh::devices::virtio
