// SPDX-License-Identifier: BSD-2-Clause
#include <linux/falloc.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pvh/abi/virtio_blk.hpp>
#include <pvh/devices/virtio/blk.hpp>

#include "lib/devices/testing/fake_io.hpp"
#include "lib/devices/testing/temp_file.hpp"
#include "lib/devices/testing/virtio_driver.hpp"

namespace pvh::devices::virtio {
namespace {

using namespace abi;  // NOLINT(google-build-using-namespace): the specification's names
using testing::Buffer;
using testing::Driver;
using ::testing::ElementsAre;
using testing::FakeIo;
using ::testing::IsEmpty;
using testing::TempFile;

constexpr std::uint64_t kSector = kVirtioBlkSectorSize;
constexpr std::uint8_t kNoStatus = 0xee;  // what the status byte is before

enum class Engine { kUring, kThreads, kFake };

std::string pattern(std::size_t size, unsigned seed) {
  std::string text(size, '\0');
  std::minstd_rand random(seed + 1);
  std::ranges::generate(text, [&] { return static_cast<char>(random() >> 8); });
  return text;
}

// A block device with a file behind it, gone with this object. Only root may have one.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& file) {
    const base::Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    const base::Fd backing(::open(file.c_str(), O_RDWR | O_CLOEXEC));
    path_ = "/dev/loop" + std::to_string(number);
    device_ = base::Fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    ready_ = ::ioctl(device_.get(), LOOP_CONFIGURE, &config) == 0;
  }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string get(std::size_t size) const {
    std::string content(size, '\0');
    EXPECT_EQ(::pread(device_.get(), content.data(), size, 0), static_cast<ssize_t>(size));
    return content;
  }

 private:
  std::string path_;
  base::Fd device_;
  bool ready_ = false;
};

// A disk and its driver.
struct Bench {
  explicit Bench(std::string disk_content, Engine which = Engine::kFake)
      : file(std::move(disk_content)), engine(which) {}

  // False, with the reason, when the engine is not to be had here.
  bool open(DiskOptions options = {}) {
    if (options.path.empty()) {
      options.path = file.path();
    }
    options.overlay_folder = ::testing::TempDir();
    std::unique_ptr<AsyncIo> io;
    switch (engine) {
      case Engine::kUring:
        io = make_uring_io(*loop, Blk::kRequests);
        break;
      case Engine::kThreads:
        io = make_thread_io(*loop, Blk::kRequests);
        break;
      case Engine::kFake:
        io = std::make_unique<FakeIo>(*loop);
        fake = static_cast<FakeIo*>(io.get());
        break;
    }
    if (!io) {
      why = base::errno_text(errno);
      return false;
    }
    auto disk = Disk::open(options);
    if (!disk) {
      why = base::to_text(disk.error());
      return false;
    }
    blk =
        Blk::create({.loop = *loop,
                     .disk = std::move(*disk),
                     .io = std::move(io),
                     .id = "the-name-of-this-disk",
                     .limits = limits,
                     .clock = clock,
                     .complain = [this](const std::string& text) { complaints.push_back(text); }});
    driver = std::make_unique<Driver>(*blk, *loop);
    return true;
  }
  void negotiate(std::uint64_t features = VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_DISCARD |
                                          VIRTIO_BLK_F_WRITE_ZEROES) {
    ASSERT_TRUE(driver->negotiate(features & driver->offered()));
    queue = &driver->add_queue(0);
    driver->start();
  }
  void begin(DiskOptions options = {}) {
    ASSERT_TRUE(open(options)) << why;
    negotiate();
  }

  // Makes a request available; gives where its status byte will be.
  std::uint64_t add(std::uint32_t type, std::uint64_t sector, std::vector<Buffer> data) {
    const std::uint64_t status = driver->memory.put(std::string(1, static_cast<char>(kNoStatus)));
    add_at(header(type, sector), std::move(data), status);
    return status;
  }
  void add_at(std::uint64_t header_at, std::vector<Buffer> data, std::uint64_t status) {
    data.insert(data.begin(), {header_at, sizeof(virtio_blk_req), false});
    data.push_back({status, 1, true});
    queue->add(data);
  }
  std::uint64_t header(std::uint32_t type, std::uint64_t sector) {
    return driver->memory.put_value(
        virtio_blk_req{base::Le32(type), base::Le32(0), base::Le64(sector)});
  }
  // Until so many requests came back.
  void await(std::size_t count) {
    driver->ring(0);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (std::size_t back = 0;;) {
      const auto used = queue->used();
      back += used.size();
      last_used.assign(used.begin(), used.end());
      if (back >= count) {
        EXPECT_EQ(back, count);
        return;
      }
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      driver->settle(100);
    }
  }
  std::uint8_t status(std::uint64_t at) {
    return static_cast<std::uint8_t>(driver->memory.get(at, 1)[0]);
  }
  // A whole request; its status.
  std::uint8_t request(std::uint32_t type, std::uint64_t sector, std::vector<Buffer> data) {
    const std::uint64_t at = add(type, sector, std::move(data));
    await(1);
    return status(at);
  }
  std::uint8_t write(std::uint64_t sector, const std::string& data) {
    return request(VIRTIO_BLK_T_OUT, sector,
                   {{driver->memory.put(data), static_cast<std::uint32_t>(data.size()), false}});
  }
  std::string read(std::uint64_t sector, std::size_t size) {
    const std::uint64_t at = driver->memory.take(size);
    const std::uint8_t status =
        request(VIRTIO_BLK_T_IN, sector, {{at, static_cast<std::uint32_t>(size), true}});
    return status == VIRTIO_BLK_S_OK ? driver->memory.get(at, size)
                                     : "status " + std::to_string(status);
  }
  Buffer range(std::uint64_t sector, std::uint32_t sectors, std::uint32_t flags = 0) {
    return {driver->memory.put_value(virtio_blk_discard_write_zeroes{
                base::Le64(sector), base::Le32(sectors), base::Le32(flags)}),
            sizeof(virtio_blk_discard_write_zeroes), false};
  }
  std::size_t operations(FileOperation::Kind kind) const {
    return static_cast<std::size_t>(std::ranges::count(fake->seen, kind, &FileOperation::kind));
  }

  TempFile file;
  Engine engine;
  RateLimits limits;
  RateLimiter::Clock clock;
  std::string why;
  std::unique_ptr<EventLoop> loop = EventLoop::create();
  std::unique_ptr<Blk> blk;
  std::unique_ptr<Driver> driver;
  FakeIo* fake = nullptr;
  testing::DriverQueue* queue = nullptr;
  std::vector<std::string> complaints;
  std::vector<testing::DriverQueue::Used> last_used;
};

struct BlkTest : ::testing::TestWithParam<Engine> {
  // Whether this machine lets us.
  void open(Bench& bench, const DiskOptions& options = {}) {
    if (!bench.open(options)) {
      GTEST_SKIP() << bench.why;
    }
    bench.negotiate();
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, BlkTest,
                         ::testing::Values(Engine::kUring, Engine::kThreads, Engine::kFake),
                         [](const auto& info) {
                           return info.param == Engine::kUring     ? "Uring"
                                  : info.param == Engine::kThreads ? "Threads"
                                                                   : "Fake";
                         });

TEST_P(BlkTest, ReadsWhatIsInTheFileIntoAnyBuffers) {
  const std::string content = pattern(64 * kSector, 1);
  Bench bench(content, GetParam());
  ASSERT_NO_FATAL_FAILURE(open(bench));
  if (IsSkipped()) {
    return;
  }
  EXPECT_EQ(bench.read(0, kSector), content.substr(0, kSector));
  EXPECT_EQ(bench.read(63, kSector), content.substr(63 * kSector));
  EXPECT_EQ(bench.read(0, content.size()), content);
  EXPECT_EQ(bench.last_used.at(0).length, content.size() + 1);
  EXPECT_NE(bench.driver->interrupt(), 0u);

  // In pieces that are no sectors, the status byte in the last of them.
  const auto at = bench.driver->memory.take(2 * kSector + 1);
  bench.queue->add({{bench.header(VIRTIO_BLK_T_IN, 3), 16, false},
                    {at, 100, true},
                    {at + 100, 700, true},
                    {at + 800, 2 * kSector + 1 - 800, true}});
  bench.await(1);
  EXPECT_EQ(bench.driver->memory.get(at, 2 * kSector + 1),
            content.substr(3 * kSector, 2 * kSector) + '\0');
}

TEST_P(BlkTest, WritesAndFlushes) {
  std::string content = pattern(64 * kSector, 1);
  Bench bench(content, GetParam());
  ASSERT_NO_FATAL_FAILURE(open(bench));
  if (IsSkipped()) {
    return;
  }
  const std::string data = pattern(5 * kSector, 2);
  EXPECT_EQ(bench.write(7, data), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.last_used.at(0).length, 1u);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_FLUSH, 0, {}), VIRTIO_BLK_S_OK);
  content.replace(7 * kSector, data.size(), data);
  EXPECT_EQ(bench.file.get(), content);
  EXPECT_EQ(bench.read(6, 7 * kSector), content.substr(6 * kSector, 7 * kSector));
  EXPECT_THAT(bench.complaints, IsEmpty());
}

TEST_P(BlkTest, ZeroesAndDiscards) {
  std::string content = pattern(64 * kSector, 1);
  Bench bench(content, GetParam());
  ASSERT_NO_FATAL_FAILURE(open(bench));
  if (IsSkipped()) {
    return;
  }
  const auto zero = [&](std::uint64_t sector, std::uint64_t sectors) {
    content.replace(sector * kSector, sectors * kSector, sectors * kSector, '\0');
  };
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, {bench.range(1, 3)}), VIRTIO_BLK_S_OK);
  zero(1, 3);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_WRITE_ZEROES, 0,
                          {bench.range(20, 17, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)}),
            VIRTIO_BLK_S_OK);
  zero(20, 17);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_DISCARD, 0,
                          {bench.range(8, 8), bench.range(50, 0), bench.range(63, 1)}),
            VIRTIO_BLK_S_OK);
  zero(8, 8);
  zero(63, 1);
  EXPECT_EQ(bench.file.get(), content);
}

TEST_P(BlkTest, DoesManyRequestsSideBySide) {
  const std::string content = pattern(64 * kSector, 1);
  Bench bench(content, GetParam());
  ASSERT_NO_FATAL_FAILURE(open(bench));
  if (IsSkipped()) {
    return;
  }
  std::vector<std::uint64_t> buffers;
  std::vector<std::uint64_t> statuses;
  for (std::uint32_t i = 0; i < 20; ++i) {
    buffers.push_back(bench.driver->memory.take(kSector));
    statuses.push_back(bench.add(VIRTIO_BLK_T_IN, i, {{buffers.back(), kSector, true}}));
  }
  bench.await(20);
  for (std::uint32_t i = 0; i < 20; ++i) {
    EXPECT_EQ(bench.status(statuses[i]), VIRTIO_BLK_S_OK);
    EXPECT_EQ(bench.driver->memory.get(buffers[i], kSector), content.substr(i * kSector, kSector));
  }
}

TEST_P(BlkTest, GivesAnIoErrorWhereTheFileIsGone) {
  Bench bench(pattern(64 * kSector, 1), GetParam());
  ASSERT_NO_FATAL_FAILURE(open(bench));
  if (IsSkipped()) {
    return;
  }
  bench.file.truncate(10 * kSector + 100);
  EXPECT_EQ(bench.read(9, kSector).size(), kSector);
  EXPECT_EQ(bench.read(10, kSector), "status 1");
  EXPECT_EQ(bench.read(5, 10 * kSector), "status 1");
  EXPECT_THAT(bench.complaints, ElementsAre("cannot be read: the file became shorter; "
                                            "the guest sees an I/O error"));
  // A write makes it longer again.
  EXPECT_EQ(bench.write(20, pattern(kSector, 3)), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.read(20, kSector), pattern(kSector, 3));
}

TEST_P(BlkTest, GivesAnIoErrorWhereTheHostHasNoRoom) {
  Bench bench(pattern(64 * kSector, 1), GetParam());
  ASSERT_NO_FATAL_FAILURE(open(bench));
  if (IsSkipped()) {
    return;
  }
  bench.file.truncate(0);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{8 * kSector, before.rlim_max};
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::uint8_t inside = bench.write(4, pattern(2 * kSector, 2));
  const std::uint8_t half = bench.write(6, pattern(4 * kSector, 2));
  const std::uint8_t outside = bench.write(10, pattern(4 * kSector, 2));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old);
  EXPECT_EQ(inside, VIRTIO_BLK_S_OK);
  EXPECT_EQ(half, VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(outside, VIRTIO_BLK_S_IOERR);
  EXPECT_THAT(bench.complaints, ElementsAre("cannot be written: File too large; the "
                                            "guest sees an I/O error"));
  EXPECT_EQ(bench.write(10, pattern(4 * kSector, 2)), VIRTIO_BLK_S_OK);
}

TEST_P(BlkTest, TouchesNothingAfterAReset) {
  Bench bench(pattern(64 * kSector, 1), GetParam());
  ASSERT_NO_FATAL_FAILURE(open(bench));
  if (IsSkipped()) {
    return;
  }
  for (int round = 0; round < 50; ++round) {
    const auto at = bench.driver->memory.take(64 * kSector);
    bench.driver->memory.store(at, base::Le64(0));
    bench.add(VIRTIO_BLK_T_IN, 0, {{at, 64 * kSector, true}});
    bench.driver->write(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    bench.loop->run_once(0);
    bench.driver->write(VIRTIO_MMIO_STATUS, 0);
    const std::string after = bench.driver->memory.get(at, 64 * kSector);
    bench.driver->settle(0);
    EXPECT_EQ(bench.driver->memory.get(at, 64 * kSector), after);
    bench.negotiate();
    if (round == 0) {
      EXPECT_EQ(bench.read(0, kSector), pattern(kSector, 1));
    }
  }
}

// What is random: the kind, the place, the size, the data; requests of one round lie apart from
// each other, so that their order does not matter.
struct Property {
  bool snapshot = false;
  bool write_through = false;
  bool no_fallocate = false;
  bool short_io = false;
  bool block_device = false;
};

void check_property(Engine engine, Property property) {
  constexpr std::size_t kSectors = 1024;
  constexpr std::size_t kLanes = 8;
  constexpr std::size_t kLane = kSectors / kLanes;
  const std::string original = pattern(kSectors * kSector, 1);
  std::string model = original;
  Bench bench(original, engine);
  std::optional<LoopDevice> device;
  if (property.block_device) {
    device.emplace(bench.file.path());
    if (!device->ready()) {
      GTEST_SKIP() << "no loop device: " << base::errno_text(errno);
    }
  }
  if (!bench.open({.path = device ? device->path() : "", .snapshot = property.snapshot})) {
    GTEST_SKIP() << bench.why;
  }
  bench.negotiate(VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES |
                  (property.write_through ? 0 : VIRTIO_BLK_F_FLUSH));
  std::mt19937 random(4711);
  const auto below = [&](std::size_t n) { return std::size_t{random() % n}; };
  if (property.no_fallocate || property.short_io) {
    bench.fake->hook = [&](FileOperation& operation) -> std::optional<std::int64_t> {
      if (property.no_fallocate && operation.kind == FileOperation::Kind::kFallocate) {
        return -EOPNOTSUPP;
      }
      if (property.short_io && operation.buffers.size() > 1 && below(3) == 0) {
        operation.buffers = operation.buffers.first(1);  // lengths that are no sectors
      }
      return below(50) == 0 ? std::optional<std::int64_t>(-EINTR) : std::nullopt;
    };
  }
  struct Lane {
    std::uint64_t header, data, status, range;
    std::string expected;  // of a read
  };
  std::vector<Lane> lanes(kLanes);
  for (Lane& lane : lanes) {
    lane = {bench.driver->memory.take(16), bench.driver->memory.take(kLane * kSector),
            bench.driver->memory.take(1), bench.driver->memory.take(16), ""};
  }
  // The host's disk is what takes the time when each write goes to it.
  const std::size_t requests = property.write_through ? 1000 : 10000;
  for (std::size_t round = 0; round < requests / kLanes; ++round) {
    for (std::size_t i = 0; i < kLanes; ++i) {
      Lane& lane = lanes[i];
      const std::size_t at = below(kLane);
      const std::size_t sectors = below(kLane - at + 1);
      const std::size_t sector = i * kLane + at;
      const std::size_t size = sectors * kSector;
      // Most writes are small, as they are in life.
      std::size_t count = sectors;
      if (below(2) == 0) {
        count = std::min<std::size_t>(sectors, below(9));
      }
      const auto bytes = static_cast<std::uint32_t>(count * kSector);
      std::uint32_t type = VIRTIO_BLK_T_IN;
      std::vector<Buffer> data;
      const auto split = [&](bool device_writes) {
        const auto first = static_cast<std::uint32_t>(below(bytes + 1));
        data.push_back({lane.data, first, device_writes});
        data.push_back({lane.data + first, bytes - first, device_writes});
      };
      lane.expected.clear();
      switch (below(8)) {
        case 0:
        case 1:
        case 2:
          type = VIRTIO_BLK_T_OUT;
          split(false);
          {
            const std::string text = pattern(bytes, static_cast<unsigned>(random()));
            ASSERT_TRUE(bench.driver->memory.memory().write(base::PhysAddr(lane.data),
                                                            std::as_bytes(std::span(text))));
            model.replace(sector * kSector, bytes, text);
          }
          break;
        case 3:
          type = below(8) == 0 ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_GET_ID;
          if (type == VIRTIO_BLK_T_GET_ID) {
            data.push_back({lane.data, 20, true});
          }
          break;
        case 4:
        case 5: {
          type = below(2) == 0 && !property.no_fallocate ? VIRTIO_BLK_T_DISCARD
                                                         : VIRTIO_BLK_T_WRITE_ZEROES;
          const std::uint32_t flags =
              type == VIRTIO_BLK_T_WRITE_ZEROES ? static_cast<std::uint32_t>(below(2)) : 0;
          bench.driver->memory.store(
              lane.range, virtio_blk_discard_write_zeroes{
                              base::Le64(sector), base::Le32(static_cast<std::uint32_t>(sectors)),
                              base::Le32(flags)});
          data.push_back({lane.range, 16, false});
          model.replace(sector * kSector, size, size, '\0');
          break;
        }
        default:
          split(true);
          lane.expected = model.substr(sector * kSector, bytes);
          break;
      }
      bench.driver->memory.store(
          lane.header, virtio_blk_req{base::Le32(type), base::Le32(0), base::Le64(sector)});
      bench.driver->memory.store(lane.status, kNoStatus);
      bench.add_at(lane.header, data, lane.status);
    }
    ASSERT_NO_FATAL_FAILURE(bench.await(kLanes));
    for (const Lane& lane : lanes) {
      ASSERT_EQ(bench.status(lane.status), VIRTIO_BLK_S_OK);
      ASSERT_TRUE(bench.driver->memory.get(lane.data, lane.expected.size()) == lane.expected);
    }
  }
  const std::string after = device ? device->get(original.size()) : bench.file.get();
  EXPECT_TRUE(after == (property.snapshot ? original : model));
  EXPECT_THAT(bench.complaints, IsEmpty());
}

TEST_P(BlkTest, RandomRequestsDoWhatAModelDoes) {
  check_property(GetParam(), {});
}
TEST_P(BlkTest, RandomRequestsDoSoInASnapshot) {
  check_property(GetParam(), {.snapshot = true});
}
TEST_P(BlkTest, RandomRequestsDoSoWithoutFlush) {
  check_property(GetParam(), {.snapshot = false, .write_through = true});
}
TEST_P(BlkTest, RandomRequestsDoSoOnABlockDevice) {
  check_property(GetParam(), {.write_through = true, .block_device = true});
}
TEST(BlkFakeTest, RandomRequestsDoSoWithoutFallocate) {
  check_property(Engine::kFake, {.no_fallocate = true});
}
TEST(BlkFakeTest, RandomRequestsDoSoInASnapshotWithoutFallocate) {
  check_property(Engine::kFake, {.snapshot = true, .no_fallocate = true});
}
TEST(BlkFakeTest, RandomRequestsDoSoWithShortTransfersAndInterruptions) {
  check_property(Engine::kFake, {.snapshot = true, .short_io = true});
}

TEST(BlkFakeTest, SaysWhatItIs) {
  Bench bench(std::string(7 * kSector + 100, 'x'));
  ASSERT_TRUE(bench.open()) << bench.why;
  EXPECT_EQ(bench.driver->read(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
  const auto config = bench.driver->config<virtio_blk_config>();
  EXPECT_EQ(config.capacity.get(), 7u);
  EXPECT_EQ(config.blk_size.get(), 512u);
  EXPECT_EQ(config.seg_max.get(), 254u);
  EXPECT_GT(config.max_discard_sectors.get(), 0u);
  EXPECT_EQ(bench.driver->offered() & VIRTIO_BLK_F_RO, 0u);
  EXPECT_THAT(bench.complaints, ElementsAre("the guest does not see its last 100 bytes, "
                                            "which are no whole sector"));
  bench.negotiate();
  EXPECT_EQ(bench.read(6, kSector), std::string(kSector, 'x'));
  EXPECT_EQ(bench.read(7, kSector), "status 1");
}

TEST(BlkFakeTest, GivesItsName) {
  Bench bench(std::string(kSector, 'x'));
  bench.begin();
  const auto at = bench.driver->memory.take(20);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_GET_ID, 0, {{at, 20, true}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.driver->memory.get(at, 20), "the-name-of-this-dis");
  const auto few = bench.driver->memory.take(8);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_GET_ID, 0, {{few, 3, true}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.driver->memory.get(few, 4), std::string("the\0", 4));
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_GET_ID, 0, {}), VIRTIO_BLK_S_IOERR);
}

TEST(BlkFakeTest, RefusesWhatIsMalformed) {
  const std::string content = pattern(8 * kSector, 1);
  Bench bench(content);
  bench.begin();
  const auto at = bench.driver->memory.take(16 * kSector);
  const auto in = [&](std::uint64_t sector, std::uint32_t size) {
    return bench.request(VIRTIO_BLK_T_IN, sector, {{at, size, true}});
  };
  const auto out = [&](std::uint64_t sector, std::uint32_t size) {
    return bench.request(VIRTIO_BLK_T_OUT, sector, {{at, size, false}});
  };
  for (const auto& transfer : {std::function(in), std::function(out)}) {
    EXPECT_EQ(transfer(0, 511), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(transfer(0, 513), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(transfer(8, 512), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(transfer(7, 1024), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(transfer(0, 9 * 512), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(transfer(UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(transfer(UINT64_MAX / 512 + 1, 512), VIRTIO_BLK_S_IOERR);  // wraps to 0
    EXPECT_EQ(transfer(UINT64_MAX, 0), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(transfer(8, 0), VIRTIO_BLK_S_OK);
    EXPECT_EQ(transfer(0, 0), VIRTIO_BLK_S_OK);
  }
  for (const std::uint32_t type : {2u, 3u, 5u, 9u, 10u, 12u, 14u, 0x80000000u, UINT32_MAX}) {
    EXPECT_EQ(bench.request(type, 0, {{at, 512, true}}), VIRTIO_BLK_S_UNSUPP) << type;
  }
  for (const std::uint32_t type : {VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES}) {
    const auto ranges = [&](std::vector<Buffer> data) {
      return bench.request(type, 0, std::move(data));
    };
    EXPECT_EQ(ranges({}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(ranges({{at, 15, false}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(ranges({{at, 17 * 16, false}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(ranges({bench.range(8, 1)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(ranges({bench.range(0, 9)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(ranges({bench.range(0, 1), bench.range(UINT64_MAX, 2)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(ranges({bench.range(0, UINT32_MAX)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(ranges({bench.range(0, 1, 2)}), VIRTIO_BLK_S_UNSUPP);
  }
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_DISCARD, 0, {bench.range(0, 1, 1)}), VIRTIO_BLK_S_UNSUPP);
  EXPECT_THAT(bench.fake->seen, IsEmpty());
  EXPECT_EQ(bench.file.get(), content);

  // Half a header; a header in pieces; no room for the status.
  const auto status = bench.driver->memory.take(1);
  const auto header = bench.header(VIRTIO_BLK_T_OUT, 0);
  bench.queue->add({{header, 15, false}, {status, 1, true}});
  bench.await(1);
  EXPECT_EQ(bench.status(status), VIRTIO_BLK_S_IOERR);
  bench.queue->add({{status, 1, true}});
  bench.await(1);
  bench.queue->add({{header, 16, false}, {at, 512, false}});
  bench.await(1);
  EXPECT_EQ(bench.last_used.at(0).length, 0u);
  EXPECT_THAT(bench.fake->seen, IsEmpty());
  bench.queue->add({{bench.header(VIRTIO_BLK_T_IN, 1), 7, false},
                    {bench.header(VIRTIO_BLK_T_IN, 1) + 7, 9, false},
                    {at, 512, true},
                    {status, 1, true}});
  bench.await(1);
  EXPECT_EQ(bench.status(status), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.driver->memory.get(at, kSector), content.substr(kSector, kSector));
  EXPECT_THAT(bench.complaints, IsEmpty());
}

TEST(BlkFakeTest, StopsWhenTheQueueIsBroken) {
  Bench bench(pattern(8 * kSector, 1));
  bench.begin();
  bench.fake->hold = true;
  bench.add(VIRTIO_BLK_T_IN, 0, {{bench.driver->memory.take(512), 512, true}});
  bench.queue->make_available(1000);
  bench.driver->ring(0);
  EXPECT_NE(bench.driver->status() & VIRTIO_CONFIG_S_NEEDS_RESET, 0u);
  EXPECT_EQ(bench.fake->drained, 1u);
  bench.fake->hold = false;
  bench.negotiate();
  EXPECT_EQ(bench.read(0, kSector), pattern(kSector, 1));
}

TEST(BlkFakeTest, AReadOnlyDiskTakesNothing) {
  const std::string content = pattern(8 * kSector, 1);
  Bench bench(content);
  bench.begin({.path = {}, .read_only = true});
  EXPECT_NE(bench.driver->offered() & VIRTIO_BLK_F_RO, 0u);
  EXPECT_EQ(bench.driver->offered() & (VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES), 0u);
  bench.negotiate();
  EXPECT_EQ(bench.read(1, kSector), content.substr(kSector, kSector));
  EXPECT_EQ(bench.write(1, std::string(kSector, 'x')), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_DISCARD, 0, {bench.range(0, 1)}), VIRTIO_BLK_S_UNSUPP);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, {bench.range(0, 1)}), VIRTIO_BLK_S_UNSUPP);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_FLUSH, 0, {}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.operations(FileOperation::Kind::kRead), bench.fake->seen.size());
}

TEST(BlkFakeTest, SyncsEveryWriteUnlessTheDriverFlushes) {
  Bench bench(std::string(8 * kSector, 'x'));
  ASSERT_TRUE(bench.open());
  bench.negotiate(VIRTIO_BLK_F_WRITE_ZEROES);
  EXPECT_EQ(bench.write(0, std::string(kSector, 'y')), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.fake->seen.at(0).flags, RWF_DSYNC);
  EXPECT_EQ(bench.operations(FileOperation::Kind::kSync), 0u);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, {bench.range(1, 1)}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.fake->seen.back().kind, FileOperation::Kind::kSync);

  bench.negotiate(VIRTIO_BLK_F_FLUSH);
  EXPECT_EQ(bench.write(0, std::string(kSector, 'y')), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.fake->seen.back().flags, 0);
  EXPECT_EQ(bench.operations(FileOperation::Kind::kSync), 1u);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_FLUSH, 0, {}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.operations(FileOperation::Kind::kSync), 2u);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, {bench.range(1, 1)}), VIRTIO_BLK_S_UNSUPP);
}

TEST(BlkFakeTest, NamesEachKindOfErrorOnce) {
  Bench bench(std::string(8 * kSector, 'x'));
  bench.begin();
  int error = EIO;
  bench.fake->hook = [&](FileOperation&) { return std::optional<std::int64_t>(-error); };
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(bench.read(0, kSector), "status 1");
    EXPECT_EQ(bench.write(0, std::string(kSector, 'y')), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(bench.request(VIRTIO_BLK_T_FLUSH, 0, {}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(bench.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, {bench.range(0, 1)}), VIRTIO_BLK_S_IOERR);
  }
  error = ENOSPC;
  EXPECT_EQ(bench.write(0, std::string(kSector, 'y')), VIRTIO_BLK_S_IOERR);
  EXPECT_THAT(
      bench.complaints,
      ElementsAre("cannot be read: Input/output error; the guest sees an I/O error",
                  "cannot be written: Input/output error; the guest sees an I/O error",
                  "cannot be flushed: Input/output error; the guest sees an I/O error",
                  "cannot be written: No space left on device; the guest sees an I/O error"));
  bench.fake->hook = nullptr;
  EXPECT_EQ(bench.write(0, std::string(kSector, 'y')), VIRTIO_BLK_S_OK);
}

TEST(BlkFakeTest, AFailedWriteToASnapshotLeavesWhatWasThere) {
  const std::string content = pattern(8 * kSector, 1);
  Bench bench(content);
  bench.begin({.path = {}, .snapshot = true});
  int step = 0;
  const std::string data = pattern(4 * kSector, 2);
  iovec part{};
  bench.fake->hook = [&](FileOperation& operation) -> std::optional<std::int64_t> {
    if (++step > 1) {
      return -ENOSPC;
    }
    part = {operation.buffers[0].iov_base, kSector + kSector / 2};
    operation.buffers = {&part, 1};
    return std::nullopt;
  };
  EXPECT_EQ(bench.write(1, data), VIRTIO_BLK_S_IOERR);
  bench.fake->hook = nullptr;
  EXPECT_EQ(bench.read(0, 8 * kSector),
            content.substr(0, kSector) + data.substr(0, kSector) + content.substr(2 * kSector));
  EXPECT_EQ(bench.file.get(), content);
}

TEST(BlkFakeTest, SnapshotsOfOneFileKeepApart) {
  const std::string content = pattern(8 * kSector, 1);
  Bench bench(content);
  bench.begin({.path = {}, .snapshot = true});
  EXPECT_EQ(bench.write(1, pattern(kSector, 2)), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.request(VIRTIO_BLK_T_FLUSH, 0, {}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(bench.operations(FileOperation::Kind::kSync), 0u);
  const auto second = Disk::open({.path = bench.file.path(), .snapshot = true});
  ASSERT_TRUE(second);
  EXPECT_FALSE(Disk::open({.path = bench.file.path()}));
  // What was written outlives a reset of the device.
  bench.negotiate();
  EXPECT_EQ(bench.read(1, kSector), pattern(kSector, 2));
  EXPECT_EQ(bench.file.get(), content);
}

TEST(BlkFakeTest, ResetWaitsForWhatIsUnderWay) {
  Bench bench(pattern(8 * kSector, 1));
  bench.begin();
  bench.fake->hold = true;
  const auto at = bench.driver->memory.take(kSector);
  const auto status = bench.add(VIRTIO_BLK_T_IN, 0, {{at, kSector, true}});
  bench.driver->ring(0);
  bench.driver->write(VIRTIO_MMIO_STATUS, 0);
  EXPECT_EQ(bench.fake->drained, 1u);
  bench.driver->settle();
  EXPECT_EQ(bench.status(status), kNoStatus);
  EXPECT_THAT(bench.queue->used(), IsEmpty());
}

TEST(BlkFakeTest, KeepsToItsLimitsAndToTheOrder) {
  Bench bench(pattern(64 * kSector, 1));
  RateLimiter::Nanoseconds now{0};
  bench.limits = {.bytes_per_second = 4 * kSector, .operations_per_second = 3};
  bench.clock = [&now] { return now; };
  bench.begin();
  std::vector<std::uint64_t> statuses;
  const auto at = bench.driver->memory.take(64 * kSector);
  // 2 sectors, 2 sectors, 8 sectors, a flush.
  for (const std::uint32_t sectors : {2u, 2u, 8u}) {
    statuses.push_back(
        bench.add(VIRTIO_BLK_T_IN, 0, {{at, sectors * static_cast<std::uint32_t>(kSector), true}}));
  }
  statuses.push_back(bench.add(VIRTIO_BLK_T_FLUSH, 0, {}));
  const auto after = [&](int milliseconds) {
    now += std::chrono::milliseconds(milliseconds);
    bench.blk->notify(0);  // as its timer would
    bench.driver->settle();
    return std::ranges::count_if(
        statuses, [&](std::uint64_t one) { return bench.status(one) == VIRTIO_BLK_S_OK; });
  };
  bench.driver->ring(0);
  EXPECT_EQ(after(0), 2);
  EXPECT_EQ(after(900), 2);  // the third takes a whole second's worth, the flush waits behind it
  EXPECT_EQ(after(101), 3);  // and owes another
  EXPECT_EQ(after(998), 3);
  EXPECT_EQ(after(3), 4);
}

}  // namespace
}  // namespace pvh::devices::virtio
